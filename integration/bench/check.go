package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// resource is the path that is asked for, over and over.
const resource = "/orders/42"

// checker finds out whether a contestant does what it is there for. A layer
// that lets everything pass would win every comparison.
type checker struct {
	*contestant
	server *server
	up     *upstream // nil if the contestant is local
	signer *signer   // nil without tokens
	client *http.Client
}

// check returns the first thing that is wrong with a contestant.
func check(ctx context.Context, c *contestant, s *server, up *upstream, sign *signer) error {
	tr := &http.Transport{DisableCompression: true}
	defer tr.CloseIdleConnections()
	k := &checker{c, s, up, sign, &http.Client{Transport: tr, Timeout: patience}}
	steps := []struct {
		wanted bool
		f      func(context.Context) error
	}{
		{true, k.answers},
		{c.expect.token, k.refusesTokens},
		{c.expect.role, k.refusesRole},
		{c.expect.paths, k.refusesPaths},
		{c.expect.limits, k.limits},
		{c.expect.posts, k.refusesGets},
		{c.expect.calls, k.refusesCalls},
		{c.expect.redacts && !c.local, k.streams},
		{c.expect.records, k.records},
	}
	for _, step := range steps {
		if !step.wanted {
			continue
		}
		if err := step.f(ctx); err != nil {
			return err
		}
	}
	return nil
}

// get asks for a path with a token, if any.
func (k *checker) get(ctx context.Context, path, token string) (status int, body []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+k.server.site+path, nil)
	if err != nil {
		return 0, nil, err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := k.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(resp.Body)
	return resp.StatusCode, body, err
}

// post calls a tool of an MCP server.
func (k *checker) post(ctx context.Context, tool string, call []byte) (status int, body []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+k.server.site+mcpPath, bytes.NewReader(call))
	if err != nil {
		return 0, nil, err
	}
	for _, line := range mcpFields(tool) {
		name, value, _ := strings.Cut(line, ": ")
		req.Header.Set(name, value)
	}
	resp, err := k.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(resp.Body)
	return resp.StatusCode, body, err
}

// refusesGets holds that rbac decides about the endpoint of the MCP server.
func (k *checker) refusesGets(ctx context.Context) error {
	return k.refused(ctx, "a GET that no rule allows", mcpPath, "", http.StatusUnauthorized, http.StatusForbidden)
}

// refusesCalls holds that a tool which no rule allows is not called.
func (k *checker) refusesCalls(ctx context.Context) error {
	_, body, err := k.post(ctx, "drop", bytes.ReplaceAll(k.call, []byte(`"search"`), []byte(`"drop"`)))
	if err != nil {
		return fmt.Errorf("a tool that no rule allows: %w", err)
	}
	if !bytes.Contains(body, []byte(`"code":-32602`)) {
		return fmt.Errorf("a tool that no rule allows is called: %.200s", body)
	}
	return nil
}

// good is a token that is accepted, "" for contestants without tokens.
func (k *checker) good() (string, error) {
	if k.signer == nil {
		return "", nil
	}
	return k.signer.mint(claims(-1, "clerk"))
}

// answers holds that a good request has the right answer.
func (k *checker) answers(ctx context.Context) error {
	token, err := k.good()
	if err != nil {
		return err
	}
	status, body, err := k.get(ctx, resource, token)
	if k.call != nil {
		status, body, err = k.post(ctx, "search", k.call)
	}
	if err != nil {
		return fmt.Errorf("good request: %w", err)
	}
	if status != http.StatusOK {
		return fmt.Errorf("good request: status %d: %.200s", status, body)
	}
	if !k.expect.redacts {
		if !bytes.Equal(body, k.body) {
			return fmt.Errorf("good request: the body is not the upstream's: %.200s", body)
		}
		return nil
	}
	return redacted(k.body, body)
}

// refused holds that a request has a status and never reaches the upstream.
func (k *checker) refused(ctx context.Context, what, path, token string, want ...int) error {
	var before int64
	if k.up != nil {
		before = k.up.requests.Load()
	}
	status, body, err := k.get(ctx, path, token)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	for _, w := range want {
		if status == w {
			if k.up != nil && k.up.requests.Load() != before {
				return fmt.Errorf("%s: refused with %d, but the upstream saw the request", what, status)
			}
			return nil
		}
	}
	return fmt.Errorf("%s: status %d, want %v: %.200s", what, status, want, body)
}

func (k *checker) refusesTokens(ctx context.Context) error {
	if err := k.refused(ctx, "no token", resource, "", http.StatusUnauthorized); err != nil {
		return err
	}
	bad, err := k.badTokens()
	if err != nil {
		return err
	}
	for what, token := range bad {
		if err := k.refused(ctx, what, resource, token, http.StatusUnauthorized); err != nil {
			return err
		}
	}
	return nil
}

// badTokens are tokens that nobody may accept.
func (k *checker) badTokens() (map[string]string, error) {
	good, err := k.good()
	if err != nil {
		return nil, err
	}
	manager, err := k.signer.mint(claims(-1, "manager"))
	if err != nil {
		return nil, err
	}
	stranger, err := newSigner(k.signer.alg)
	if err != nil {
		return nil, err
	}
	part, other := strings.Split(good, "."), strings.Split(manager, ".")
	bad := map[string]string{
		"token with the signature of another": part[0] + "." + other[1] + "." + part[2],
		"token without its signature":         part[0] + "." + part[1] + ".",
	}
	change := func(name string, value any) jwt.MapClaims {
		c := maps.Clone(claims(-1, "clerk"))
		c[name] = value
		return c
	}
	signed := []struct {
		what   string
		by     *signer
		claims jwt.MapClaims
	}{
		{"token of a stranger's key", stranger, claims(-1, "clerk")},
		{"expired token", k.signer, change("exp", time.Now().Add(-time.Hour).Unix())},
		{"token for another audience", k.signer, change("aud", "billing-api")},
		{"token of another issuer", k.signer, change("iss", "https://evil.example.com")},
	}
	for _, s := range signed {
		if bad[s.what], err = s.by.mint(s.claims); err != nil {
			return nil, err
		}
	}
	return bad, nil
}

