package jwtauth

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/issuer"
	"github.com/caddy-moat/caddy-moat/modules/internal/lifecycle"
	"github.com/caddy-moat/caddy-moat/modules/internal/ownissuer"
)

// recorder is an audit trail.
type recorder struct {
	mu   sync.Mutex
	list []lifecycle.Change
}

func (r *recorder) record(c lifecycle.Change) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, c)
}

func (r *recorder) find(what, detail string) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.list {
		if c.Layer == Name && c.What == what && c.Detail == detail {
			n++
		}
	}
	return n
}

func (r *recorder) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return fmt.Sprintf("%+v", r.list)
}

// listen has the changes of p's configuration recorded.
func listen(t *testing.T, p *Provider) *recorder {
	t.Helper()
	r := new(recorder)
	ownissuer.Enlist(p, r.record)
	audited.Store(r)
	t.Cleanup(func() { ownissuer.Drop(p); audited.Store(nil) })
	return r
}

// audited is the trail of the configurations of tests.
var audited atomic.Pointer[recorder]

// auditApp stands for the app that keeps trails.
type auditApp struct{}

func init() { caddy.RegisterModule(auditApp{}) }

func (auditApp) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: lifecycle.AuditApp, New: func() caddy.Module { return new(auditApp) }}
}
func (auditApp) Start() error { return nil }
func (auditApp) Stop() error  { return nil }

func (auditApp) RecordChange(c lifecycle.Change) {
	if r := audited.Load(); r != nil {
		r.record(c)
	}
}

func TestTrailsAreToldWhichKeysCameAndLeft(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys.json")
	write := func(kids ...string) {
		t.Helper()
		var keys []string
		for _, kid := range kids {
			keys = append(keys, fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","kid":%q,"x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`, kid))
		}
		doc := `{"keys":[` + strings.Join(keys, ",") + `]}`
		if err := os.WriteFile(file+".new", []byte(doc), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	write("one")
	p := provider(t, "issuer https://id.example.com {\naudience *\njwks "+file+"\n}")
	trail := listen(t, p)
	told := func(what, detail string) {
		t.Helper()
		until(t, what+" "+detail, func() bool { return trail.find(what, detail) == 1 })
	}
	write("one", "two")
	told(ownissuer.WhatKeySet, "came: two")
	write("two", "a, left: b", strings.Repeat("x", 101))
	told(ownissuer.WhatKeySet, "came: \"a, left: b\", "+strings.Repeat("x", 100)+"…\nleft: one")
	var many []string
	for i := range 60 {
		many = append(many, fmt.Sprintf("k%02d", i))
	}
	write(many...)
	until(t, "a bounded record", func() bool { return strings.Contains(trail.String(), "k49 and 10 more\nleft: two") })
	if strings.Contains(trail.String(), "11qYAYKx") {
		t.Error("a record holds a key")
	}
}

func TestTrailsAreToldOfANewKeyOfTheInternalIssuer(t *testing.T) {
	trail := listen(t, nil)
	start := time.Now()
	var mu sync.Mutex
	now := start
	storage := testContext(t).Storage()
	i, err := issuer.Open(t.Context(), storage, issuer.Options{
		Now:     func() time.Time { mu.Lock(); defer mu.Unlock(); return now },
		Changed: ownissuer.KeysChanged(ownissuer.WhatIssuerKeys, issuer.StorageKey(issuer.DefaultName), issuer.DefaultName),
	})
	if err != nil {
		t.Fatal(err)
	}
	first := i.KeyIDs()[0]
	if trail.find(ownissuer.WhatIssuerKeys, "issuer: "+issuer.DefaultName+"\ncame: "+first) != 1 {
		t.Errorf("the first key: got %s", trail)
	}
	mu.Lock()
	now = start.Add(issuer.DefaultRotate)
	mu.Unlock()
	if err := i.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if ids := i.KeyIDs(); len(ids) != 2 || trail.find(ownissuer.WhatIssuerKeys, "issuer: "+issuer.DefaultName+"\ncame: "+ids[1]) != 1 {
		t.Errorf("the second key: got %s", trail)
	}
}

func TestTrailsAreToldOfRevocationsOnce(t *testing.T) {
	file := filepath.Join(t.TempDir(), "revoked")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("{\"jti\":\"old\"}\n")
	t.Setenv("MOAT_SECRET", secret)
	ctx := testContext(t)
	var last *Provider
	for range 2 { // two sites with the same file
		p, err := load(t, ctx, shared+"revocations "+file)
		if err != nil {
			t.Fatal(err)
		}
		last = p
	}
	trail := listen(t, last)
	write("{\"jti\":\"a\"}\n{\"jti\":\"b\"}\n{\"sub\":\"bob\",\"issued_before\":\"2026-11-22T10:00:00Z\"}\n")
	until(t, "the change of the file", func() bool {
		return trail.find(ownissuer.WhatRevocations, "added: 2 by jti, 1 by sub, 0 by kid\nremoved: 1 by jti, 0 by sub, 0 by kid") == 1
	})
	if code, body := admin(t, "POST", "/moat/revocations", `{"kid":"k"}`); code != 200 {
		t.Fatalf("got %d %s", code, body)
	}
	if code, body := admin(t, "DELETE", "/moat/revocations", `{"kid":"k"}`); code != 200 {
		t.Fatalf("got %d %s", code, body)
	}
	if code, body := admin(t, "DELETE", "/moat/revocations", `{"kid":"k"}`); code != 200 {
		t.Fatalf("got %d %s", code, body)
	}
	if code, _ := admin(t, "POST", "/moat/revocations", `{"kid":1}`); code == 200 {
		t.Fatal("garbage is accepted")
	}
	if trail.find(ownissuer.WhatRevocations, "added: 0 by jti, 0 by sub, 1 by kid") != 1 ||
		trail.find(ownissuer.WhatRevocations, "removed: 1 of 0 by jti, 0 by sub, 1 by kid") != 1 ||
		strings.Count(trail.String(), "What:") != 3 || strings.Count(trail.String(), "By:192.0.2.1:1234") != 2 {
		t.Errorf("got %s", trail)
	}
}
