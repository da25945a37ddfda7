package identity

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

// signedSite is a site behind signature_auth whose upstream counts.
type signedSite struct {
	*harness.Server
	*harness.Sender
	reached atomic.Int64
	header  atomic.Pointer[http.Header]
}

const signedSiteFile = `
:{$PORT} {
	audit trail
	signature_auth {
		key acme-1 ed25519 acme.pem {
			user acme
			roles partner
		}
		key other ed25519 other.pem
		forward sub X-User
	}
	rbac {
		role partner {
			allow * /orders/*
		}
	}
	reverse_proxy {env.UPSTREAM}
}
`

func startSignedSite(t *testing.T) *signedSite {
	site := &signedSite{Sender: harness.NewSender(t, "acme-1")}
	up := harness.Upstream(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		site.reached.Add(1)
		h := r.Header.Clone()
		site.header.Store(&h)
		fmt.Fprintf(w, "served %s", r.URL.RequestURI())
	})
	site.Server = harness.PrepareAll(t, signedSiteFile, "UPSTREAM="+up)
	site.WriteFile("acme.pem", site.Public)
	site.WriteFile("other.pem", harness.NewSender(t, "other").Public)
	site.Run()
	site.Wait()
	return site
}

func TestHostileSignaturesAreRefused(t *testing.T) {
	all := startSignedSite(t)
	for _, protocol := range harness.Protocols {
		t.Run(protocol, func(t *testing.T) { hostileSignatures(t, all, protocol) })
	}
	// A folded line, which HTTP/1.1 alone can have, is refused before anybody reads it.
	h := all.Sign(harness.Delivery{URI: "http://localhost/orders/1"})
	if a := all.Get("PORT", "/orders/1", h[0], strings.Replace(h[1], "sig1=", "sig1=\r\n ", 1)); a.StatusCode != 400 && a.StatusCode != 401 {
		t.Errorf("a folded line: got %d", a.StatusCode)
	}
	harness.Eventually(t, func() error { // records are written in batches
		out := all.Output("moat", "audit", "search", "--status", "403", "trail")
		for _, want := range []string{`"kind":"signature"`, `"key":"acme-1"`, `"id":"acme"`, `"layer":"signature_auth"`} {
			if !strings.Contains(out, want) {
				return fmt.Errorf("the record does not have %s: %s", want, out)
			}
		}
		return nil
	})
}

