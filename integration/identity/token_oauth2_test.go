package identity

import (
	"context"
	"net/url"
	"testing"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

// TestGoOAuth2IsAClientOfTheTokenServer has golang.org/x/oauth2 as the client, with
// PKCE and a secret that it sends in the way that it finds out by itself.
func TestGoOAuth2IsAClientOfTheTokenServer(t *testing.T) {
	s := harness.PrepareAll(t, loginSites, "STORE="+t.TempDir())
	secret := s.NewClient("app", "--redirect", callback, "--audience", "orders", "--scope", "orders:read",
		"--grant", "client_credentials", "--grant", "authorization_code", "--grant", "refresh_token")
	withPassword(t, s, alicePassword, "new", "--id", "alice", "--role", "clerk")
	s.Run()
	s.Wait()
	b := newBrowser(t, s)
	ctx, cancel := context.WithTimeout(t.Context(), harness.Patience)
	defer cancel()

	own := clientcredentials.Config{ClientID: "app", ClientSecret: secret, TokenURL: b.base + "/token", Scopes: []string{"orders:read"}}
	token, err := own.Token(ctx)
	if err != nil {
		t.Fatal(err)
	}
	s.Get("PORT2", "/", harness.Bearer(token.AccessToken)).Want(t, 200, "app  orders:read")

	config := oauth2.Config{
		ClientID: "app", ClientSecret: secret, RedirectURL: callback, Scopes: []string{"orders:read"},
		Endpoint: oauth2.Endpoint{AuthURL: b.base + "/authorize", TokenURL: b.base + "/token"},
	}
	verifier := oauth2.GenerateVerifier()
	at, err := url.Parse(config.AuthCodeURL("xyz", oauth2.S256ChallengeOption(verifier)))
	if err != nil {
		t.Fatal(err)
	}
	code := b.codeAt(at.RequestURI(), "alice", alicePassword, "")
	if token, err = config.Exchange(ctx, code, oauth2.VerifierOption(verifier)); err != nil {
		t.Fatal(err)
	}
	s.Get("PORT2", "/", harness.Bearer(token.AccessToken)).Want(t, 200, "alice clerk orders:read")
	token.Expiry = time.Now().Add(-time.Minute)
	next, err := config.TokenSource(ctx, token).Token()
	if err != nil || next.RefreshToken == token.RefreshToken {
		t.Errorf("got %v, %v", next, err)
	}
}
