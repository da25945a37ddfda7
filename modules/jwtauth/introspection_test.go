package jwtauth

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
)

// authorizationServer answers for opaque tokens: good ones begin with "good".
func authorizationServer(t *testing.T) (url string, asked *atomic.Int64) {
	t.Helper()
	asked = new(atomic.Int64)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if id, secret, _ := r.BasicAuth(); id != "moat" || secret != "s3cret-of-the-client" {
			w.WriteHeader(401)
			return
		}
		switch raw := r.FormValue("token"); {
		case strings.HasPrefix(raw, "down"):
			w.WriteHeader(500)
		case strings.HasPrefix(raw, "bound"):
			_, _ = io.WriteString(w, `{"active":true,"sub":"alice","aud":"orders","scope":"read","cnf":{"jkt":"x"}}`)
		case strings.HasPrefix(raw, "good"):
			fmt.Fprintf(w, `{"active":true,"sub":"alice","aud":"orders","scope":"read","jti":%q}`, raw)
		case strings.HasPrefix(raw, "weak"):
			_, _ = io.WriteString(w, `{"active":true,"sub":"alice","aud":"orders","scope":"write"}`)
		default:
			_, _ = io.WriteString(w, `{"active":false}`)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL, asked
}

func block(url string) string {
	return "audience orders\nrequire scope read\nintrospection {\n\tendpoint " + url + "\n\tclient_id moat\n\tclient_secret {env.CLIENT_SECRET}\n}\n"
}

func TestOpaqueTokensAreAskedAbout(t *testing.T) {
	t.Setenv("CLIENT_SECRET", "s3cret-of-the-client")
	url, asked := authorizationServer(t)
	p := provider(t, block(url))
	bearer := func(raw string) *http.Request { return get("Authorization", "Bearer "+raw) }
	want(t, p, bearer("good-1"), 0, "")
	want(t, p, bearer("good-1"), 0, "")
	if asked.Load() != 1 {
		t.Errorf("%d questions for one token", asked.Load())
	}
	want(t, p, bearer("bad"), credential.Bad, credential.CodeInvalidToken)
	want(t, p, bearer("bound"), credential.Bad, credential.CodeInvalidToken)
	want(t, p, bearer("weak"), credential.Insufficient, credential.CodeInsufficientScope)
	want(t, p, bearer("down"), credential.Unavailable, credential.CodeUnavailable)
	want(t, p, bearer("a.b.c"), credential.Bad, credential.CodeInvalidToken)
	want(t, p, get(), credential.Missing, credential.CodeMissing)

	if code, body := admin(t, "POST", "/moat/revocations", `{"jti":"good-1"}`); code != 200 {
		t.Fatalf("got %d %s", code, body)
	}
	want(t, p, bearer("good-1"), credential.Bad, credential.CodeInvalidToken)
	want(t, p, bearer("good-2"), 0, "")
}

func TestSignedTokensAreNotAskedAbout(t *testing.T) {
	t.Setenv("CLIENT_SECRET", "s3cret-of-the-client")
	url, asked := authorizationServer(t)
	p := provider(t, shared+block(url))
	signed := claims{"aud": "orders", "scope": "read"}
	want(t, p, get("Authorization", "Bearer "+sign(t, signed)), 0, "")
	want(t, p, get("Authorization", "Bearer good.x.y"), credential.Bad, credential.CodeInvalidToken)
	if asked.Load() != 0 {
		t.Error("a signed token was shown to somebody")
	}
	want(t, p, get("Authorization", "Bearer good"), 0, "")
}

func TestAnswersAreRememberedAcrossReloads(t *testing.T) {
	t.Setenv("CLIENT_SECRET", "s3cret-of-the-client")
	url, asked := authorizationServer(t)
	ctx := testContext(t)
	first, err := load(t, ctx, block(url))
	if err != nil {
		t.Fatal(err)
	}
	r := get("Authorization", "Bearer good-1")
	want(t, first, r, 0, "")
	second, err := load(t, ctx, block(url))
	if err != nil {
		t.Fatal(err)
	}
	_ = first.Cleanup()
	want(t, second, r, 0, "")
	if asked.Load() != 1 {
		t.Errorf("%d questions", asked.Load())
	}
	// Other rules judge anew.
	third, err := load(t, ctx, strings.Replace(block(url), "audience orders", "audience other", 1))
	if err != nil {
		t.Fatal(err)
	}
	want(t, third, r, credential.Bad, credential.CodeInvalidToken)
}

func TestIntrospectionThatCannotWorkIsRefusedAtLoad(t *testing.T) {
	t.Setenv("CLIENT_SECRET", "s3cret-of-the-client")
	for text, parts := range map[string][]string{
		strings.Replace(block("https://a"), "CLIENT_SECRET", "NOPE", 1): {"jwt_auth", "introspection", "client_secret", "{env.NOPE}"},
		block("{env.NOPE}"):          {"jwt_auth", "endpoint", "{env.NOPE}"},
		block("{env.CLIENT_SECRET}"): {"jwt_auth", "introspection", "endpoint"},
	} {
		_, err := load(t, testContext(t), text)
		if err == nil {
			t.Errorf("%s was accepted", text)
			continue
		}
		for _, part := range parts {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s\nthe error does not say %s: %v", text, part, err)
			}
		}
		if strings.Contains(err.Error(), "s3cret") {
			t.Errorf("the error shows the secret: %v", err)
		}
	}
}

// TestOpaqueTokenBoundToAKeyNeedsAProof is RFC 9449 section 6.2: the response says
// which key.
func TestOpaqueTokenBoundToAKeyNeedsAProof(t *testing.T) {
	t.Setenv("CLIENT_SECRET", "s3cret-of-the-client")
	alice, mallory := newProver('a'), newProver('m')
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		cnf := `,"cnf":{"jkt":"` + alice.thumbprint(t) + `"},"token_type":"DPoP"`
		if r.FormValue("token") == "free" {
			cnf = ""
		}
		_, _ = io.WriteString(w, `{"active":true,"sub":"alice","aud":"orders","scope":"read"`+cnf+`}`)
	}))
	t.Cleanup(s.Close)
	p := provider(t, block(s.URL)+"bind dpop\n")
	want(t, p, proved("bound", alice.proof("bound", claims{"jti": "o1"})), 0, "")
	want(t, p, proved("bound", alice.proof("bound", claims{"jti": "o1"})), credential.Bad, codeProof)
	want(t, p, proved("bound", mallory.proof("bound", claims{"jti": "o2"})), credential.Bad, codeProof)
	want(t, p, proved("bound"), credential.Bad, codeProof)
	want(t, p, proved("free", alice.proof("free", claims{"jti": "o3"})), credential.Bad, credential.CodeInvalidToken)
	want(t, p, get("Authorization", "Bearer bound"), credential.Bad, credential.CodeInvalidToken)
	why := want(t, p, get("Authorization", "Bearer bound"), credential.Bad, credential.CodeInvalidToken)
	if got := p.Challenges(why)[0]; !strings.Contains(got, " Ed25519 ") {
		t.Errorf("the challenge does not name Ed25519: %s", got)
	}
}
