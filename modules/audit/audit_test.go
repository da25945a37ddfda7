package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/record"
	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/trail"
	"github.com/caddy-moat/caddy-moat/modules/internal/filelock"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
	"github.com/caddy-moat/caddy-moat/modules/internal/problem"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

func init() { caddy.RegisterModule(new(inner)) }

// inner is the handler behind audit in these tests.
type inner struct {
	Name string `json:"name"`
}

var inners sync.Map // name → caddyhttp.HandlerFunc

func (*inner) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.audit_test_inner", New: func() caddy.Module { return new(inner) }}
}

func (i *inner) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	f, _ := inners.Load(i.Name)
	return f.(func(http.ResponseWriter, *http.Request) error)(w, r)
}

// env is one running configuration with one listener.
type env struct {
	t    *testing.T
	dir  string // of the trail
	port string
	home string
}

func newEnv(t *testing.T) *env {
	t.Helper()
	home := t.TempDir()
	t.Setenv("XDG_DATA_HOME", filepath.Join(home, "data"))
	t.Setenv("XDG_CONFIG_HOME", filepath.Join(home, "config"))
	t.Setenv("HOME", home)
	t.Cleanup(func() { _ = caddy.Stop() })
	return &env{t: t, dir: filepath.Join(home, "trail"), port: freePort(t), home: home}
}

// freePort returns a port on which nobody listens. It is not one of those that
// systems give to outgoing connections, which could take it before the server.
func freePort(t *testing.T) string {
	t.Helper()
	for range 1000 {
		port := strconv.Itoa(5000 + rand.IntN(5000))
		if ln, err := net.Listen("tcp", "127.0.0.1:"+port); err == nil {
			ln.Close()
			return port
		}
	}
	t.Fatal("no port is free")
	return ""
}

// load runs a server whose routes are audit handlers, one for each host of
// sites ("" for any), before f.
func (e *env) load(f func(http.ResponseWriter, *http.Request) error, sites ...string) error {
	e.t.Helper()
	inners.Store(e.t.Name(), f)
	var routes []string
	for _, options := range sites {
		host := ""
		if before, after, found := strings.Cut(options, "|"); found {
			host = fmt.Sprintf(`"match":[{"host":[%q]}],`, before)
			options = after
		}
		routes = append(routes, fmt.Sprintf(`{%s"terminal":true,"handle":[{"handler":"subroute","routes":[{"handle":[{"handler":"audit"%s},{"handler":"audit_test_inner","name":%q}]}]}]}`, host, options, e.t.Name()))
	}
	cfg := fmt.Sprintf(`{"admin":{"disabled":true,"config":{"persist":false}},"logging":{"logs":{"default":{"level":"PANIC"}}},"storage":{"module":"file_system","root":%q},
		"apps":{"http":{"grace_period":"5s","servers":{"s":{"listen":["127.0.0.1:%s"],"automatic_https":{"disable":true},"routes":[%s]}}}}}`,
		filepath.Join(e.home, "storage"), e.port, strings.Join(routes, ","))
	return caddy.Load([]byte(cfg), true)
}

// serve is load for one site with the trail of the environment.
func (e *env) serve(options string, f func(http.ResponseWriter, *http.Request) error) {
	e.t.Helper()
	if err := e.load(f, fmt.Sprintf(`,"path":%q%s`, e.dir, options)); err != nil {
		e.t.Fatal(err)
	}
}

func (e *env) url(path string) string { return "http://127.0.0.1:" + e.port + path }

// do sends a request and returns status and body; status 0 stands for none.
func (e *env) do(req *http.Request) (int, string, http.Header) {
	e.t.Helper()
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return 0, err.Error(), nil
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error(), nil
	}
	return resp.StatusCode, string(body), resp.Header
}

func (e *env) get(path string) (int, string) {
	e.t.Helper()
	req, err := http.NewRequest(http.MethodGet, e.url(path), nil)
	if err != nil {
		e.t.Fatal(err)
	}
	status, body, _ := e.do(req)
	return status, body
}

