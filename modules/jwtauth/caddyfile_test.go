package jwtauth

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestMistakesInTheBlockAreRefused(t *testing.T) {
	const key = "\tkey HS256 {env.S}\n"
	for _, test := range []struct{ block, want string }{
		{"", "needs an issuer, or a key or jwks line"},
		{"\tissuer\n", "takes one argument"},
		{"\tissuer a b\n", "takes one argument"},
		{"\tissuer my-idp\n", "write jwks or key"},
		{"\tissuer https://id.example.com\n\tissuer https://id.example.com\n", "already specified"},
		{"\tissuer internal\n\tissuer internal\n", "already specified"},
		{"\tissuer internal {\n\t\tkey HS256 x\n\t}\n", "has its own key"},
		{"\tissuer internal {\n\t\tjwks /x\n\t}\n", "has its own key"},
		{"\tissuer internal {\n\t\trotate 1h\n\t}\n", "at least 24h"},
		{"\tissuer internal {\n\t\trotate soon\n\t}\n", "write a duration"},
		{"\tissuer internal {\n\t\tpublish keys\n\t}\n", "is not a path"},
		{"\tissuer internal {\n\t\tpublish /a\n\t\tpublish /b\n\t}\n", "already specified"},
		{"\tissuer https://a {\n\t\tpublish /a\n\t}\n", "unrecognized subdirective 'publish'"},
		{"\tissuer https://a {\n\t\tleeway 3s\n\t}\n", "write it outside the block"},
		{key + "\tpublish /a\n", "belongs in the block of 'issuer internal'"},
		{"\tkey HS256\n", "key takes an algorithm and a key"},
		{"\tkey none x\n", "none is never accepted"},
		{"\tkey HS999 x\n", "not supported"},
		{"\tkey HS256 \"\"\n", "the key is empty"},
		{"\tjwks\n", "jwks takes one URL or file"},
		{"\tjwks /a\n\tjwks /b\n", "already specified"},
		{"\tjwks https://u:p@id.example.com/\n", "user name"},
		{key + "\taudience\n", "takes one or more arguments"},
		{key + "\taudience * x\n", "remove the others"},
		{key + "\taudience a\n\taudience b\n", "already specified"},
		{key + "\talgorithms none\n", "none is never accepted"},
		{key + "\talgorithms HS256 NoNe\n", "none is never accepted"},
		{key + "\talgorithms ES257\n", "not supported"},
		{key + "\ttyp\n", "takes one or more arguments"},
		{key + "\tmax_age 0s\n", "above 0"},
		{key + "\tmax_age x\n", "write a duration"},
		{key + "\trequire\n", "takes one or more arguments"},
		{key + "\trequire /a~2\n", "RFC 6901"},
		{key + "\troles /a~\n", "RFC 6901"},
		{key + "\tscopes\n", "takes one or more arguments"},
		{key + "\tsubject a a\n", "is repeated"},
		{key + "\tfrom\n", "from takes"},
		{key + "\tfrom body x\n", "from takes"},
		{key + "\tfrom cookie a b\n", "from takes"},
		{key + "\tfrom header Cookie\n", "cannot stand in"},
		{key + "\tfrom header \"a b\"\n", "cannot be one"},
		{key + "\tfrom cookie a\n\tfrom cookie a\n", "already specified"},
		{key + "\tfrom header authorization\n\tfrom header Authorization Token\n", "already specified"},
		{key + "\tleeway\n", "takes one argument"},
		{key + "\tleeway 1h\n", "from 0s to 10m"},
		{key + "\tleeway -1s\n", "from 0s to 10m"},
		{key + "\tleeway 1s\n\tleeway 2s\n", "already specified"},
		{key + "\tforward sub\n", "forward takes"},
		{key + "\tforward sub Host\n", "HTTP itself needs"},
		{key + "\tforward sub X-User\n\tforward name x-user\n", "already specified"},
		{key + "\tstrip yes\n", "takes no arguments"},
		{key + "\tstrip\n\tstrip\n", "already specified"},
		{key + "\toptional maybe\n", "takes no arguments"},
		{key + "\tpreflight\n\tpreflight\n", "already specified"},
		{key + "\trevocations\n", "takes one argument"},
		{key + "\tcache 0\n", "write a number of entries from 1 to"},
		{key + "\tcache many\n", "write a number of entries from 1 to"},
		{key + "\tcache 99999999999\n", "write a number of entries from 1 to"},
		{key + "\tbind\n", "bind takes"},
		{key + "\tbind tls dpop\n", "bind takes"},
		{key + "\tbind tls nonce\n", "bind takes"},
		{key + "\tbind tls\n\tbind dpop\n", "already specified"},
		{key + "\tbind ip\n", "bind takes"},
		{key + "\tintrospection {\n\t}\n", "is missing"},
		{key + "\tintrospection x {\n\t}\n", "takes no arguments"},
		{"\tintrospection {\n\t\tendpoint https://a\n\t\tclient_id a\n\t}\n", "client_secret is missing"},
		{"\tintrospection {\n\t\tendpoint ftp://a\n\t}\n", "neither https nor http"},
		{"\tintrospection {\n\t\tendpoint https://a\n\t\tendpoint https://b\n\t}\n", "already specified"},
		{"\tintrospection {\n\t\tjwks https://a\n\t}\n", "for signed tokens"},
		{"\tintrospection {\n\t\tcache never\n\t}\n", "write a duration above 0"},
		{"\tintrospection {\n\t\tcache 0s\n\t}\n", "write a duration above 0"},
		{"\tintrospection {\n\t\tnonsense\n\t}\n", "unrecognized subdirective 'nonsense'"},
		{"\ttyp at+jwt\n\tintrospection {\n\t\tendpoint https://a\n\t\tclient_id a\n\t\tclient_secret b\n\t}\n", "for signed tokens"},
		{key + "\tnonsense\n", "unrecognized subdirective 'nonsense'"},
		{key + "\tstrip {\n\t\tx\n\t}\n", "a block is not expected"},
	} {
		_, err := parse("jwt_auth {\n" + test.block + "}")
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s\ngot:  %v\nwant: …%s…", test.block, err, test.want)
		} else if !strings.Contains(err.Error(), "Testfile:") && !strings.Contains(err.Error(), "line") {
			t.Errorf("%s\nno file and line: %v", test.block, err)
		}
	}
	for _, line := range []string{"jwt_auth extra", "jwt_auth internal internal", "jwt_auth internal {\n\tissuer internal\n}\n"} {
		if _, err := parse(line); err == nil {
			t.Errorf("%s was accepted", line)
		}
	}
}

