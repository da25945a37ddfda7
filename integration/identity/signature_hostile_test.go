package identity

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

// signedFile starts the binary with a configuration in which acme.pem and
// server.pem are the keys of the two senders.
func signedFile(t *testing.T, acme, srv *harness.Sender, file string, env ...string) *harness.Server {
	t.Helper()
	s := harness.PrepareAll(t, file, env...)
	s.WriteFile("acme.pem", acme.Public)
	s.WriteFile("server.pem", srv.Private)
	s.Run()
	s.Wait()
	return s
}

// put is a PUT to /upload with a body that may not be what was signed.
func put(header []string, length int, body string) string {
	return fmt.Sprintf("PUT /upload HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n%s\r\n\r\n%s",
		length, strings.Join(header, "\r\n"), body)
}

// TestProxyThatBuffersPassesOnNothingComplete: reverse_proxy may buffer content
// or try again, and the client may go away in the middle. It writes HTTP/1.1
// itself, to announce more than it sends.
func TestProxyThatBuffersPassesOnNothingComplete(t *testing.T) {
	type seen struct {
		n   int64
		err error
	}
	got := make(chan seen, 100)
	up := harness.RawUpstream(t, func(conn net.Conn, r *http.Request) {
		_ = conn.SetDeadline(time.Now().Add(harness.Patience))
		n, err := io.Copy(io.Discard, r.Body)
		got <- seen{n, err}
		if err == nil {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
		}
	})
	acme := harness.NewSender(t, "acme-1")
	var file strings.Builder
	options := map[string]string{
		"PORT":  "",
		"PORT2": "request_buffers unlimited",
		"PORT3": "request_buffers 100KiB",
		"PORT4": "request_buffers unlimited\n\t\tlb_retries 3",
		"PORT5": "lb_retries 3",
	}
	for port, option := range options {
		fmt.Fprintf(&file, ":{$%s} {\n\tsignature_auth {\n\t\tkey acme-1 ed25519 acme.pem\n\t}\n\treverse_proxy {env.UPSTREAM} {\n\t\t%s\n\t}\n}\n", port, option)
	}
	s := signedFile(t, acme, harness.NewSender(t, "x"), file.String(), "UPSTREAM="+up)
	body := strings.Repeat("0123456789", 30_000)
	signed := func() []string {
		return acme.Sign(harness.Delivery{Method: "PUT", URI: "http://localhost/upload", Body: body})
	}
	for port, option := range options {
		if a := harness.Raw(t, s.Addr(port), put(signed(), len(body), body)); a.StatusCode != 200 {
			t.Fatalf("%q, as signed: got %d %s", option, a.StatusCode, a.Body)
		}
		for name, sent := range map[string]string{
			"last byte":  body[:len(body)-1] + "x",
			"first byte": "x" + body[1:],
			"cut":        body[:len(body)-1],
			"longer":     body + "x",
		} {
			a := harness.Raw(t, s.Addr(port), put(signed(), len(sent), sent))
			if a.StatusCode != 401 || a.Code() != "content_digest_mismatch" {
				t.Errorf("%q, %s: got %d %s", option, name, a.StatusCode, a.Body)
			}
		}
		// The client announces all and goes away before the end.
		conn, err := net.Dial("tcp", s.Addr(port))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, put(signed(), len(body), body[:len(body)-1]))
		conn.Close()
	}
	// But for those as signed, whoever was asked saw an incomplete request.
	complete := 0
	for done := false; !done; {
		select {
		case u := <-got:
			if u.err != nil {
				continue
			}
			if complete++; u.n != int64(len(body)) {
				t.Errorf("the upstream took %d bytes for complete", u.n)
			}
		case <-time.After(500 * time.Millisecond):
			done = true
		}
	}
	if complete != len(options) {
		t.Errorf("the upstream saw %d complete requests, want %d", complete, len(options))
	}
}