// stop ends the server, verifies the trail and returns its records but for
// changes.
func (e *env) stop() []record.Record {
	e.t.Helper()
	if err := caddy.Stop(); err != nil {
		e.t.Fatal(err)
	}
	e.closed()
	return e.read(e.dir)
}

// closed returns once nobody writes to the trail. Unless the process ends,
// Caddy does not wait for the requests that are still being served, but the
// trail does.
func (e *env) closed() {
	e.t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		lock, err := os.OpenFile(filepath.Join(e.dir, "lock"), os.O_RDWR, 0)
		if errors.Is(err, os.ErrNotExist) {
			return
		}
		if err == nil {
			err = filelock.TryLock(lock)
			_ = lock.Close()
		}
		if err == nil {
			return
		}
		if time.Now().After(end) {
			e.t.Fatalf("the trail is not closed: %v", err)
		}
	}
}

func (e *env) read(dir string) (out []record.Record) {
	e.t.Helper()
	rep, err := trail.Verify(context.Background(), dir, trail.VerifyOptions{})
	if err != nil || !rep.OK() {
		e.t.Fatalf("the trail does not verify: %v %v", err, rep)
	}
	_, err = trail.Scan(context.Background(), dir, trail.ScanOptions{}, func(r trail.Record) error {
		var rec record.Record
		if err := record.Decode(r.Line, &rec); err != nil {
			return err
		}
		if rec.Kind != record.Change {
			out = append(out, rec)
		}
		return nil
	})
	if err != nil {
		e.t.Fatal(err)
	}
	return out
}

// one returns the only record.
func one(t *testing.T, list []record.Record) record.Record {
	t.Helper()
	if len(list) != 1 {
		t.Fatalf("%d records, want one: %+v", len(list), list)
	}
	return list[0]
}

func text(body string) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, _ *http.Request) error {
		_, err := io.WriteString(w, body)
		return err
	}
}