func (k *checker) refusesRole(ctx context.Context) error {
	token, err := k.signer.mint(claims(-1, "guest"))
	if err != nil {
		return err
	}
	want := []int{http.StatusForbidden}
	if !k.expect.paths {
		// jwt_auth alone: the token lacks a claim it must have.
		want = append(want, http.StatusUnauthorized)
	}
	return k.refused(ctx, "token of the wrong role", resource, token, want...)
}

func (k *checker) refusesPaths(ctx context.Context) error {
	token, err := k.good()
	if err != nil {
		return err
	}
	want := http.StatusUnauthorized
	if token != "" {
		want = http.StatusForbidden
	}
	return k.refused(ctx, "path that no rule allows", "/payroll/42", token, want)
}

func (k *checker) limits(ctx context.Context) error {
	token, err := k.good()
	if err != nil {
		return err
	}
	if _, _, err := k.get(ctx, "/limited", token); err != nil {
		return err
	}
	return k.refused(ctx, "second request to a limited path", "/limited", token, http.StatusTooManyRequests)
}

// streams holds that the beginning of a body comes before its end was sent.
func (k *checker) streams(ctx context.Context) error {
	token, err := k.good()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience/4)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+k.server.site+dripPath, nil)
	if err != nil {
		return err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := k.client.Do(req)
	if err != nil {
		return fmt.Errorf("long body: %w", err)
	}
	defer resp.Body.Close()
	first := make([]byte, 1)
	if _, err := io.ReadFull(resp.Body, first); err != nil {
		return fmt.Errorf("long body: its first byte does not come before its last was sent: %w", err)
	}
	return nil
}

// records holds that a refused and an accepted request are found in the
// trail, and that the token is not.
func (k *checker) records(ctx context.Context) error {
	token, err := k.good()
	if err != nil {
		return err
	}
	trail := filepath.Join(k.server.dir, "trail")
	size := func() int {
		all, _ := readAll(trail)
		return len(all)
	}
	before := size()
	marks := []string{"/orders/mark-good", "/orders/mark-bad"}
	if _, _, err := k.get(ctx, marks[0], token); err != nil {
		return err
	}
	if _, _, err := k.get(ctx, marks[1], ""); err != nil {
		return err
	}
	var missing error
	for deadline := time.Now().Add(patience / 6); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		all, err := readAll(trail)
		missing = err
		for _, m := range marks {
			if !bytes.Contains(all, []byte(m)) {
				missing = errors.Join(missing, fmt.Errorf("no record of %s in the audit trail", m))
			}
		}
		if missing == nil {
			if token != "" && bytes.Contains(all, []byte(token)) {
				return errors.New("the audit trail contains the token")
			}
			if len(all) <= before {
				return errors.New("the audit trail does not grow")
			}
			return nil
		}
	}
	return missing
}

// readAll returns what all files below a directory contain, one after another.
func readAll(dir string) ([]byte, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	var all []byte
	err = fs.WalkDir(root.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		body, err := root.ReadFile(path)
		all = append(all, body...)
		return err
	})
	return all, err
}

// redacted holds that what came is what was sent, but for the members that
// the redact layer names.
func redacted(sent, came []byte) error {
	if bytes.Contains(came, []byte("hunter")) || bytes.Contains(came, []byte("score")) {
		return fmt.Errorf("a removed member is in the answer: %.400s", came)
	}
	want, err := decode(sent)
	if err != nil {
		return err
	}
	got, err := decode(came)
	if err != nil {
		return fmt.Errorf("the redacted answer is not JSON: %w", err)
	}
	var hidden [2][]string
	remove(want)
	mask(want, &hidden[0])
	mask(got, &hidden[1])
	if !reflect.DeepEqual(want, got) {
		return fmt.Errorf("redact changed more than it was told to: %.400s", came)
	}
	if len(hidden[0]) != len(hidden[1]) {
		return fmt.Errorf("%d masked members were sent, %d came", len(hidden[0]), len(hidden[1]))
	}
	for i, v := range hidden[0] {
		if hidden[1][i] == v {
			return errors.New("a member that should be masked is in the answer")
		}
	}
	return nil
}

func decode(body []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	return v, nil
}

// remove takes out of a document what the redact layer removes.
func remove(v any) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			remove(e)
		}
	case map[string]any:
		delete(v, "password")
		delete(v, "internal")
		for _, e := range v {
			remove(e)
		}
	}
}

// mask takes out of a document what the redact layer masks and collects it,
// in an order that depends on the document alone, since no object has two
// members with such members below them.
func mask(v any, masked *[]string) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			mask(e, masked)
		}
	case map[string]any:
		for _, name := range []string{"id_card", "phone"} {
			if value, ok := v[name]; ok {
				*masked = append(*masked, fmt.Sprint(value))
				delete(v, name)
			}
		}
		for _, e := range v {
			mask(e, masked)
		}
	}
}
