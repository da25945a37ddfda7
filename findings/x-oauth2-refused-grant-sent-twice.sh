#!/usr/bin/env bash
# golang.org/x/oauth2: a grant that the token endpoint refuses is sent a second
# time, with the client's secret in another place.
#
# Versions: golang.org/x/oauth2 v0.36.0, Go 1.25 or newer; RFC 6749 sections 2.3.1
#   and 4.1.2.
#
# Guess: AuthStyleAutoDetect, the zero value, finds out once how an endpoint wants
#   the secret; a definite answer such as invalid_grant or invalid_client is final.
# Behaviour: with the zero value any answer but 2xx makes the client repeat the
#   request with the secret in the form instead of in Authorization. The style is
#   remembered after a success alone, so an endpoint that keeps refusing gets two
#   requests for each call: the same code, which may be used once, or the same
#   refresh token, and also after a 503. With the style named there is one.
# Matters: a server that revokes everything when a code comes twice, or when a
#   refresh token does, sees a replay where a client merely lost its database;
#   limits on failed credentials count double; and a secret that the endpoint did
#   not want in forms stands in its form log.
#
# Output seen:
#   wrong secret:            2 requests: header form
#   used code:               2 requests: header form, code c1 c1
#   refresh, 503:            2 requests: header form, token r1 r1
#   refresh, 503, again:     2 requests: header form, token r1 r1
#   used code, style named:  1 requests: header, code c1
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >go.mod <<'MOD'
module finding

go 1.25

require golang.org/x/oauth2 v0.36.0
MOD
cat >main.go <<'GO'
package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

func main() {
	var places, codes, tokens []string
	status, text := 0, ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		place := "form"
		if _, _, ok := r.BasicAuth(); ok {
			place = "header"
		}
		places = append(places, place)
		if code := r.FormValue("code"); code != "" {
			codes = append(codes, code)
		}
		if token := r.FormValue("refresh_token"); token != "" {
			tokens = append(tokens, token)
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"error":%q}`, text)
	}))
	defer server.Close()
	try := func(name string, answer int, code string, f func(context.Context) error) {
		status, text = answer, code
		places, codes, tokens = nil, nil, nil
		if f(context.Background()) == nil {
			panic("it was not refused")
		}
		line := fmt.Sprintf("%d requests: %s", len(places), strings.Join(places, " "))
		if codes != nil {
			line += ", code " + strings.Join(codes, " ")
		}
		if tokens != nil {
			line += ", token " + strings.Join(tokens, " ")
		}
		fmt.Printf("%-24s %s\n", name+":", line)
	}
	machine := clientcredentials.Config{ClientID: "service", ClientSecret: "wrong", TokenURL: server.URL}
	try("wrong secret", 401, "invalid_client", func(ctx context.Context) error { _, err := machine.Token(ctx); return err })
	app := oauth2.Config{ClientID: "app", ClientSecret: "secret", Endpoint: oauth2.Endpoint{TokenURL: server.URL}}
	try("used code", 400, "invalid_grant", func(ctx context.Context) error { _, err := app.Exchange(ctx, "c1"); return err })
	refresh := func(ctx context.Context) error {
		_, err := app.TokenSource(ctx, &oauth2.Token{RefreshToken: "r1"}).Token()
		return err
	}
	try("refresh, 503", 503, "temporarily_unavailable", refresh)
	try("refresh, 503, again", 503, "temporarily_unavailable", refresh)
	named := app
	named.Endpoint.AuthStyle = oauth2.AuthStyleInHeader
	try("used code, style named", 400, "invalid_grant", func(ctx context.Context) error { _, err := named.Exchange(ctx, "c1"); return err })
}
GO
go mod tidy 2>/dev/null
go run . | tee seen
cat >want <<'TXT'
wrong secret:            2 requests: header form
used code:               2 requests: header form, code c1 c1
refresh, 503:            2 requests: header form, token r1 r1
refresh, 503, again:     2 requests: header form, token r1 r1
used code, style named:  1 requests: header, code c1
TXT
diff want seen || { echo changed; exit 1; }