func TestRequestIsRecordedWithWhatTheLayersDecided(t *testing.T) {
	e := newEnv(t)
	e.serve(`,"record_headers":["x-source"]`, func(w http.ResponseWriter, r *http.Request) error {
		_, _ = io.Copy(io.Discard, r.Body)
		reqctx.Identify(r, &principal.Principal{ID: "alice", Issuer: "https://id", Kind: "jwt", KeyID: "k1", TokenID: "j1", Roles: []string{"clerk"}})
		log := reqctx.Decisions(r)
		log.Add(decisionOf("jwt_auth", "allow", "", ""))
		log.Add(decisionOf("rbac", "allow", "role clerk: allow GET /orders/*", ""))
		log.AddRedacted(3, "mask $..phone")
		r.URL.Path = "/v2" + r.URL.Path
		w.WriteHeader(201)
		_, err := io.WriteString(w, "hello")
		return err
	})
	req, _ := http.NewRequest("POST", e.url("/orders/1?page=2&access_token=tttttttt"), strings.NewReader("body!"))
	req.Header.Set("Traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	req.Header.Set("X-Source", "test")
	if status, body, _ := e.do(req); status != 201 || body != "hello" {
		t.Fatalf("%d %q", status, body)
	}
	r := one(t, e.stop())
	if r.Kind != "outcome" || r.Method != "POST" || r.Path != "/orders/1" || r.Upstream.Path != "/v2/orders/1" ||
		r.Query != "page=****&access_token=****" || r.Client != "127.0.0.1" || !strings.HasPrefix(r.Peer, "127.0.0.1:") ||
		r.Trace != "4bf92f3577b34da6a3ce929d0e0e4736" || len(r.ID) != 36 || r.Site != "127.0.0.1:"+e.port || r.Host != "127.0.0.1:"+e.port {
		t.Errorf("request: %+v", r)
	}
	if r.User != (record.User{ID: "alice", Issuer: "https://id", Kind: "jwt", Key: "k1", Token: "j1"}) || len(r.Roles) != 1 ||
		len(r.Decisions) != 2 || r.Decisions[1].Rule != "role clerk: allow GET /orders/*" || r.Redacted != 3 || r.RedactedBy[0] != "mask $..phone" {
		t.Errorf("decisions: %+v", r)
	}
	if r.Status != 201 || r.Sent != 5 || r.Received != 5 || r.Code != "" || r.End != "" || r.Headers["X-Source"][0] != "test" {
		t.Errorf("outcome: %+v", r)
	}
}

func TestRefusalsOfEveryKindAreRecorded(t *testing.T) {
	for name, c := range map[string]struct {
		f      func(w http.ResponseWriter, r *http.Request) error
		status int
		check  func(r record.Record) bool
	}{
		"ours": {func(w http.ResponseWriter, r *http.Request) error {
			reqctx.Decisions(r).Add(decisionOf("rbac", "deny", "deny DELETE /x", "forbidden"))
			return reqctx.Refuse(w, r, &problem.Problem{Status: 403, Code: "forbidden"})
		}, 403, func(r record.Record) bool { return r.Code == "forbidden" && r.Decisions[0].Rule == "deny DELETE /x" }},
		"rate limit": {func(_ http.ResponseWriter, r *http.Request) error {
			reqctx.Replacer(r).Set("http.rate_limit.exceeded.name", "per_user")
			return caddyhttp.Error(429, nil)
		}, 429, func(r record.Record) bool {
			return r.Code == "rate_limited" && r.Decisions[0].Layer == "rate_limit" && r.Decisions[0].Rule == "per_user" && r.Decisions[0].Result == "deny"
		}},
		"basic auth": {func(http.ResponseWriter, *http.Request) error {
			return caddyhttp.Error(401, fmt.Errorf("not authenticated"))
		}, 401, func(r record.Record) bool {
			return r.Code == "unauthenticated" && r.Decisions[0].Layer == "authentication"
		}},
		"error of a handler": {func(http.ResponseWriter, *http.Request) error {
			return caddyhttp.Error(502, errors.New("dial"))
		}, 502, func(r record.Record) bool { return len(r.Decisions) == 0 && r.End == "" }},
		"plain error": {func(http.ResponseWriter, *http.Request) error { return errors.New("x") }, 500, func(record.Record) bool { return true }},
		"nothing":     {func(http.ResponseWriter, *http.Request) error { return nil }, 200, func(record.Record) bool { return true }},
	} {
		for _, mode := range []string{"batch", "always"} {
			t.Run(name+" "+mode, func(t *testing.T) {
				e := newEnv(t)
				e.serve(`,"sync":"`+mode+`"`, c.f)
				if status, body := e.get("/x"); status != c.status {
					t.Errorf("status %d %q, want %d", status, body, c.status)
				}
				list := e.stop()
				r := list[len(list)-1]
				if r.Status != c.status || !c.check(r) {
					t.Errorf("%+v", r)
				}
				if mode == "always" && (len(list) != 2 || list[0].Kind != "intent" || list[0].ID != r.ID) {
					t.Errorf("intent: %+v", list)
				}
			})
		}
	}
}

func TestPanicsAndAbortsAreRecordedAndGoOn(t *testing.T) {
	for name, c := range map[string]struct {
		f   func(w http.ResponseWriter, r *http.Request) error
		end string
	}{
		"panic": {func(http.ResponseWriter, *http.Request) error { panic("at the disco") }, "panic"},
		"abort": {func(w http.ResponseWriter, _ *http.Request) error {
			_, _ = io.WriteString(w, "half")
			panic(http.ErrAbortHandler)
		}, "aborted"},
	} {
		for _, mode := range []string{"batch", "always"} {
			t.Run(name+" "+mode, func(t *testing.T) {
				e := newEnv(t)
				e.serve(`,"sync":"`+mode+`"`, c.f)
				if status, body := e.get("/"); status != 0 {
					t.Errorf("the client got an answer: %d %q", status, body)
				}
				list := e.stop()
				if r := list[len(list)-1]; r.Kind != "outcome" || r.End != c.end {
					t.Errorf("%+v", r)
				}
			})
		}
	}
}

func TestClientThatHangsUpIsRecorded(t *testing.T) {
	e := newEnv(t)
	started, gone := make(chan struct{}), make(chan struct{})
	e.serve("", func(_ http.ResponseWriter, r *http.Request) error {
		close(started)
		<-r.Context().Done()
		defer close(gone)
		return caddyhttp.Error(499, r.Context().Err())
	})
	ctx, cancel := context.WithCancel(context.Background())
	go func() { <-started; cancel() }()
	req, _ := http.NewRequestWithContext(ctx, "GET", e.url("/"), nil)
	e.do(req)
	<-gone
	if r := one(t, e.stop()); r.End != "aborted" || r.Status != 499 {
		t.Errorf("%+v", r)
	}
}

// TestBodyMayBeReadWhileTheRecordIsMade: an upstream may answer before it has
// read the body, of which the transport then still sends the rest.
func TestBodyMayBeReadWhileTheRecordIsMade(t *testing.T) {
	e := newEnv(t)
	var reading sync.WaitGroup
	e.serve(`,"request_body":65536`, func(w http.ResponseWriter, r *http.Request) error {
		body, half := r.Body, make(chan struct{})
		reading.Go(func() {
			b := make([]byte, 1)
			for n := 0; ; n++ {
				if n == 100 {
					close(half)
				}
				if _, err := body.Read(b); err != nil {
					return
				}
			}
		})
		<-half
		_, err := io.WriteString(w, "answered")
		return err
	})
	for range 20 {
		req, err := http.NewRequest(http.MethodPost, e.url("/"), strings.NewReader(`{"a":"`+strings.Repeat("x", 5000)+`"}`))
		if err != nil {
			t.Fatal(err)
		}
		if status, body, _ := e.do(req); status != 200 {
			t.Fatalf("got %d %s", status, body)
		}
	}
	reading.Wait()
	if list := e.stop(); len(list) != 20 {
		t.Errorf("%d records", len(list))
	}
}

// secrets are the credentials that the next test sends everywhere they may
// turn up.
var secrets = []string{"Sekret1Token", "Sekret2Cookie", "Sekret3Key", "Sekret4Query", "Sekret5Proxy", "Sekret6Dpop", "Sekret7Form", "Sekret8Json", "Sekret9Set", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln", "Sekret10Lone", "Sekret11Answer"}

func TestNoCredentialIsEverRecorded(t *testing.T) {
	for _, kind := range []string{"application/json", "application/x-www-form-urlencoded", "text/plain", "application/octet-stream", ""} {
		t.Run(kind, func(t *testing.T) {
			e := newEnv(t)
			e.serve(`,"record_headers":["X-Note","Accept"],"record_query":[],"request_body":65536,"response_body":65536`, func(w http.ResponseWriter, r *http.Request) error {
				_, _ = io.Copy(io.Discard, r.Body)
				w.Header().Set("Set-Cookie", "id="+secrets[8])
				w.Header().Set("Content-Type", "application/json")
				fmt.Fprintf(w, `{"access_token":%q,"refreshToken":%q,"nested":[{"client_secret":%q}],"note":"use Bearer %s now"}`, secrets[11], secrets[9], secrets[11], secrets[0])
				return nil
			})
			var body string
			switch kind {
			case "application/x-www-form-urlencoded":
				body = "user=alice&password=" + secrets[6] + "&client_secret=" + secrets[6] + "&x=" + secrets[9]
			case "application/octet-stream":
				body = "\x00\x01" + secrets[7]
			case "text/plain":
				body = "here: Bearer " + secrets[0] + " and " + secrets[9]
			default:
				body = `{"user":"alice","password":"` + secrets[7] + `","\u0074oken":["` + secrets[7] + `"],"deep":{"api_key":"` + secrets[7] + `"},"text":"` + secrets[9] + `"}`
			}
			req, _ := http.NewRequest("POST", e.url("/reset/"+secrets[9]+"?access_token="+secrets[3]+"&%74oken="+secrets[3]+"&"+secrets[10]+"%zz=1&page=7"), strings.NewReader(body))
			req.Header.Set("Content-Type", kind)
			req.Header.Set("Authorization", "Bearer "+secrets[0])
			req.Header.Set("Proxy-Authorization", "Basic "+secrets[4])
			req.Header.Set("Cookie", "s="+secrets[1])
			req.Header.Set("X-Api-Key", secrets[2])
			req.Header.Set("DPoP", secrets[5])
			req.Header.Set("X-Note", "Bearer "+secrets[9])
			e.do(req)
			r := one(t, e.stop())
			if !strings.Contains(r.Query, "page=7") || kind == "application/json" && !strings.Contains(r.RequestBody, `"user":"alice"`) {
				t.Errorf("too much is gone: %+v", r)
			}
			grep(t, e.dir, secrets...)
		})
	}
}

// grep fails for each text that a file below dir contains.
func grep(t *testing.T, dir string, texts ...string) {
	t.Helper()
	_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range texts {
			if bytes.Contains(data, []byte(s)) {
				i := bytes.Index(data, []byte(s))
				t.Errorf("%s contains %s: …%s…", path, s, data[max(0, i-80):min(len(data), i+80)])
			}
		}
		return nil
	})
}

