package httpsig

import (
	"net/http"
	"testing"
	"time"
)

// gateways are signatures that others have published, with the secrets beside
// them, as clients of Kong and APISIX make them. What the manual of APISIX
// prints was not made with the secret that stands there; Higress has a plugin
// that works alike, and its manual prints some that were.
var gateways = []struct {
	name, keyID, secret, authorization, date, path string
	header                                         http.Header
}{
	{
		name: "Kong", keyID: "kodok", secret: "7hCgo4nzEIrmHHlzPcdGdaYEII5XCIGX", // qomarullah, API Gateway using Kong: HMAC Authentication, 2019
		authorization: `hmac username="kodok", algorithm="hmac-sha256", headers="date request-line", signature="0dlw8CsMix5snxulsVb5uKbPYAoHQVLdMoDRjgDSUtk="`,
		date:          "Sun, 20 Oct 2019 15:21:07 GMT", path: "/ok",
	},
	{
		name: "APISIX", keyID: "consumer1-key", secret: "2bda943c-ba2b-11ec-ba07-00163e1250b5", // Higress, hmac-auth-apisix, as those below
		authorization: `Signature keyId="consumer1-key",algorithm="hmac-sha256",headers="@request-target date",signature="G2+60rCCHQCQDZOailnKHLCEy++P1Pa5OEP1bG4QlRo="`,
		date:          "Sat, 30 Aug 2025 00:52:39 GMT", path: "/foo",
	},
	{
		name: "APISIX, another key", keyID: "consumer2-key", secret: "c8c8e9ca-558e-4a2d-bb62-e700dcc40e35",
		authorization: `Signature keyId="consumer2-key",algorithm="hmac-sha256",headers="@request-target date",signature="5sqSbDX9b91dQsfQra2hpluM7O6/yhS7oLcKPQylyCo="`,
		date:          "Sat, 30 Aug 2025 00:54:18 GMT", path: "/foo",
	},
	{
		name: "APISIX, more fields", keyID: "consumer1-key", secret: "2bda943c-ba2b-11ec-ba07-00163e1250b5",
		authorization: `Signature keyId="consumer1-key",algorithm="hmac-sha256",headers="@request-target date x-custom-header-a x-custom-header-b",signature="+xCWYCmidq3Sisn08N54NWaau5vSY9qEanWoO9HD4mA="`,
		date:          "Sat, 30 Aug 2025 01:04:06 GMT", path: "/foo",
		header: http.Header{"X-Custom-Header-A": {"test1"}, "X-Custom-Header-B": {"test2"}},
	},
}

// TestPublishedSignaturesForGatewaysVerify holds that clients which work with
// Kong and APISIX work with us. All of these requests have content whose digest
// they do not cover, as neither gateway asks for it; here that is refused.
func TestPublishedSignaturesForGatewaysVerify(t *testing.T) {
	c := Cavage{Headers: []string{"(request-target)", "date"}, MaxAge: 5 * time.Minute}
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	for _, g := range gateways {
		t.Run(g.name, func(t *testing.T) {
			key := mustKey(t, g.keyID, "hmac-sha256", []byte(g.secret))
			keys := keyMap{g.keyID: key}
			date, err := http.ParseTime(g.date)
			if err != nil {
				t.Fatal(err)
			}
			now := date.Add(time.Minute)
			m := &Message{Method: "POST", Proto: "HTTP/1.1", Scheme: "http", Authority: "localhost:8082", Path: g.path, Header: http.Header{}}
			for name, lines := range g.header {
				m.Header[name] = lines
			}
			m.Header.Set("Date", g.date)
			m.Header.Set("Authorization", g.authorization)
			r, err := c.Verify(m, keys, now)
			if err != nil {
				t.Fatal(err.(*Error).Reason)
			}
			if r.Key != key || !r.Created.Equal(date) || !r.Until.Equal(date.Add(c.MaxAge)) || r.Digest != nil || !r.Covers("date") || r.Covers("host") {
				t.Errorf("%+v", r)
			}
			m.HasContent = true
			expectCavage(t, m, &c, keys, now, ErrRefused, "digest is not covered")
			m.HasContent, m.Path = false, g.path+"/"
			expectCavage(t, m, &c, keys, now, ErrRefused, "not one of the key")
			m.Path, m.HasQuery = g.path, true
			expectCavage(t, m, &c, keys, now, ErrRefused, "not one of the key")
		})
	}
}