func hostileSignatures(t *testing.T, site *signedSite, protocol string) {
	s := site.Over(protocol)
	const path = "/orders/a%2Db?x=1&y=2"
	origin := s.Origin("PORT")
	scheme, host, _ := strings.Cut(origin, "://")
	other := map[string]string{"http": "https", "https": "http"}[scheme]
	uri := origin + path
	good := func() []string { return site.Sign(harness.Delivery{URI: uri}) }
	if a := s.Get("PORT", path, append(good(), "X-User: root", "x_user: root")...); a.StatusCode != 200 || a.Body != "served "+path {
		t.Fatalf("a good signature: %d %s", a.StatusCode, a.Body)
	}
	if h := *site.header.Load(); h.Get("X-User") != "acme" || h.Get("X_user") != "" {
		t.Errorf("the upstream got %v", h)
	}
	reached := site.reached.Load()
	edit := func(lines []string, name string, change func(string) string) []string {
		for i, l := range lines {
			if strings.HasPrefix(l, name+":") {
				lines[i] = change(l)
			}
		}
		return lines
	}
	swap := func(from, to string) func(string) string {
		return func(l string) string { return strings.Replace(l, from, to, 1) }
	}
	mallory, unknown := harness.NewSender(t, "acme-1"), harness.NewSender(t, "nobody")
	for name, tc := range map[string]struct {
		path   string
		header []string
		status int
		code   string
	}{
		"nothing":                     {path, nil, 401, "missing_credentials"},
		"another key":                 {path, mallory.Sign(harness.Delivery{URI: uri}), 401, "invalid_signature"},
		"an unknown key":              {path, unknown.Sign(harness.Delivery{URI: uri}), 401, "invalid_signature"},
		"the id of another key":       {path, edit(good(), "Signature-Input", swap("acme-1", "other")), 401, "invalid_signature"},
		"an escape decoded":           {"/orders/a-b?x=1&y=2", good(), 401, "invalid_signature"},
		"an escape in small letters":  {"/orders/a%2db?x=1&y=2", good(), 401, "invalid_signature"},
		"the query reordered":         {"/orders/a%2Db?y=2&x=1", good(), 401, "invalid_signature"},
		"a parameter more":            {path + "&z=3", good(), 401, "invalid_signature"},
		"no query":                    {"/orders/a%2Db", good(), 401, "invalid_signature"},
		"another host":                {path, append(good(), "X: y"), 200, ""},
		"signed for another host":     {path, site.Sign(harness.Delivery{URI: scheme + "://evil" + path}), 401, "invalid_signature"},
		"signed for the other scheme": {path, site.Sign(harness.Delivery{URI: other + "://" + host + path}), 401, "invalid_signature"},
		"signed for another method":   {path, site.Sign(harness.Delivery{Method: "POST", URI: uri}), 401, "invalid_signature"},
		"X-Forwarded-Host":            {path, append(site.Sign(harness.Delivery{URI: scheme + "://evil" + path}), "X-Forwarded-Host: evil"), 401, "invalid_signature"},
		"signed long ago":             {path, site.Sign(harness.Delivery{URI: uri, Created: time.Now().Add(-6 * time.Minute)}), 401, "invalid_signature"},
		"signed in the future":        {path, site.Sign(harness.Delivery{URI: uri, Created: time.Now().Add(2 * time.Minute)}), 401, "invalid_signature"},
		"Signature twice":             {path, func() []string { h := good(); return append(h, h[1]) }(), 400, "invalid_request"},
		"Signature-Input twice":       {path, func() []string { h := good(); return append(h, h[0]) }(), 400, "invalid_request"},
		"two signatures": {path, func() []string {
			h := good()
			return append(h, swap("sig1=", "sig2=")(h[0]), swap("sig1=", "sig2=")(h[1]))
		}(), 400, "invalid_request"},
		"no Signature-Input":          {path, good()[1:], 400, "invalid_request"},
		"an unregistered parameter":   {path, site.Sign(harness.Delivery{URI: uri, Params: fmt.Sprintf(`;x=1;nonce="%s"`, protocol)}), 200, ""},
		"one that was not signed":     {path, edit(good(), "Signature-Input", swap(";keyid", ";x=1;keyid")), 401, "invalid_signature"},
		"created twice":               {path, site.Sign(harness.Delivery{URI: uri, Params: ";created=1"}), 400, "invalid_request"},
		"expired":                     {path, site.Sign(harness.Delivery{URI: uri, Created: time.Now().Add(-4 * time.Minute), Params: fmt.Sprintf(";expires=%d", time.Now().Add(-time.Minute).Unix())}), 401, "invalid_signature"},
		"alg of HMAC":                 {path, site.Sign(harness.Delivery{URI: uri, Params: `;alg="hmac-sha256"`}), 401, "invalid_signature"},
		"a space more":                {path, edit(good(), "Signature-Input", swap("(", "( ")), 400, "invalid_request"},
		"capitals":                    {path, edit(good(), "Signature-Input", swap("created", "Created")), 400, "invalid_request"},
		"a date as text":              {path, edit(good(), "Signature-Input", swap("created=", `created="1";x=`)), 400, "invalid_request"},
		"a decimal":                   {path, edit(good(), "Signature-Input", swap(";keyid", ".0;keyid")), 400, "invalid_request"},
		"reordered components":        {path, edit(good(), "Signature-Input", swap(`"@method" "@target-uri"`, `"@target-uri" "@method"`)), 401, "invalid_signature"},
		"a component more":            {path, edit(good(), "Signature-Input", swap(`"@target-uri"`, `"@target-uri" "@scheme"`)), 401, "invalid_signature"},
		"a component twice":           {path, edit(good(), "Signature-Input", swap(`"@method"`, `"@method" "@method"`)), 400, "invalid_request"},
		"spare bits in the signature": {path, edit(good(), "Signature", func(l string) string { return l[:len(l)-4] + "R==:" }), 400, "invalid_request"},
		"another spelling":            {path, append(good()[:1], "signature_input: x"), 400, "invalid_request"},
		"not allowed":                 {"/admin", site.Sign(harness.Delivery{URI: origin + "/admin"}), 403, "forbidden"},
	} {
		a := s.Get("PORT", tc.path, tc.header...)
		if a.StatusCode != tc.status || tc.code != "" && a.Code() != tc.code {
			t.Errorf("%s: got %d %s, want %d %s", name, a.StatusCode, a.Body, tc.status, tc.code)
		}
		if tc.status == 200 {
			reached++
		}
		if tc.status == 401 && (a.Header.Get("WWW-Authenticate") == "" || !strings.HasPrefix(a.Header.Get("Accept-Signature"), "sig1=(")) {
			t.Errorf("%s: challenge %q, %q", name, a.Header.Get("WWW-Authenticate"), a.Header.Get("Accept-Signature"))
		}
	}
	if n := site.reached.Load(); n != reached {
		t.Errorf("the upstream was reached %d times more than it should", n-reached)
	}
}

