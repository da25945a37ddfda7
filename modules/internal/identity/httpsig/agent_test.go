package httpsig

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/jwk"
)

// The key of RFC 9421 appendix B.1.4 as the examples of the draft publish it, with
// their signatures (draft-ietf-webbotauth-httpsig-protocol, Test Vectors).
const (
	botDirectory = `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"poqkLGiymh_W0uP6PZFw-dvez3QJT5SolqXBCW38r0U","x":"JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs","use":"sig"}]}`
	botKey       = "poqkLGiymh_W0uP6PZFw-dvez3QJT5SolqXBCW38r0U"
	botAgent     = "https://signature-agent.test" + WellKnown
	botProof     = `binding=("@authority";req "content-digest");created=1735689600;expires=4889289600;keyid="` + botKey + `";tag="http-message-signatures-directory"`
)

var botNow = time.Unix(1735689600, 0).Add(10 * time.Second)

// agentKeys are keys by directory and thumbprint.
type agentKeys struct {
	keyMap
	listed map[string]map[string]*Key
	down   bool
}

func (a agentKeys) Listed(name string) bool { return a.listed[name] != nil }

func (a agentKeys) AgentKey(name, id string) (*Key, error) {
	if a.down {
		return nil, errors.New("no answer")
	}
	return a.listed[name][id], nil
}

func botKeys(t testing.TB, agents ...string) agentKeys {
	t.Helper()
	keys, skipped, err := jwk.ParseDirectory([]byte(botDirectory))
	if err != nil || len(keys) != 1 || keys[0].Note == "" {
		t.Fatal(keys, skipped, err)
	}
	k, err := DirectoryKey(keys[0])
	if err != nil || k.ID != botKey || k.Algorithm != "ed25519" {
		t.Fatal(k, err)
	}
	a := agentKeys{keyMap: keyMap{}, listed: map[string]map[string]*Key{}}
	for _, name := range agents {
		a.listed[name] = map[string]*Key{botKey: k}
	}
	return a
}

func botRequest(agent, input, sig string) *Message {
	m := &Message{Method: "GET", Scheme: "https", Authority: "example.com", Path: "/path/to/resource", Header: http.Header{}}
	m.Header.Set("Signature-Agent", agent)
	m.Header.Set("Signature-Input", input)
	m.Header.Set("Signature", sig)
	return m
}

