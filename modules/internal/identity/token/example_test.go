package token_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/jwk"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/token"
)

// The token and its key are those of RFC 7515 appendix A.1.
func ExampleVerifier_Verify() {
	key, err := jwk.Static("HS256", []byte(`{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	v, err := token.NewVerifier([]token.Issuer{{
		Name:    "joe",
		Keys:    token.StaticKeys(key),
		Subject: principal.Pointer{"iss"}, // it has no sub
	}}, token.Options{Leeway: 30 * time.Second, Cache: 1000})
	if err != nil {
		fmt.Println(err)
		return
	}

	const raw = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	t, err := v.Verify(context.Background(), raw, time.Unix(1300819300, 0))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(t.Principal.ID, t.Algorithm, t.Expires.UTC())

	_, err = v.Verify(context.Background(), raw, t.Expires.Add(time.Minute))
	var refusal *token.Error
	if errors.As(err, &refusal) {
		fmt.Println(refusal.Reason, "-", refusal)
	}
	// Output:
	// joe HS256 2011-03-22 18:43:00 +0000 UTC
	// expired - token has expired
}
