#!/usr/bin/env bash
# oauth4webapi (npm) and golang.org/x/oauth2: which token responses the two best
# known clients take, and what they make of a refusal.
#
# Versions: oauth4webapi 3.8.8 (npm), golang.org/x/oauth2 v0.36.0, Go 1.25 or newer;
#   RFC 6749 sections 5.1 and 5.2.
#
# Guess: the certified client is strict about everything, the Go one about what
#   matters: both want token_type, both count expires_in 0 as expired, both name
#   the error code of a refusal.
# Behaviour: a token_type that is missing, a scope that is an array, a refresh_token
#   of null and the status 201 are taken by x/oauth2 alone; a fraction in
#   expires_in by oauth4webapi alone. expires_in: 0 is a token that never expires to
#   x/oauth2, since zero means "not given". A form in text/plain is read by x/oauth2,
#   JSON in text/plain by oauth4webapi. A 401 with WWW-Authenticate, which RFC 6749
#   asks for, makes oauth4webapi report the challenge and not the code; with 400
#   it reports the code.
# Matters: an authorization server that is tried with one of them works by luck with
#   the other; "expires_in: 0" for "use once" becomes "for ever"; and a client that
#   looks for invalid_client does not find it where the server is most correct.
#
# Output seen (oauth4webapi, x/oauth2):
#   no token_type          refused                          taken, never expires
#   scope is an array      refused                          taken, never expires
#   refresh_token is null  refused                          taken, never expires
#   expires_in is 0        taken, expires in 0              taken, never expires
#   expires_in is 1.5      taken, expires in 1.5            refused
#   status 201             refused                          taken, never expires
#   form in text/plain     refused                          taken, never expires
#   JSON in text/plain     taken, never expires             refused
#   401, challenge         OAUTH_WWW_AUTHENTICATE_CHALLENGE invalid_client
#   400                    invalid_client                   invalid_client
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund oauth4webapi@3.8.8
cat >cases.json <<'JSON'
[{"name": "no token_type", "body": "{\"access_token\":\"a\"}"},
 {"name": "scope is an array", "body": "{\"access_token\":\"a\",\"token_type\":\"Bearer\",\"scope\":[\"read\"]}"},
 {"name": "refresh_token is null", "body": "{\"access_token\":\"a\",\"token_type\":\"Bearer\",\"refresh_token\":null}"},
 {"name": "expires_in is 0", "body": "{\"access_token\":\"a\",\"token_type\":\"Bearer\",\"expires_in\":0}"},
 {"name": "expires_in is 1.5", "body": "{\"access_token\":\"a\",\"token_type\":\"Bearer\",\"expires_in\":1.5}"},
 {"name": "status 201", "status": 201, "body": "{\"access_token\":\"a\",\"token_type\":\"Bearer\"}"},
 {"name": "form in text/plain", "type": "text/plain", "body": "access_token=a&token_type=Bearer"},
 {"name": "JSON in text/plain", "type": "text/plain", "body": "{\"access_token\":\"a\",\"token_type\":\"Bearer\"}"},
 {"name": "401, challenge", "status": 401, "challenge": "Basic realm=\"clients\"", "body": "{\"error\":\"invalid_client\"}"},
 {"name": "400", "status": 400, "body": "{\"error\":\"invalid_client\"}"}]
JSON
cat >try.mjs <<'JS'
import http from 'node:http';
import { readFileSync, writeFileSync } from 'node:fs';
import * as oauth from 'oauth4webapi';

let now;
const server = http.createServer((_, res) => {
  if (now.challenge) res.setHeader('www-authenticate', now.challenge);
  res.writeHead(now.status ?? 200, { 'content-type': now.type ?? 'application/json' }).end(now.body);
});
await new Promise(done => server.listen(0, '127.0.0.1', done));
const issuer = `http://127.0.0.1:${server.address().port}`;
const as = { issuer, token_endpoint: `${issuer}/token` }, client = { client_id: 'service' };
const seen = [];
for (now of JSON.parse(readFileSync('cases.json'))) {
  try {
    const response = await oauth.clientCredentialsGrantRequest(as, client, oauth.ClientSecretPost('secret'), {},
      { [oauth.allowInsecureRequests]: true });
    const { expires_in } = await oauth.processClientCredentialsResponse(as, client, response);
    seen.push(expires_in === undefined ? 'taken, never expires' : `taken, expires in ${expires_in}`);
  } catch (error) {
    seen.push(error.error ?? (/CHALLENGE/.test(error.code) ? error.code : 'refused'));
  }
}
server.close();
writeFileSync('js.json', JSON.stringify(seen));
JS
node try.mjs
cat >go.mod <<'MOD'
module finding

go 1.25

require golang.org/x/oauth2 v0.36.0
MOD
cat >main.go <<'GO'
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

type response struct {
	Name, Type, Challenge, Body string
	Status                      int
}

func read(file string, v any) {
	text, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(text, v)
	}
	if err != nil {
		panic(err)
	}
}

func main() {
	var cases []response
	var js []string
	read("cases.json", &cases)
	read("js.json", &js)
	var now response
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if now.Challenge != "" {
			w.Header().Set("WWW-Authenticate", now.Challenge)
		}
		w.Header().Set("Content-Type", cmp.Or(now.Type, "application/json"))
		w.WriteHeader(cmp.Or(now.Status, 200))
		fmt.Fprint(w, now.Body)
	}))
	defer server.Close()
	client := clientcredentials.Config{ClientID: "service", ClientSecret: "secret", TokenURL: server.URL, AuthStyle: oauth2.AuthStyleInParams}
	for i, c := range cases {
		now = c
		token, err := client.Token(context.Background())
		var refusal *oauth2.RetrieveError
		verdict := "refused"
		switch {
		case err == nil && token.Expiry.IsZero():
			verdict = "taken, never expires"
		case err == nil:
			verdict = "taken, expires"
		case errors.As(err, &refusal) && refusal.ErrorCode != "":
			verdict = refusal.ErrorCode
		}
		fmt.Printf("%-22s %-32s %s\n", c.Name, js[i], verdict)
	}
}
GO
go mod tidy 2>/dev/null
go run . | tee seen
cat >want <<'TXT'
no token_type          refused                          taken, never expires
scope is an array      refused                          taken, never expires
refresh_token is null  refused                          taken, never expires
expires_in is 0        taken, expires in 0              taken, never expires
expires_in is 1.5      taken, expires in 1.5            refused
status 201             refused                          taken, never expires
form in text/plain     refused                          taken, never expires
JSON in text/plain     taken, never expires             refused
401, challenge         OAUTH_WWW_AUTHENTICATE_CHALLENGE invalid_client
400                    invalid_client                   invalid_client
TXT
diff want seen || { echo changed; exit 1; }