func TestLogInjectionIsImpossible(t *testing.T) {
	e := newEnv(t)
	nasty := "a\r\n{\"v\":1,\"kind\":\"outcome\"}\x00\x1b[2J\u0085\u2028\u202e\xff\xfe{env.HOME}"
	e.serve(`,"record_headers":["X-Note"],"record_query":[],"response_body":1024`, func(w http.ResponseWriter, r *http.Request) error {
		reqctx.Identify(r, &principal.Principal{ID: nasty, Issuer: nasty, Kind: "jwt", Roles: []string{nasty}})
		reqctx.Decisions(r).Add(decisionOf("rbac", "allow", nasty, ""))
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, nasty)
		return nil
	})
	conn, err := net.Dial("tcp", "127.0.0.1:"+e.port)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /%%0d%%0a%%00%%1b%%ff%%e2%%80%%ae?q=%%0d%%0a\xff\x80 HTTP/1.1\r\nHost: x\r\nX-Note: \xff\xfe \t{env.HOME}\r\nConnection: close\r\n\r\n")
	_, _ = io.ReadAll(conn)
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	n := 0
	_, _ = trail.Scan(context.Background(), e.dir, trail.ScanOptions{}, func(r trail.Record) error {
		n++
		for _, c := range string(r.Line) {
			if c < ' ' || c >= 0x7f && c < 0xa0 || c == 0x2028 || c == 0x202e || c == 0xfffd {
				t.Errorf("%U in %q", c, r.Line)
			}
		}
		if bytes.Contains(r.Line, []byte(e.home)) {
			t.Errorf("a placeholder was expanded: %s", r.Line)
		}
		return nil
	})
	if n != 2 { // the loaded configuration and the request
		t.Errorf("%d lines, want 2", n)
	}
}