// TestContentThatWasNotSignedIsNotTheUpstreamsFault: one sender could take the
// application away from all others, where failures of the upstream are counted.
func TestContentThatWasNotSignedIsNotTheUpstreamsFault(t *testing.T) {
	acme := harness.NewSender(t, "acme-1")
	var asked atomic.Int64
	up := harness.Upstream(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if _, err := io.Copy(io.Discard, r.Body); err == nil {
			_, _ = io.WriteString(w, "served")
		}
	})
	site := func(port, option string) string {
		return ":{$" + port + "} {\n\tsignature_auth {\n\t\tkey acme-1 ed25519 acme.pem\n\t\t" + option +
			"\n\t}\n\treverse_proxy {env.UPSTREAM} {\n\t\tmax_fails 1\n\t\tfail_duration 1h\n\t\tlb_retries 3\n\t}\n}\n"
	}
	s := signedFile(t, acme, harness.NewSender(t, "x"),
		site("PORT", "")+site("PORT2", "sign_responses {\n\t\t\tkey server-1 ed25519 server.pem\n\t\t}"), "UPSTREAM="+up)
	body := strings.Repeat("0123456789", 30_000)
	for _, port := range []string{"PORT", "PORT2"} {
		asked.Store(0)
		for range 3 {
			h := acme.Sign(harness.Delivery{Method: "PUT", URI: "http://localhost/upload", Body: body})
			if a := harness.Raw(t, s.Addr(port), put(h, len(body), body[1:]+"x")); a.StatusCode != 401 || a.Code() != "content_digest_mismatch" {
				t.Errorf("%s: got %d %s", port, a.StatusCode, a.Body)
			}
		}
		if n := asked.Load(); n > 3 {
			t.Errorf("%s: the upstream was asked %d times for three requests", port, n)
		}
		h := acme.Sign(harness.Delivery{Method: "PUT", URI: "http://localhost/upload", Body: body})
		if a := harness.Raw(t, s.Addr(port), put(h, len(body), body)); a.StatusCode != 200 || a.Body != "served" {
			t.Errorf("%s, afterwards: got %d %s", port, a.StatusCode, a.Body)
		}
	}
}

// TestSignatureIsAboutTheRequestAsItWasSent: not as handlers before made it.
func TestSignatureIsAboutTheRequestAsItWasSent(t *testing.T) {
	acme := harness.NewSender(t, "acme-1")
	s := signedFile(t, acme, harness.NewSender(t, "x"), `
:{$PORT} {
	method PUT
	rewrite * /inside?a=b
	signature_auth {
		key acme-1 ed25519 acme.pem
	}
	respond "{method} {uri}"
}
`)
	for _, protocol := range harness.Protocols {
		s := s.Over(protocol)
		sent := acme.Sign(harness.Delivery{Method: "POST", URI: s.Origin("PORT") + "/orders"})
		if a := s.Do("PORT", "POST", "/orders", "", sent...); a.StatusCode != 200 || a.Body != "PUT /inside?a=b" {
			t.Errorf("%s: got %d %s", protocol, a.StatusCode, a.Body)
		}
		made := acme.Sign(harness.Delivery{Method: "PUT", URI: s.Origin("PORT") + "/inside?a=b"})
		if a := s.Do("PORT", "POST", "/orders", "", made...); a.StatusCode != 401 {
			t.Errorf("of the request as it was made, %s: got %d %s", protocol, a.StatusCode, a.Body)
		}
	}
}

// TestContentIsComparedHoweverTheDigestIsCovered: whole, one of its hashes, or
// written anew.
func TestContentIsComparedHoweverTheDigestIsCovered(t *testing.T) {
	acme := harness.NewSender(t, "acme-1")
	s := signedFile(t, acme, harness.NewSender(t, "x"), `
:{$PORT} {
	signature_auth {
		key acme-1 ed25519 acme.pem
		components @method
	}
	respond "ok"
}
`)
	const body, digest = "hello", ":LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:"
	for _, component := range []string{`"content-digest"`, `"content-digest";key="sha-256"`, `"content-digest";sf`} {
		value := "sha-256=" + digest
		if strings.Contains(component, "key") {
			value = digest
		}
		for sent, want := range map[string]int{body: 200, "HELLO": 401} {
			for _, protocol := range harness.Protocols {
				s := s.Over(protocol)
				h := acme.Sign(harness.Delivery{Method: "POST", URI: s.Origin("PORT") + "/", Covered: [][2]string{{component, value}}})
				a := s.Do("PORT", "POST", "/", sent, append(h, "Content-Digest: sha-256="+digest)...)
				if a.StatusCode != want || want == 401 && a.Code() != "content_digest_mismatch" {
					t.Errorf("%s, content %q, %s: got %d %s, want %d", component, sent, protocol, a.StatusCode, a.Body, want)
				}
			}
		}
	}
}

