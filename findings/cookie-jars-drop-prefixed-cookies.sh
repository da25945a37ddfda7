#!/usr/bin/env bash
# tough-cookie and Go's cookiejar: what happens to a __Host- cookie that breaks
# its own rules.
#
# Versions: tough-cookie 6.1.0 (npm), net/http/cookiejar of Go 1.25 or newer;
#   RFC 6265bis section 4.1.3.
#
# Guess: a jar that knows the prefixes rejects such a cookie with an error, as
#   tough-cookie does for a foreign Domain; Go's jar knows them, too: the prefixes are
#   ten years old.
# Behaviour: tough-cookie's setCookie returns undefined for it, without an error:
#   prefixSecurity is "silent" unless told otherwise. Go's jar keeps the cookie and
#   sends it, Domain attribute, missing Secure and all.
# Matters: a test of a login that runs on one of them says nothing about browsers:
#   with Go's jar a __Host- cookie that every browser would drop works, and with
#   tough-cookie the login fails some requests later, without a cause.
#
# Output seen:
#   tough-cookie, sound:                 kept
#   tough-cookie, without Secure:        undefined
#   tough-cookie, with Domain:           undefined
#   tough-cookie, Domain of another:     error
#   cookiejar, sound:                    kept
#   cookiejar, without Secure:           kept
#   cookiejar, with Domain:              kept
#   cookiejar, Domain of another:        dropped
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund tough-cookie@6.1.0
cat >try.cjs <<'JS'
const { CookieJar } = require('tough-cookie');
const show = (name, text) => console.log(`tough-cookie, ${name}:`.padEnd(36), text);
(async () => {
  for (const [name, cookie] of [['sound', '__Host-s=1; Secure; Path=/'], ['without Secure', '__Host-s=1; Path=/'],
    ['with Domain', '__Host-s=1; Secure; Path=/; Domain=app.example'], ['Domain of another', 's=1; Domain=other.example']]) {
    try {
      const kept = await new CookieJar().setCookie(cookie, 'https://app.example/');
      show(name, kept ? 'kept' : String(kept));
    } catch { show(name, 'error'); }
  }
})();
JS
node try.cjs | tee seen
printf 'module finding\n\ngo 1.25\n' >go.mod
cat >main.go <<'GO'
package main

import (
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/url"
)

func main() {
	at := func(s string) *url.URL {
		u, err := url.Parse(s)
		if err != nil {
			panic(err)
		}
		return u
	}
	sent := func(site, cookie string) bool {
		jar, err := cookiejar.New(nil)
		if err != nil {
			panic(err)
		}
		response := http.Response{Header: http.Header{"Set-Cookie": {cookie}}}
		jar.SetCookies(at(site), response.Cookies())
		return len(jar.Cookies(at(site))) > 0
	}
	for _, c := range [][2]string{{"sound", "__Host-s=1; Secure; Path=/"}, {"without Secure", "__Host-s=1; Path=/"},
		{"with Domain", "__Host-s=1; Secure; Path=/; Domain=app.example"}, {"Domain of another", "s=1; Domain=other.example"}} {
		fmt.Printf("%-36s %s\n", "cookiejar, "+c[0]+":", map[bool]string{true: "kept", false: "dropped"}[sent("https://app.example/", c[1])])
	}
}
GO
go run . | tee -a seen
cat >want <<'TXT'
tough-cookie, sound:                 kept
tough-cookie, without Secure:        undefined
tough-cookie, with Domain:           undefined
tough-cookie, Domain of another:     error
cookiejar, sound:                    kept
cookiejar, without Secure:           kept
cookiejar, with Domain:              kept
cookiejar, Domain of another:        dropped
TXT
diff want seen || { echo changed; exit 1; }