func TestBrokenTrailRefusesAndRecoversByItself(t *testing.T) {
	for _, mode := range []string{"always", "batch"} {
		t.Run(mode, func(t *testing.T) {
			e := newEnv(t)
			served := 0
			e.serve(`,"sync":"`+mode+`","on_failure":"refuse","roll_size":65536`, func(w http.ResponseWriter, _ *http.Request) error {
				served++
				_, err := io.WriteString(w, "ok")
				return err
			})
			if status, _ := e.get("/before"); status != 200 {
				t.Fatalf("status %d", status)
			}
			// The directory goes away under the running server.
			if err := os.Rename(e.dir, e.dir+".away"); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(e.dir, []byte("in the way"), 0o600); err != nil {
				t.Fatal(err)
			}
			var status int
			var body string
			// Open files still work; the trail notices when it needs its
			// directory, which rolling makes it do.
			for i := 0; i < 2000; i++ {
				if status, body = e.get(fmt.Sprint("/", strings.Repeat("x", 1500), i)); status != 200 {
					break
				}
			}
			if status != 503 || !strings.Contains(body, `"code":"audit_unavailable"`) {
				t.Fatalf("status %d %q, want 503 audit_unavailable", status, body)
			}
			before := served
			if status, _ = e.get("/during"); status == 503 && served != before {
				t.Error("the upstream saw a request that was refused")
			}
			if err := os.Remove(e.dir); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(e.dir+".away", e.dir); err != nil {
				t.Fatal(err)
			}
			for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(20 * time.Millisecond) {
				if status, body = e.get("/after"); status == 200 {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("no recovery: %d %s", status, body)
				}
			}
			list := e.stop()
			if last := list[len(list)-1]; last.Path != "/after" || last.Status != 200 {
				t.Errorf("last record: %+v", last)
			}
		})
	}
}