// TestPublishedBotSignaturesVerify: the member whose key is not the label, since a
// proxy may rename that, and the older form of the field.
func TestPublishedBotSignaturesVerify(t *testing.T) {
	keys := botKeys(t, botAgent)
	p, err := NewPolicy(Options{MaxAge: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	for name, m := range map[string]*Message{
		"dictionary": botRequest(`agent2="https://signature-agent.test"`,
			`sig2=("@authority" "signature-agent";key="agent2");created=1735689600;keyid="poqkLGiymh_W0uP6PZFw-dvez3QJT5SolqXBCW38r0U";alg="ed25519";expires=4889289600;nonce="n9p433xm+NJ3ph3upfBIGmsuwHw387YV7Q/F+6BSpGCVjYCqQw6rznNA8PVVLySrAWsv0hQtFioQb6E1YsauiA==";tag="web-bot-auth"`,
			`sig2=:RdNFx5Bj6au3YgAMQL/RzmUlZE8QZLIaXGRpw985hWnwPfMxT228NMk6ehRS1PSl4e8PhbNZACSanGdhEwYCCg==:`),
		"string": botRequest(`"https://signature-agent.test"`,
			`sig2=("@authority" "signature-agent");created=1735689600;keyid="poqkLGiymh_W0uP6PZFw-dvez3QJT5SolqXBCW38r0U";alg="ed25519";expires=1735693200;nonce="e8N7S2MFd/qrd6T2R3tdfAuuANngKI7LFtKYI/vowzk4lAZYadIX6wW25MwG7DCT9RUKAJ0qVkU0mEeLElW1qg==";tag="web-bot-auth"`,
			`sig2=:jdq0SqOwHdyHr9+r5jw3iYZH6aNGKijYp/EstF4RQTQdi5N5YYKrD+mCT1HA1nZDsi6nJKuHxUi/5Syp3rLWBA==:`),
	} {
		r, err := Verify(m, p, keys, botNow)
		if err != nil {
			t.Errorf("%s: %v", name, err.(*Error).Reason)
		} else if r.Agent != botAgent || r.Key.ID != botKey {
			t.Errorf("%s: %+v", name, r)
		}
		// A key of one directory says nothing of another.
		if _, err := Verify(m, p, botKeys(t, "https://other.test"+WellKnown), botNow); err == nil {
			t.Errorf("%s: accepted for a directory that is not listed", name)
		}
		m.Method = "POST"
		expectRefusal(t, m, p, keys, botNow, ErrRefused, "@method is not covered")
		m.Method, m.HasContent = "GET", true
		expectRefusal(t, m, p, keys, botNow, ErrRefused, "not covered")
		m.HasContent = false
		keys.down = true
		expectRefusal(t, m, p, keys, botNow, ErrUnavailable, "no answer")
		keys.down = false
	}
}

// TestHostileBotSignaturesAreRefused: what an agent may not do that has a key in a
// listed directory, and one that has not.
func TestHostileBotSignaturesAreRefused(t *testing.T) {
	signer := mustSigner(t, botKey, "ed25519", []byte(testKeyEd25519Private))
	const other = "https://other.test" + WellKnown
	for name, c := range map[string]struct {
		agent  string
		cover  []string
		change func(*Template)
		reason string // "" for accepted
	}{
		"its own label":                 {`sig1="https://signature-agent.test"`, []string{"@authority", `signature-agent;key="sig1"`}, nil, ""},
		"the directory itself":          {`sig1="` + botAgent + `"`, []string{"@target-uri", `signature-agent;key="sig1"`}, nil, ""},
		"beside another's":              {`a="https://elsewhere.test", sig1="https://signature-agent.test"`, []string{"@authority", `signature-agent;key="sig1"`, `signature-agent;key="a"`}, nil, ""},
		"two, neither its own":          {`a="https://signature-agent.test", b="https://other.test"`, []string{"@authority", `signature-agent;key="a"`, `signature-agent;key="b"`}, nil, "not known"},
		"not covered":                   {`sig1="https://signature-agent.test"`, []string{"@method", "@target-uri"}, nil, "not known"},
		"another's directory":           {`sig1="https://empty.test"`, []string{"@authority", `signature-agent;key="sig1"`}, nil, "not known"},
		"not listed":                    {`sig1="https://evil.test"`, []string{"@authority", `signature-agent;key="sig1"`}, nil, "not listed"},
		"a path of a listed host":       {`sig1="https://signature-agent.test/other"`, []string{"@authority", `signature-agent;key="sig1"`}, nil, "not listed"},
		"plain http":                    {`sig1="http://signature-agent.test"`, []string{"@authority", `signature-agent;key="sig1"`}, nil, "not known"},
		"with parameters":               {`sig1="https://signature-agent.test";type=directory`, []string{"@authority", `signature-agent;key="sig1"`}, nil, "not known"},
		"a token":                       {`sig1=https`, []string{"@authority", `signature-agent;key="sig1"`}, nil, "not known"},
		"whole, as a dictionary":        {`sig1="https://signature-agent.test"`, []string{"@authority", "signature-agent"}, nil, ""},
		"whole, two, neither its own":   {`a="https://signature-agent.test", b="https://other.test"`, []string{"@authority", "signature-agent"}, nil, "not known"},
		"no tag":                        {`sig1="https://signature-agent.test"`, []string{"@authority", `signature-agent;key="sig1"`}, func(x *Template) { x.Tag = "" }, "tag"},
		"another tag":                   {`sig1="https://signature-agent.test"`, []string{"@authority", `signature-agent;key="sig1"`}, func(x *Template) { x.Tag = "web-bot" }, "tag"},
		"no expires":                    {`sig1="https://signature-agent.test"`, []string{"@authority", `signature-agent;key="sig1"`}, func(x *Template) { x.Expires = time.Time{} }, "expires is missing"},
		"expired":                       {`sig1="https://signature-agent.test"`, []string{"@authority", `signature-agent;key="sig1"`}, func(x *Template) { x.Created, x.Expires = botNow.Add(-time.Minute), botNow.Add(-time.Second) }, "expired"},
		"too old, though it is valid":   {`sig1="https://signature-agent.test"`, []string{"@authority", `signature-agent;key="sig1"`}, func(x *Template) { x.Created = botNow.Add(-time.Hour) }, "too long ago"},
		"the authority is not covered":  {`sig1="https://signature-agent.test"`, []string{"@path", `signature-agent;key="sig1"`}, nil, "authority"},
		"only another member, own left": {`sig1="https://other.test", a="https://signature-agent.test"`, []string{"@authority", `signature-agent;key="a"`}, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			keys := botKeys(t, botAgent, other)
			keys.listed["https://empty.test"+WellKnown] = map[string]*Key{}
			p, err := NewPolicy(Options{MaxAge: 5 * time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			m := botRequest(c.agent, "", "")
			tpl := Template{Components: c.cover, Created: botNow, Expires: botNow.Add(time.Minute), Tag: "web-bot-auth"}
			if c.change != nil {
				c.change(&tpl)
			}
			input, sig, err := signer.Sign(m, tpl)
			if err != nil {
				t.Fatal(err)
			}
			m.Header.Set("Signature-Input", input)
			m.Header.Set("Signature", sig)
			if c.reason != "" {
				expectRefusal(t, m, p, keys, botNow, ErrRefused, c.reason)
				return
			}
			r, err := Verify(m, p, keys, botNow)
			if err != nil {
				t.Fatal(err.(*Error).Reason)
			}
			if r.Agent != botAgent {
				t.Errorf("attributed to %s", r.Agent)
			}
			m.Header.Set("Signature-Agent", strings.Replace(c.agent, "signature-agent.test", "other.test", 1))
			expectRefusal(t, m, p, keys, botNow, ErrRefused, "") // the same key is in that directory
		})
	}
}

// TestAgentNames: one name for each directory, and none for what has two readings.
func TestAgentNames(t *testing.T) {
	for address, want := range map[string]string{
		"https://a.test":                  "https://a.test" + WellKnown,
		"https://a.test/":                 "https://a.test" + WellKnown,
		"https://A.test:443" + WellKnown:  "https://a.test" + WellKnown,
		"HTTPS://a.test/jwks.json?x=1":    "https://a.test/jwks.json",
		"https://a.test:8443/%6awks.json": "https://a.test:8443/jwks.json",
		"https://a.test/a%2fb":            "",
		"https://a.test/a/../b":           "",
		"https://a.test/a/%2e%2E/b":       "",
		"https://a.test//b":               "",
		"https://a.test/a%5cb":            "",
		"https://a.test/a\\b":             "",
		"https://u@a.test/":               "",
		"https://a.test/#x":               "",
		"https://a.test:":                 "",
		"https:a.test":                    "",
		"https:///x":                      "",
		"//a.test/x":                      "",
		"/x":                              "",
		"":                                "",
		"http://a.test/":                  "",
		"http://127.0.0.1:80/k":           "http://127.0.0.1/k",
		"http://[::1]:8080":               "http://[::1]:8080" + WellKnown,
		"http://localhost.evil.test/":     "",
		"data:application/json,{}":        "",
		"file:///etc/passwd":              "",
		"https://a.test/" + strings.Repeat("a", maxAgent): "",
	} {
		name, ok := AgentName(address)
		if ok != (want != "") || ok && name != want {
			t.Errorf("%.60q: %q, %v, want %q", address, name, ok, want)
		}
	}
}

// FuzzAgentName: a name is its own name, and it is of the host that net/http would
// ask.
func FuzzAgentName(f *testing.F) {
	for _, seed := range []string{"https://a.test", "https://A.test:443/%6a?x", "http://[::1]:8080/", "https://a.test/a%2fb", "https://a@b.test/", "https://a.test/%25"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, address string) {
		name, ok := AgentName(address)
		if !ok {
			return
		}
		if again, ok := AgentName(name); !ok || again != name {
			t.Fatalf("%q has the name %q, which has the name %q, %v", address, name, again, ok)
		}
		from, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		to, err := url.Parse(name)
		if err != nil || !strings.EqualFold(from.Hostname(), to.Hostname()) || to.RawQuery != "" || to.User != nil || to.Fragment != "" {
			t.Fatalf("%q has the name %q: %v", address, name, err)
		}
		if to.Scheme != "https" && to.Hostname() != "localhost" && !strings.HasPrefix(to.Hostname(), "127.") && !strings.Contains(to.Hostname(), ":") {
			t.Fatalf("%q has the name %q", address, name)
		}
	})
}

// TestPublishedDirectoryProofVerifies, and no other does.
func TestPublishedDirectoryProofVerifies(t *testing.T) {
	header := func() http.Header {
		h := http.Header{}
		h.Set("Content-Type", DirectoryType)
		h.Set("Content-Digest", "sha-256=:CADMT2aBdV/rqQr/NIru64ERQkCobVvllA4V0fLFDu0=:")
		h.Set("Signature-Input", botProof)
		h.Set("Signature", "binding=:l6P8R67tm3kujAxbHWio7ll01qrEZ0dKD/WWlGhNYEmTnFZM8Wt0VQ9zqGfvo7T/UMkBxsigzChM1Gpz7gOVBg==:")
		return h
	}
	for name, c := range map[string]struct {
		address string
		proof   bool
		change  func(http.Header)
		doc     string
		keys    int
		fails   bool
	}{
		"published":                  {botAgent, true, nil, botDirectory, 1, false},
		"of another host":            {"https://mirror.test" + WellKnown, true, nil, botDirectory, 0, false},
		"of another host, not asked": {"https://mirror.test" + WellKnown, false, nil, botDirectory, 1, false},
		"without signature":          {botAgent, true, func(h http.Header) { h.Del("Signature-Input") }, botDirectory, 0, false},
		"not asked for":              {botAgent, false, func(h http.Header) { h.Del("Signature-Input") }, botDirectory, 1, false},
		"another document":           {botAgent, true, nil, botDirectory + " ", 0, false},
		"another digest":             {botAgent, true, func(h http.Header) { h.Set("Content-Digest", ContentDigest([]byte(botDirectory+" "))) }, botDirectory + " ", 0, false},
		"digest not covered": {botAgent, true, func(h http.Header) {
			h.Set("Signature-Input", strings.Replace(botProof, ` "content-digest"`, "", 1))
		}, botDirectory, 0, false},
		"another tag": {botAgent, true, func(h http.Header) {
			h.Set("Signature-Input", strings.Replace(botProof, `tag="http-message-signatures-directory"`, `tag="web-bot-auth"`, 1))
		}, botDirectory, 0, false},
		"no expires": {botAgent, true, func(h http.Header) {
			h.Set("Signature-Input", strings.Replace(botProof, ";expires=4889289600", "", 1))
		}, botDirectory, 0, false},
		"web page":              {botAgent, false, func(h http.Header) { h.Set("Content-Type", "text/html") }, botDirectory, 0, true},
		"key set at well-known": {botAgent, false, func(h http.Header) { h.Set("Content-Type", "application/json") }, botDirectory, 0, true},
		"key set elsewhere":     {"https://a.test/jwks.json", false, func(h http.Header) { h.Set("Content-Type", "application/json") }, botDirectory, 1, false},
		"no media type":         {botAgent, false, func(h http.Header) { h.Del("Content-Type") }, botDirectory, 0, true},
		"no key set":            {botAgent, false, nil, "{}", 0, true},
	} {
		h := header()
		if c.change != nil {
			c.change(h)
		}
		keys, skipped, err := ReadDirectory(c.address, c.proof, func() time.Time { return botNow })([]byte(c.doc), h)
		if len(keys) != c.keys || (err != nil) != c.fails || !c.fails && len(keys)+len(skipped) != 1 {
			t.Errorf("%s: %d keys, left out %v, %v", name, len(keys), skipped, err)
		}
	}
	late, _, err := ReadDirectory(botAgent, true, func() time.Time { return time.Unix(1735689600, 0).Add(-time.Minute) })([]byte(botDirectory), header())
	if err != nil || len(late) != 0 {
		t.Errorf("signed in the future: %v, %v", late, err)
	}
}

// TestDirectoryKeys: alg as RFC 9421 or JOSE names it, the times, and what is not a key
// of a directory.
func TestDirectoryKeys(t *testing.T) {
	const ed = `"kty":"OKP","crv":"Ed25519","x":"JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs"`
	for member, want := range map[string]string{
		``: "ed25519", `,"alg":"ed25519"`: "ed25519", `,"alg":"EdDSA"`: "ed25519", `,"alg":"Ed25519"`: "ed25519", `,"kid":"test-key-ed25519"`: "ed25519",
		`,"nbf":1712793600,"exp":1715385600`: "ed25519", `,"nbf":1743465600000`: "ed25519", `,"nbf":null`: "ed25519",
		`,"alg":"rsa-pss-sha512"`: "", `,"alg":"hmac-sha256"`: "", `,"exp":"soon"`: "", `,"exp":1.5`: "", `,"exp":-1`: "", `,"use":"enc"`: "", `,"d":"AAAA"`: "",
	} {
		keys, skipped, err := jwk.ParseDirectory([]byte(`{"keys":[{` + ed + member + `}]}`))
		if err != nil {
			t.Fatal(err)
		}
		if want == "" {
			if len(keys) != 0 {
				t.Errorf("%s: accepted, %v", member, skipped)
			}
			continue
		}
		if len(keys) != 1 {
			t.Errorf("%s: left out: %v", member, skipped)
			continue
		}
		if k, err := DirectoryKey(keys[0]); err != nil || k.Algorithm != want || k.ID != botKey {
			t.Errorf("%s: %+v, %v", member, k, err)
		}
		if strings.Contains(member, "1743465600000") && !keys[0].NotBefore.Equal(time.Unix(1743465600, 0)) {
			t.Errorf("%s: from %v", member, keys[0].NotBefore)
		}
	}
}