func TestAnswersThatGoRoundWritersAreSignedToo(t *testing.T) {
	acme, srv := harness.NewSender(t, "acme-1"), harness.NewSender(t, "server-1")
	up := harness.RawUpstream(t, func(conn net.Conn, r *http.Request) {
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nSECRET")
	})
	s := signedFile(t, acme, srv, `
:{$PORT} {
	signature_auth {
		key acme-1 ed25519 acme.pem
		sign_responses {
			key server-1 ed25519 server.pem
		}
	}
	handle /files/* {
		root public
		file_server
	}
	handle {
		reverse_proxy {env.UPSTREAM}
	}
}
`, "UPSTREAM="+up)
	text := strings.Repeat("text of a file ", 5000)
	s.WriteFile("public/files/a.txt", text)
	for _, protocol := range harness.Protocols {
		get := func(path string, more ...string) *harness.Response {
			s := s.Over(protocol)
			return s.Get("PORT", path, append(acme.Sign(harness.Delivery{URI: s.Origin("PORT") + path}), more...)...)
		}
		a := get("/files/a.txt")
		if a.StatusCode != 200 || a.Body != text || a.Header.Get("Content-Digest") == "" || len(a.Header.Values("Signature")) != 1 {
			t.Errorf("a file: got %d, %d bytes, %v", a.StatusCode, len(a.Body), a.Header)
		}
		part := get("/files/a.txt", "Range: bytes=5-8")
		if part.StatusCode != 206 || part.Body != "of a" && part.Body != text[5:9] || part.Header.Get("Content-Digest") == a.Header.Get("Content-Digest") || part.Header.Get("Signature") == "" {
			t.Errorf("a part of it: got %d %q, %v", part.StatusCode, part.Body, part.Header)
		}
		if a := get("/files/a.txt", "If-None-Match: "+a.Header.Get("ETag")); a.StatusCode != 304 || a.Header.Get("Signature") == "" {
			t.Errorf("not modified: got %d, %v", a.StatusCode, a.Header)
		}
		if a := get("/files/none.txt"); a.StatusCode != 404 || a.Header.Get("Signature") != "" {
			t.Errorf("not found: got %d, %v", a.StatusCode, a.Header)
		}
		if protocol != harness.HTTP1 {
			continue // which alone switches protocols so
		}
		upgrade := get("/socket", "Connection: Upgrade", "Upgrade: websocket")
		if upgrade.StatusCode < 500 || strings.Contains(upgrade.Body, "SECRET") {
			t.Errorf("an upgrade: got %d %q", upgrade.StatusCode, upgrade.Body)
		}
	}
}

// TestErrorRoutesDecideWhatRefusalsLookLike: those that show late, too.
func TestErrorRoutesDecideWhatRefusalsLookLike(t *testing.T) {
	acme := harness.NewSender(t, "acme-1")
	up := harness.Upstream(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	s := signedFile(t, acme, harness.NewSender(t, "x"), `
:{$PORT} {
	signature_auth {
		key acme-1 ed25519 acme.pem
	}
	reverse_proxy {env.UPSTREAM}
	handle_errors {
		respond "{err.status_code} {http.moat.code}"
	}
}
`, "UPSTREAM="+up)
	for _, size := range []int{10, 200_000} {
		body := strings.Repeat("x", size)
		for _, protocol := range harness.Protocols {
			s := s.Over(protocol)
			h := acme.Sign(harness.Delivery{Method: "PUT", URI: s.Origin("PORT") + "/upload", Body: body})
			a := s.Do("PORT", "PUT", "/upload", body[1:]+"y", h...)
			if a.StatusCode != 401 || a.Body != "401 content_digest_mismatch" || a.Header.Get("WWW-Authenticate") == "" {
				t.Errorf("%d bytes, %s: got %d %s", size, protocol, a.StatusCode, a.Body)
			}
		}
	}
}

// TestKeysFileChangesWhileRunning has one key replaced by another, a file that
// is garbled, and what records say about it.
func TestKeysFileChangesWhileRunning(t *testing.T) {
	one, two := harness.NewSender(t, "one"), harness.NewSender(t, "two")
	line := func(s *harness.Sender, more string) string {
		return fmt.Sprintf(`{"keyid":%q,"alg":"ed25519","key":%q,"user":"acme"%s}`+"\n", s.ID, s.Public, more)
	}
	file := `
{
	metrics
}
:{$PORT} {
	audit trail
	signature_auth {
		keys senders.jsonl
	}
	respond "{http.auth.user.id} {http.auth.user.claims.key_id}"
}
`
	s := harness.PrepareAll(t, file)
	s.WriteFile("senders.jsonl", line(one, ""))
	s.Run()
	s.Wait()
	is := func(who *harness.Sender, want string) {
		t.Helper()
		harness.Eventually(t, func() error {
			for _, protocol := range harness.Protocols {
				s := s.Over(protocol)
				a := s.Get("PORT", "/", who.Sign(harness.Delivery{URI: s.Origin("PORT") + "/"})...)
				if a.Body != want && a.Code() != want {
					return fmt.Errorf("%s, %s: got %d %s, want %s", who.ID, protocol, a.StatusCode, a.Body, want)
				}
			}
			return nil
		})
	}
	is(one, "acme one")
	is(two, "invalid_signature")
	s.WriteFile("senders.jsonl", line(one, `,"disabled":true`)+line(two, ""))
	is(two, "acme two")
	is(one, "invalid_signature")
	s.WriteFile("senders.jsonl", line(two, "")+line(one, `,"not_before":"2020-01-01"`))
	harness.Eventually(t, func() error {
		if !strings.Contains(s.Log.String(), "what was read last stays in force") {
			return fmt.Errorf("the log does not say that the file is bad")
		}
		return nil
	})
	is(two, "acme two")
	is(one, "invalid_signature")
	if m := s.Metrics(); !strings.Contains(m, `caddy_moat_signature_keys_unusable{keys="senders.jsonl"} 1`) || !strings.Contains(m, `caddy_moat_signature_keys{keys="senders.jsonl"} 2`) {
		t.Error("the metrics do not say that the file is bad")
	}
	if err := s.Reload(file + "# changed\n"); err == nil {
		t.Error("a configuration with a bad file was loaded")
	}
	is(two, "acme two")
	s.Stop()
	raw := ""
	entries, err := os.ReadDir(s.Path("trail"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		body, _ := os.ReadFile(filepath.Join(s.Path("trail"), e.Name()))
		raw += string(body)
	}
	for _, want := range []string{"keys changed", "added two", "changed one", "keys refused", `"kind":"signature"`} {
		if !strings.Contains(raw, want) {
			t.Errorf("the trail lacks %s", want)
		}
	}
}

// TestSignedContentOverHTTP2AndHTTP3 has the upstream speak HTTP/2, too.
func TestSignedContentOverHTTP2AndHTTP3(t *testing.T) {
	acme := harness.NewSender(t, "acme-1")
	var complete, asked atomic.Int64
	up := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked.Add(1)
			if _, err := io.Copy(io.Discard, r.Body); err == nil {
				complete.Add(1)
			}
			fmt.Fprintf(w, "%s %s", r.Proto, r.Header.Get("X-User"))
		}),
		Protocols: new(http.Protocols),
	}
	up.Protocols.SetUnencryptedHTTP2(true)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = up.Serve(ln) }()
	t.Cleanup(func() { _ = up.Close() })
	s := signedFile(t, acme, harness.NewSender(t, "x"), `
{
	http_port {$HTTP_PORT}
}
:{$PORT} {
	signature_auth {
		key acme-1 ed25519 acme.pem
		forward sub X-User
	}
	reverse_proxy h2c://{$UPSTREAM}
}
`, "UPSTREAM="+ln.Addr().String())
	for _, protocol := range harness.Protocols[1:] {
		t.Run(protocol, func(t *testing.T) { signedContent(t, acme, s.Over(protocol), &complete) })
	}
}