func TestSignatureIsAcceptedOnceAcrossReloads(t *testing.T) {
	site := startSignedSite(t)
	for _, protocol := range harness.Protocols[1:] { // more of it below, over HTTP/1.1
		s := site.Over(protocol)
		h := site.Sign(harness.Delivery{URI: s.Origin("PORT") + "/orders/1"})
		for i, want := range []int{200, 401} {
			if a := s.Get("PORT", "/orders/1", h...); a.StatusCode != want || want == 401 && a.Code() != "signature_replayed" {
				t.Errorf("%s, request %d: got %d %s, want %d", protocol, i+1, a.StatusCode, a.Body, want)
			}
		}
	}
	h := site.Sign(harness.Delivery{URI: "http://localhost/orders/1"})
	for i, want := range []int{200, 401, 401} {
		a := site.Get("PORT", "/orders/1", h...)
		if a.StatusCode != want || want == 401 && a.Code() != "signature_replayed" {
			t.Errorf("request %d: got %d %s, want %d", i+1, a.StatusCode, a.Body, want)
		}
		if i == 1 {
			if err := site.Reload(signedSiteFile); err != nil {
				t.Fatal(err)
			}
		}
	}
	metrics := site.Metrics()
	for _, want := range []string{`caddy_moat_replay_entries{store="signature"} 3`, `caddy_moat_replay_refused_total{reason="replayed",store="signature"} 4`} {
		if !strings.Contains(metrics, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
	// After a restart nobody knows what was used before it.
	site.Stop()
	time.Sleep(1100 * time.Millisecond) // times of signatures are whole seconds
	site.Run()
	site.Wait()
	if a := site.Get("PORT", "/orders/1", h...); a.StatusCode != 401 || a.Code() != "signature_replayed" {
		t.Errorf("after a restart: got %d %s", a.StatusCode, a.Body)
	}
	if a := site.Get("PORT", "/orders/1", site.Sign(harness.Delivery{URI: "http://localhost/orders/1"})...); a.StatusCode != 200 {
		t.Errorf("a new one after a restart: got %d %s", a.StatusCode, a.Body)
	}
}

// TestUpstreamSeesNoCompleteContentThatWasNotSigned: whether it fits into the
// buffer or streams, with a length or in chunks. It writes HTTP/1.1 itself;
// TestSignedContentOverHTTP2AndHTTP3 has the others.
func TestUpstreamSeesNoCompleteContentThatWasNotSigned(t *testing.T) {
	type seen struct {
		n        int64
		complete bool
	}
	got := make(chan seen, 10)
	up := harness.RawUpstream(t, func(conn net.Conn, r *http.Request) {
		_ = conn.SetDeadline(time.Now().Add(harness.Patience))
		n, err := io.Copy(io.Discard, r.Body)
		got <- seen{n, err == nil}
		if err == nil {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
		}
	})
	acme := harness.NewSender(t, "acme-1")
	s := harness.Prepare(t, `
:{$PORT} {
	signature_auth {
		key acme-1 ed25519 acme.pem
		body 16KiB
	}
	reverse_proxy {env.UPSTREAM}
}
`, "UPSTREAM="+up)
	s.WriteFile("acme.pem", acme.Public)
	s.Run()
	s.Wait()
	const uri = "http://localhost/upload"
	for name, size := range map[string]int{"small": 1000, "large": 300_000} {
		body := strings.Repeat("0123456789", size/10)
		flipped := body[:size-1] + "x"
		for _, chunked := range []bool{false, true} {
			for _, sent := range []string{body, flipped} {
				h := acme.Sign(harness.Delivery{Method: "PUT", URI: uri, Body: body})
				var b strings.Builder
				fmt.Fprintf(&b, "PUT /upload HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%s\r\n", strings.Join(h, "\r\n"))
				if chunked {
					fmt.Fprintf(&b, "Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(sent), sent)
				} else {
					fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(sent), sent)
				}
				a := harness.Raw(t, s.Addr("PORT"), b.String())
				what := fmt.Sprintf("%s, chunked %t, as signed %t", name, chunked, sent == body)
				if sent == body {
					if u := <-got; a.StatusCode != 200 || !u.complete || u.n != int64(size) {
						t.Errorf("%s: got %d %s, the upstream %+v", what, a.StatusCode, a.Body, u)
					}
					continue
				}
				if a.StatusCode != 401 || a.Code() != "content_digest_mismatch" {
					t.Errorf("%s: got %d %s", what, a.StatusCode, a.Body)
				}
				if name == "large" {
					if u := <-got; u.complete || u.n >= int64(size) {
						t.Errorf("%s: the upstream saw %+v", what, u)
					}
				}
			}
		}
	}
	select {
	case u := <-got:
		t.Errorf("the upstream was asked once more: %+v", u)
	default:
	}
}

// TestAnswersAreSigned checks what a client would: that the answer is the
// server's, whole, and to the request that was sent.
func TestAnswersAreSigned(t *testing.T) {
	acme, srv := harness.NewSender(t, "acme-1"), harness.NewSender(t, "server-1")
	up := harness.Upstream(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Signature", "sig9=:AAAA:") // which is not the server's
		switch r.URL.Path {
		case "/large":
			_, _ = io.WriteString(w, "["+strings.Repeat(" ", 3000)+"]")
		case "/stream":
			for range 3 {
				_, _ = io.WriteString(w, " ")
				_ = http.NewResponseController(w).Flush()
			}
			_, _ = io.WriteString(w, "[]")
		case "/broken":
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "[1")
			panic(http.ErrAbortHandler)
		case "/none":
			w.WriteHeader(204)
		default:
			_, _ = io.WriteString(w, `{"phone":"18049531999"}`)
		}
	})
	s := harness.PrepareAll(t, `
:{$PORT} {
	signature_auth {
		key acme-1 ed25519 acme.pem
		sign_responses {
			key server-1 ed25519 server.pem
			max_body 2000B
		}
		strip
		optional
	}
	redact {
		mask mobile phone
	}
	reverse_proxy {env.UPSTREAM}
}
`, "UPSTREAM="+up)
	s.WriteFile("acme.pem", acme.Public)
	s.WriteFile("server.pem", srv.Private)
	s.Run()
	s.Wait()
	pub := srv.Key.Public().(ed25519.PublicKey)
	for _, tc := range []struct {
		method, path string
		status       int
		body         string
	}{
		{"GET", "/order", 200, `{"phone":"180****1999"}`},
		{"GET", "/stream", 200, `   []`},
		{"HEAD", "/order", 200, ""},
		{"GET", "/none", 204, ""},
		{"GET", "/large", 502, "response_not_signable"},
		{"GET", "/broken", 502, ""},
	} {
		for _, protocol := range harness.Protocols {
			s := s.Over(protocol)
			h := acme.Sign(harness.Delivery{Method: tc.method, URI: s.Origin("PORT") + tc.path})
			a := s.Do("PORT", tc.method, tc.path, "", h...)
			if a.StatusCode != tc.status || a.Err != nil || tc.status == 200 && a.Body != tc.body || !strings.Contains(a.Body, tc.body) {
				t.Errorf("%s %s, %s: got %d %q, %v", tc.method, tc.path, protocol, a.StatusCode, a.Body, a.Err)
				continue
			}
			input := a.Header.Values("Signature-Input")
			if tc.status == 502 {
				if len(input) > 0 {
					t.Errorf("%s: a refusal is signed: %v", tc.path, input)
				}
				continue
			}
			if len(input) != 1 || len(a.Header.Values("Signature")) != 1 {
				t.Errorf("%s: Signature-Input %q, Signature %q", tc.path, input, a.Header.Values("Signature"))
				continue
			}
			params := strings.TrimPrefix(input[0], "sig1=")
			list := params[1:strings.IndexByte(params, ')')]
			signature := strings.TrimPrefix(h[len(h)-1], "Signature: sig1=")
			var base strings.Builder
			for component := range strings.SplitSeq(list, " ") {
				value := map[string]string{
					`"@status"`: fmt.Sprint(a.StatusCode), `"content-type"`: a.Header.Get("Content-Type"),
					`"content-digest"`: a.Header.Get("Content-Digest"), `"@method";req`: tc.method,
					`"@target-uri";req`: s.Origin("PORT") + tc.path, `"signature";req;key="sig1"`: signature,
				}[component]
				fmt.Fprintf(&base, "%s: %s\n", component, value)
			}
			base.WriteString(`"@signature-params": ` + params)
			sig, err := base64.StdEncoding.DecodeString(strings.Trim(strings.TrimPrefix(a.Header.Get("Signature"), "sig1="), ":"))
			if err != nil || !ed25519.Verify(pub, []byte(base.String()), sig) {
				t.Errorf("%s %s, %s: the signature does not verify over\n%s", tc.method, tc.path, protocol, base.String())
			}
			for _, want := range []string{`"@status"`, `"@method";req`, `"@target-uri";req`, `"signature";req;key="sig1"`} {
				if !strings.Contains(list, want) {
					t.Errorf("%s: %s is not covered: %s", tc.path, want, list)
				}
			}
			if tc.body != "" {
				sum := sha256.Sum256([]byte(a.Body))
				if want := "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"; a.Header.Get("Content-Digest") != want || !strings.Contains(list, `"content-digest"`) {
					t.Errorf("%s: Content-Digest %s, want %s, covered %s", tc.path, a.Header.Get("Content-Digest"), want, list)
				}
			}
		}
	}
	// Answers to others are not signed, and may stream.
	if a := s.Get("PORT", "/large"); a.StatusCode != 200 || a.Header.Get("Signature-Input") != "" {
		t.Errorf("an anonymous request: %d, %v", a.StatusCode, a.Header)
	}
}

