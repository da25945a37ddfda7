package oauth

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"testing"
	"time"
)

// service is the resource server of the orders, which asks the stock on behalf of
// its callers.
func service() *Client {
	return &Client{
		ID: "orders", Grants: []string{GrantExchange}, Scopes: []string{"orders:read", "stock:read"}, Audiences: []string{stock}, Introspects: []string{orders},
	}
}

func swap(t testing.TB, subject string, pairs ...string) *Request {
	t.Helper()
	all := map[string]string{"grant_type": GrantExchange, "subject_token": subject, "subject_token_type": accessTokenType}
	for i := 0; i < len(pairs); i += 2 {
		all[pairs[i]] = pairs[i+1]
	}
	var list []string
	for name, value := range all {
		list = append(list, name, value)
	}
	return request(t, list...)
}

func TestExchangeNarrows(t *testing.T) {
	second := service()
	second.ID, second.Introspects, second.Audiences = "stock", []string{stock}, []string{orders}
	other := billing()
	other.ID, other.Audiences = "other", []string{stock}
	f, secrets := fix(t, app(), billing(), service(), second, other)
	f.withUsers(t)
	_, err := f.Token(t.Context(), swap(t, "x").as("orders", secrets["orders"]))
	want(t, "garbage", err, 400, CodeInvalidRequest)
	alice := f.tokens(t)
	f.clock.add(8 * time.Minute)
	resp, err := f.Token(t.Context(), swap(t, alice.AccessToken).as("orders", secrets["orders"]))
	if err != nil {
		t.Fatal(err, errors.Unwrap(err))
	}
	got := claims(t, resp.AccessToken)
	if got["sub"] != "alice" || got["client_id"] != "orders" || got["aud"] != stock || got["scope"] != "orders:read" || fmt.Sprint(got["roles"]) != "[clerk]" ||
		fmt.Sprint(got["act"]) != "map[sub:orders]" || got["acr"] != "1" || resp.ExpiresIn != 120 || resp.IssuedType != accessTokenType || resp.RefreshToken != "" {
		t.Errorf("got %+v %v", resp, got)
	}
	// The next one stands before the first.
	next, err := f.Token(t.Context(), swap(t, resp.AccessToken).as("stock", secrets["stock"]))
	if err != nil {
		t.Fatal(err)
	}
	if act := fmt.Sprint(claims(t, next.AccessToken)["act"]); act != "map[act:map[sub:orders] sub:stock]" {
		t.Errorf("act is %s", act)
	}
	for n := 0; err == nil && n < 10; n++ {
		id := []string{"orders", "stock"}[n%2]
		next, err = f.Token(t.Context(), swap(t, next.AccessToken).as(id, secrets[id]))
	}
	want(t, "an endless chain", err, 400, CodeInvalidRequest)

	as := func(r *Request) error {
		_, err := f.Token(t.Context(), r.as("orders", secrets["orders"]))
		return err
	}
	want(t, "a scope that the token has not", as(swap(t, alice.AccessToken, "scope", "stock:read")), 400, CodeInvalidScope)
	want(t, "another audience", as(swap(t, alice.AccessToken, "audience", orders)), 400, CodeInvalidTarget)
	want(t, "an actor", as(swap(t, alice.AccessToken, "actor_token", alice.AccessToken, "actor_token_type", accessTokenType)), 400, CodeInvalidRequest)
	want(t, "a refresh token", as(swap(t, alice.RefreshToken, "subject_token_type", "urn:ietf:params:oauth:token-type:refresh_token")), 400, CodeInvalidRequest)
	want(t, "a refresh token as access token", as(swap(t, alice.RefreshToken)), 400, CodeInvalidRequest)
	want(t, "asking for an ID token", as(swap(t, alice.AccessToken, "requested_token_type", "urn:ietf:params:oauth:token-type:id_token")), 400, CodeInvalidRequest)
	foreign, err := f.Token(t.Context(), request(t, "grant_type", "client_credentials").as("other", secrets["other"]))
	if err != nil {
		t.Fatal(err)
	}
	want(t, "a token that is not for it", as(swap(t, foreign.AccessToken)), 400, CodeInvalidRequest)
	_, err = f.Token(t.Context(), swap(t, alice.AccessToken).as("billing", secrets["billing"]))
	want(t, "a client without the grant", err, 400, CodeUnauthorizedClient)
	if err := f.Revoke(t.Context(), request(t, "token", alice.AccessToken, "client_id", "app")); err != nil {
		t.Fatal(err)
	}
	want(t, "revoked", as(swap(t, alice.AccessToken)), 400, CodeInvalidRequest)
	f.clock.add(3 * time.Minute)
	want(t, "expired", as(swap(t, alice.AccessToken)), 400, CodeInvalidRequest)
}

func TestExchangeOfABoundTokenNeedsItsKey(t *testing.T) {
	c := billing()
	c.Grants = append(c.Grants, GrantExchange)
	f, secrets := fix(t, c)
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	other, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	with := func(r *Request, key *ecdsa.PrivateKey) *Request {
		r.Proofs = []string{proof(t, key, f.clock.Now(), nil)}
		return r.as("billing", secrets["billing"])
	}
	resp, err := f.Token(t.Context(), with(request(t, "grant_type", "client_credentials"), key))
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Token(t.Context(), swap(t, resp.AccessToken).as("billing", secrets["billing"]))
	want(t, "without a proof", err, 400, CodeInvalidRequest)
	_, err = f.Token(t.Context(), with(swap(t, resp.AccessToken), other))
	want(t, "with another key", err, 400, CodeInvalidRequest)
	if resp, err := f.Token(t.Context(), with(swap(t, resp.AccessToken), key)); err != nil || resp.TokenType != "DPoP" {
		t.Errorf("got %+v, %v", resp, err)
	}
}