func TestContinueLetsRequestsPassWhileTheTrailIsBroken(t *testing.T) {
	e := newEnv(t)
	e.serve(`,"sync":"always","on_failure":"continue","roll_size":65536`, text("ok"))
	if err := os.Rename(e.dir, e.dir+".away"); err != nil {
		t.Fatal(err)
	}
	defer os.Rename(e.dir+".away", e.dir)
	for i := range 200 {
		if status, body := e.get(fmt.Sprint("/", strings.Repeat("x", 1500), i)); status != 200 {
			t.Fatalf("request %d: %d %s", i, status, body)
		}
	}
}

func TestTwoSitesShareOneTrailAndReloadKeepsIt(t *testing.T) {
	e := newEnv(t)
	a := fmt.Sprintf(`a.test|,"path":%q,"sync":"always"`, e.dir)
	b := fmt.Sprintf(`b.test|,"path":%q`, e.dir+"/../"+filepath.Base(e.dir))
	n := 0
	served := map[string]bool{}
	get := func(host string) {
		t.Helper()
		// The kernel resets a connection that waits for a listener when
		// that is closed, as the one before a reload is: nobody has seen
		// that request, and it is sent again.
		for range 20 {
			n++
			path := fmt.Sprint("/", n)
			req, _ := http.NewRequest("GET", e.url(path), nil)
			req.Host = host
			status, body, _ := e.do(req)
			if status == 200 {
				served[path] = true
				return
			}
			if status != 0 {
				t.Fatalf("%s: %d %s", host, status, body)
			}
		}
		t.Fatalf("%s: no connection", host)
	}
	for range 3 {
		if err := e.load(text("ok"), a, b); err != nil {
			t.Fatal(err)
		}
		get("a.test")
		get("b.test")
	}
	outcomes, intents := map[string]int{}, 0
	for _, r := range e.stop() {
		switch {
		case !served[r.Path]:
		case r.Kind == "outcome":
			outcomes[r.Site]++
		default:
			intents++
		}
	}
	// Both are recorded with `sync always`, which one site wrote for the
	// trail that they share.
	if outcomes["a.test"] != 3 || outcomes["b.test"] != 3 || intents != 6 {
		t.Errorf("%v, %d intents", outcomes, intents)
	}
}