func TestSignaturesStandBesideTokens(t *testing.T) {
	acme := harness.NewSender(t, "acme-1")
	const signatures = "signature_auth {\n\t\t\tkey acme-1 ed25519 acme.pem\n\t\t}"
	const tokens = "jwt_auth {\n\t\t\tissuer internal\n\t\t}"
	site := func(port, first, second string) string {
		return ":{$" + port + "} {\n\tauth {\n\t\t" + first + "\n\t\t" + second + "\n\t}\n\trespond \"{http.auth.user.id}\"\n}\n"
	}
	s := harness.PrepareAll(t, site("PORT", signatures, tokens)+site("PORT2", tokens, signatures))
	s.WriteFile("acme.pem", acme.Public)
	s.Run()
	s.Wait()
	tok := "Authorization: Bearer " + s.Token("--sub", "alice")
	for _, protocol := range harness.Protocols {
		for _, port := range []string{"PORT", "PORT2"} {
			s := s.Over(protocol)
			signed := func() []string { return acme.Sign(harness.Delivery{URI: s.Origin(port) + "/"}) }
			for name, tc := range map[string]struct {
				header       func() []string
				first, other string
			}{
				"a signature":         {signed, "acme-1", "acme-1"},
				"a token":             {func() []string { return []string{tok} }, "alice", "alice"},
				"both":                {func() []string { return append(signed(), tok) }, "acme-1", "alice"},
				"a bad signature":     {func() []string { return acme.Sign(harness.Delivery{URI: "http://x/"}) }, "invalid_signature", "invalid_signature"},
				"bad, and a token":    {func() []string { return append(acme.Sign(harness.Delivery{URI: "http://x/"}), tok) }, "invalid_signature", "alice"},
				"a bad token besides": {func() []string { return append(signed(), tok+"x") }, "acme-1", "invalid_token"},
				"nothing":             {func() []string { return nil }, "missing_credentials", "missing_credentials"},
			} {
				want := map[string]string{"PORT": tc.first, "PORT2": tc.other}[port]
				a := s.Get(port, "/", tc.header()...)
				if a.Body != want && a.Code() != want {
					t.Errorf("%s, %s, %s: got %d %s, want %s", name, port, protocol, a.StatusCode, a.Body, want)
				}
				if a.StatusCode == 401 && len(a.Header.Values("WWW-Authenticate")) != 2 {
					t.Errorf("%s, %s, %s: challenges %q", name, port, protocol, a.Header.Values("WWW-Authenticate"))
				}
			}
		}
	}
}