func adapt(t *testing.T, block string) string {
	t.Helper()
	p, err := parse("jwt_auth {\n" + block + "\n}")
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	return string(got)
}

func TestOptionsOutsideAreTheDefaultsOfEveryIssuer(t *testing.T) {
	got := adapt(t, `
		issuer https://a
		issuer b {
			key HS256 {env.S}
			audience other
			roles /r
		}
		issuer internal
		audience orders
		typ at+jwt
		max_age 1h
		require tenant 7
		algorithms ES256 HS256
	`)
	const rest = `"typ":"at+jwt","max_age":3600000000000,"require":[{"claim":"tenant","values":["7"]}]`
	want := `{"issuers":[` +
		`{"issuer":"https://a","audience":["orders"],"algorithms":["ES256","HS256"],` + rest + `},` +
		`{"issuer":"b","keys":[{"alg":"HS256","value":"{env.S}"}],"audience":["other"],"algorithms":["ES256","HS256"],` + rest + `,"roles":["/r"]},` +
		`{"internal":{},"audience":["orders"],` + rest + `}]}`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestInternalOnTheFirstLineIsAnIssuer(t *testing.T) {
	for line, want := range map[string]string{
		"jwt_auth internal":                         `{"issuers":[{"internal":{}}]}`,
		"jwt_auth internal {\n\taudience orders\n}": `{"issuers":[{"internal":{},"audience":["orders"]}]}`,
	} {
		p, err := parse(line)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := json.Marshal(p); err != nil || string(got) != want {
			t.Errorf("%s\ngot  %s, %v\nwant %s", line, got, err, want)
		}
	}
}

func TestNoIssuerLineIsOneIssuerOfAnyName(t *testing.T) {
	got := adapt(t, "key HS256 {env.S}\nsubject /uid\nscopes a b")
	if want := `{"issuers":[{"keys":[{"alg":"HS256","value":"{env.S}"}],"scopes":["a","b"],"subject":"/uid"}]}`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestEveryOptionOfTheProviderAdapts(t *testing.T) {
	p, err := parse(`jwt_auth {
		issuer internal {
			name urn:x
			rotate 48h
			publish /jwks.json
		}
		from header X-Token
		from header Authorization Token
		from cookie id
		from query t
		realm "my api"
		leeway 1m
		forward /sub X-User
		strip
		optional
		preflight
		revocations /etc/revoked
		cache off
		bind tls
	}`)
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"issuers":[{"issuer":"urn:x","internal":{"rotate":172800000000000,"publish":"/jwks.json"}}],` +
		`"from":[{"header":"X-Token"},{"header":"Authorization","scheme":"Token"},{"cookie":"id"},{"query":"t"}],` +
		`"realm":"my api","leeway":60000000000,"strip":true,"revocations":"/etc/revoked","cache":0,"bind":["tls"]}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	o := p.Traits()
	if !o.Optional || !o.Preflight || len(o.Forward) != 1 {
		t.Errorf("got %+v", o)
	}
}

func TestMistakesInTheBlockShowNoSecret(t *testing.T) {
	const hidden = "S3CR3T"
	for _, block := range []string{
		"key " + hidden + "S3CR3TS3CR3TS3CR3TS3CR3TAA HS256",
		"key HS256 " + hidden + " x",
		"key HS256 x " + hidden,
		"key " + hidden + "S3CR3T!!",
		"key HS256 {\n" + hidden + "\n}",
		"key HS256 x\nalgorithms " + hidden + "S3CR3TS3CR3T",
		"introspection {\nendpoint https://x/y\nclient_id a\nclient_secret " + hidden + " with spaces\n}",
		"introspection {\nendpoint https://x/y\nclient_id a\nclient_secret with " + hidden + "\n}",
		"introspection {\nendpoint https://user:" + hidden + "@x/y\nclient_id a\nclient_secret b\n}",
		"key HS256 x\njwks https://user:" + hidden + "@x/y",
	} {
		_, err := parse("jwt_auth {\n" + block + "\n}")
		if err == nil {
			t.Errorf("accepted: %s", block)
		} else if strings.Contains(err.Error(), hidden) {
			t.Errorf("the error shows what may be a secret: %v", err)
		}
	}
	if _, err := (Key{hidden + "S3CR3TS3CR3TS3CR3TS3CR3TAA", "HS256"}).load(); err == nil || strings.Contains(err.Error(), hidden) {
		t.Errorf("got %v", err)
	}
}