func TestSitesThatDisagreeAboutATrailAreRefused(t *testing.T) {
	e := newEnv(t)
	err := e.load(text("ok"), fmt.Sprintf(`a.test|,"path":%q,"sync":"always"`, e.dir), fmt.Sprintf(`b.test|,"path":%q,"sync":"off"`, e.dir))
	if err == nil || !strings.Contains(err.Error(), "sync is always there and off here") {
		t.Fatalf("got %v", err)
	}
	if _, err := os.Stat(e.dir); err == nil {
		t.Error("a refused configuration made a trail")
	}
}

func TestRefusedReloadKeepsTheOldOptions(t *testing.T) {
	e := newEnv(t)
	e.serve(`,"sync":"always"`, text("ok"))
	// The second listener cannot be opened, so that Start fails after the
	// trail may have taken the new options.
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	port := e.port
	_, e.port, _ = net.SplitHostPort(ln.Addr().String())
	if err := e.load(text("ok"), fmt.Sprintf(`,"path":%q,"sync":"off"`, e.dir)); err == nil {
		t.Fatal("the configuration was accepted")
	}
	e.port = port
	if status, body := e.get("/"); status != 200 || body != "ok" {
		t.Fatalf("%d %s", status, body)
	}
	list := e.stop()
	if len(list) != 2 || list[0].Kind != "intent" {
		t.Errorf("%+v", list)
	}
}

func TestReloadUnderTrafficLosesNoRecord(t *testing.T) {
	e := newEnv(t)
	options := []string{`,"sync":"always"`, `,"sync":"batch","batch":50000000`, `,"sync":"always","checkpoint":1000000000`}
	e.serve(options[0], text("ok"))
	var mu sync.Mutex
	answered := map[string]bool{}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				path := fmt.Sprintf("/%d/%d", w, i)
				req, _ := http.NewRequest("GET", e.url(path), nil)
				resp, err := http.DefaultTransport.RoundTrip(req)
				if err != nil {
					continue
				}
				_, err = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				if err == nil && resp.StatusCode == 200 {
					mu.Lock()
					answered[path] = true
					mu.Unlock()
				} else {
					t.Errorf("%s: %d %v", path, resp.StatusCode, err)
				}
			}
		}()
	}
	for i := range 6 {
		e.serve(options[i%len(options)], text("ok"))
	}
	close(stop)
	wg.Wait()
	for _, r := range e.stop() {
		if r.Kind == "outcome" {
			delete(answered, r.Path)
		}
	}
	if len(answered) > 0 {
		t.Errorf("%d answered requests have no record", len(answered))
	}
}

func TestSecondWriterIsRefusedClearly(t *testing.T) {
	e := newEnv(t)
	key, _, err := storedSigner(t)
	if err != nil {
		t.Fatal(err)
	}
	other, err := trail.Open(e.dir, trail.Options{Signer: key})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	err = e.load(text("ok"), fmt.Sprintf(`,"path":%q`, e.dir))
	if err == nil || !strings.Contains(err.Error(), "another process") {
		t.Fatalf("got %v", err)
	}
}

func TestValidatingAConfigurationTouchesNoTrail(t *testing.T) {
	e := newEnv(t)
	cfg := fmt.Sprintf(`{"admin":{"disabled":true},"apps":{"http":{"servers":{"s":{"listen":["127.0.0.1:%s"],"routes":[{"handle":[{"handler":"audit","path":%q}]}]}}}}}`, e.port, e.dir)
	var c caddy.Config
	if err := json.Unmarshal([]byte(cfg), &c); err != nil {
		t.Fatal(err)
	}
	if err := caddy.Validate(&c); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(e.dir); err == nil {
		t.Error("validating made the trail")
	}
}