func signedContent(t *testing.T, acme *harness.Sender, s *harness.Server, complete *atomic.Int64) {
	host := "localhost:" + s.Ports["PORT"]
	body := strings.Repeat("0123456789", 30_000)
	for _, tc := range []struct {
		name, authority, signed, sent string
		length                        bool
		status                        int
		code                          string
	}{
		{"as signed", host, host, body, true, 200, ""},
		{"without a length", host, host, body, false, 200, ""},
		{"small", host, host, "hello", true, 200, ""},
		{"capitals", "LOCALHOST:" + s.Ports["PORT"], host, "hello", true, 200, ""},
		{"nothing", host, host, "", true, 200, ""},
		{"another port", host, "localhost:1", "hello", true, 401, "invalid_signature"},
		{"the port left out", host, "localhost", "hello", true, 401, "invalid_signature"},
		{"changed", host, host, body[1:] + "x", true, 401, "content_digest_mismatch"},
		{"changed, without a length", host, host, body[1:] + "x", false, 401, "content_digest_mismatch"},
		{"cut", host, host, body[1:], false, 401, "content_digest_mismatch"},
		{"empty", host, host, "", false, 401, "content_digest_mismatch"},
	} {
		before := complete.Load()
		signed := body
		if tc.length && len(tc.sent) < len(body) {
			signed = tc.sent
		}
		var reader io.Reader = strings.NewReader(tc.sent)
		if !tc.length {
			reader = io.MultiReader(reader)
		}
		method := "PUT"
		if signed == "" {
			method, reader = "GET", nil
		}
		r := s.Request("PORT", method, "/upload", reader,
			append(acme.Sign(harness.Delivery{Method: method, URI: "https://" + tc.signed + "/upload", Body: signed}), "Host: "+tc.authority)...)
		a := s.RoundTrip(r)
		if !strings.HasPrefix(a.Proto, s.Protocol) || a.StatusCode != tc.status || a.Code() != tc.code || tc.status == 200 && a.Body != "HTTP/2.0 acme-1" {
			t.Errorf("%s: got %s %d %s", tc.name, a.Proto, a.StatusCode, a.Body)
		}
		if done := complete.Load() - before; (done == 1) != (tc.status == 200) {
			t.Errorf("%s: the upstream saw %d complete requests", tc.name, done)
		}
	}
}