// TestSignPrintsARequestThatIsAccepted runs the very command that is printed.
func TestSignPrintsARequestThatIsAccepted(t *testing.T) {
	for _, program := range []string{"sh", "curl"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("no %s: the printed command cannot be run", program)
		}
	}
	acme := harness.NewSender(t, "it's")
	s := harness.Prepare(t, `
:{$PORT} {
	signature_auth {
		key it's ed25519 acme.pem
		key legacy hmac-sha256 {file./{$SECRET}}
		cavage
	}
	respond "{http.auth.user.id}"
}
`)
	s.WriteFile("acme.pem", acme.Public)
	secret := s.WriteFile("secret", "a shared secret of 32 bytes, or more")
	s.Env = append(s.Env, "SECRET="+strings.TrimPrefix(secret, "/"))
	s.WriteFile("private.pem", acme.Private)
	s.WriteFile("it's data", `{"it's":"$HOME"}`)
	s.Run()
	s.Wait()
	url := "http://localhost:" + s.Ports["PORT"] + "/a%20b?x='1'&y"
	for _, args := range [][]string{
		{"--keyid", "it's", "--key", "private.pem"},
		{"--keyid", "it's", "--key", "private.pem", "--body", "it's data", "--header", "X-Note: it's \"quoted\"", "--cover", "@method,@authority,@path,@query,x-note"},
		{"--keyid", "it's", "--key", "private.pem", "--method", "DELETE", "--expires", "1m", "--tag", "t"},
		{"--keyid", "legacy", "--alg", "hmac-sha256", "--key", "secret", "--cavage", "--body", "it's data"},
	} {
		text := s.Output(append(append([]string{"moat", "sign"}, args...), url)...)
		cmd := exec.Command("sh", "-c", strings.Replace(strings.TrimSpace(text), "curl ", "curl -sS --noproxy '*' ", 1))
		cmd.Dir = s.Dir
		out, err := cmd.CombinedOutput()
		if want := args[1]; err != nil || string(out) != want {
			t.Errorf("%q: got %s, %v, want %s; the command is\n%s", args, out, err, want, text)
		}
	}
	if out, err := s.Caddy("moat", "sign", "--keyid", "x", "--key", "acme.pem", url); err == nil || strings.Contains(out, "BEGIN") {
		t.Errorf("a public key was taken: %s", out)
	}
}