func TestChangesAreRecordedOnceTheConfigurationRuns(t *testing.T) {
	e := newEnv(t)
	e.serve("", text("ok"))
	e.serve(`,"keep":20000000000000000`, text("ok"))
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	var changes []record.Record
	_, _ = trail.Scan(context.Background(), e.dir, trail.ScanOptions{}, func(r trail.Record) error {
		var rec record.Record
		if err := record.Decode(r.Line, &rec); err != nil {
			return err
		}
		changes = append(changes, rec)
		return nil
	})
	if len(changes) != 2 || changes[1].Layer != "audit" || changes[1].Old != changes[0].New || changes[1].New == changes[1].Old || changes[0].By == "" {
		t.Errorf("%+v", changes)
	}
}

// The other half of "no record, no response": the application has answered, and
// then the disk fails.
func TestAnswerThatCannotBeRecordedDoesNotLeave(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(w http.ResponseWriter)
		status int
	}{
		"nothing": {func(w http.ResponseWriter) { w.Header().Set("Set-Cookie", "secret") }, 503},
		"small": {func(w http.ResponseWriter) {
			w.Header().Set("Set-Cookie", "secret")
			_, _ = io.WriteString(w, "secret")
		}, 503},
		"no content": {func(w http.ResponseWriter) { w.Header().Set("Set-Cookie", "secret"); w.WriteHeader(204) }, 503},
		"with length": {func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "6")
			_, _ = io.WriteString(w, "secret")
			w.(http.Flusher).Flush()
		}, 503},
		"large": {func(w http.ResponseWriter) { _, _ = w.Write(make([]byte, 5*holdSize)) }, 0},
		"large with length": {func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", fmt.Sprint(5*holdSize))
			_, _ = w.Write(make([]byte, 5*holdSize))
		}, 0},
		"streamed": {func(w http.ResponseWriter) { _, _ = io.WriteString(w, "data: 1\n\n"); w.(http.Flusher).Flush() }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			h := handlerOn(t, trail.Always)
			inner := caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
				_ = h.trail.trail.Load().Close() // from here on nothing can be recorded
				c.answer(w)
				return nil
			})
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, new(caddyhttp.Server))
				if err := h.ServeHTTP(w, r, inner); err != nil {
					t.Errorf("error %v", err)
				}
			}))
			defer srv.Close()
			req, _ := http.NewRequest("GET", srv.URL, nil)
			status, body, header := (&env{t: t}).do(req)
			if status != c.status || strings.Contains(body, "secret") || len(header["Set-Cookie"]) > 0 {
				t.Errorf("status %d, want %d: %.200q %v", status, c.status, body, header)
			}
			if status == 503 && !strings.Contains(body, "audit_unavailable") {
				t.Errorf("%s", body)
			}
		})
	}
}

func TestSigningKeyIsKeptAcrossRestartsAndMoves(t *testing.T) {
	e := newEnv(t)
	for i := range 3 {
		e.serve("", text("ok"))
		if status, _ := e.get("/"); status != 200 {
			t.Fatalf("status %d", status)
		}
		if err := caddy.Stop(); err != nil {
			t.Fatal(err)
		}
		moved := fmt.Sprint(e.dir, i)
		if err := os.Rename(e.dir, moved); err != nil {
			t.Fatal(err)
		}
		e.dir = moved
	}
	keys, err := os.ReadFile(filepath.Join(e.dir, "keys"))
	if err != nil || bytes.Count(keys, []byte("\n")) != 1 {
		t.Errorf("keys %q, %v", keys, err)
	}
	if n := len(e.read(e.dir)); n != 3 {
		t.Errorf("%d records", n)
	}
}

func TestGarbledKeysAreRefused(t *testing.T) {
	good, _, err := makeKey("n")
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"empty": nil, "text": []byte("hello"), "two": append(bytes.Clone(good), good...), "certificate": bytes.ReplaceAll(good, []byte("PRIVATE KEY"), []byte("CERTIFICATE")),
		"cut off": good[:len(good)/2], "trailing": append(bytes.Clone(good), "x"...),
	} {
		if _, _, err := parseKey(data); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	if name, _, err := parseKey(good); err != nil || name != "n" {
		t.Errorf("%q %v", name, err)
	}
}
