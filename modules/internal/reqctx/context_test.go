package reqctx

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/decision"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
)

func prepared() *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
	return caddyhttp.PrepareRequest(r, caddy.NewReplacer(), httptest.NewRecorder(), nil)
}

func TestAllThatLayersShareStandsInOneVariable(t *testing.T) {
	r := prepared()
	before := len(Vars(r))
	var room Context
	if Find(r) != nil || Use(r, &room) != &room || Of(r) != &room || Use(r, new(Context)) != &room || Find(r) != &room {
		t.Fatal("there is not one context")
	}
	Identify(r, &principal.Principal{ID: "alice"})
	Decisions(r).Add(decision.Decision{Layer: "rbac", Code: "forbidden"})
	c := Of(r)
	c.SetChallenges([]string{"Bearer"})
	c.Forward(r, "X-User", []string{"alice"})
	for i := range 5 {
		c.Keep(i, fmt.Sprint("v", i))
	}
	c.Keep(2, "changed")
	if n := len(Vars(r)); n != before+1 {
		t.Errorf("%d variables", n-before)
	}
	if Principal(r).ID != "alice" || Decisions(r).Code() != "forbidden" || len(c.Challenges()) != 1 || !c.Forwarded("X-User") ||
		c.Kept(4) != "v4" || c.Kept(2) != "changed" || c.Kept("2") != nil {
		t.Errorf("got %+v", c)
	}
	if c.DropForwarded("X-User"); c.Forwarded("X-User") {
		t.Error("a field that was removed is still forwarded")
	}
	if text, _ := Replacer(r).GetString("http.vars." + Var); text != "" {
		t.Errorf("the placeholder of the variable shows %q", text)
	}
}

func TestRequestThatCaddyDoesNotServeHasNoContext(t *testing.T) {
	r := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
	Identify(r, &principal.Principal{ID: "alice"})
	Decisions(r).SetCode("x")
	if Find(r) != nil || Principal(r) != nil || Decisions(r).Code() != "" {
		t.Error("something was kept, nobody knows where")
	}
}

func TestRemovedFieldsAreOfTheirPass(t *testing.T) {
	c := new(Context)
	c.KeepRemoved(http.Header{"A": {"1"}, "B": {"2"}, "C": {"3"}}, []string{"A", "B"})
	c.KeepRemoved(http.Header{"A": {"4"}}, []string{"A", "B"})
	for name, want := range map[string]string{"A": "[4] true", "B": "[2] false", "C": "[] false"} {
		if values, latest := c.Removed(name); fmt.Sprint(values, latest) != want {
			t.Errorf("%s: got %v %t, want %s", name, values, latest, want)
		}
	}
}

func TestContentIsReadOnceAndLeftWhole(t *testing.T) {
	const text = "0123456789"
	broken := errors.New("broken")
	for name, tc := range map[string]struct {
		length int64
		max    int64
		fault  error // after the text
		got    string
		want   error
	}{
		"fits":                    {10, 10, nil, text, nil},
		"fits, length unknown":    {-1, 10, nil, text, nil},
		"too large":               {10, 9, nil, "", ErrTooLarge},
		"too large, unknown":      {-1, 9, nil, "", ErrTooLarge},
		"cut":                     {20, 30, broken, "", broken},
		"too large and then cut":  {-1, 5, broken, "", ErrTooLarge},
		"over request_body":       {-1, 30, &http.MaxBytesError{Limit: 10}, "", &http.MaxBytesError{}},
		"nothing, whatever is in": {0, 10, nil, "", nil},
	} {
		var body io.Reader = strings.NewReader(text)
		if tc.fault != nil {
			body = io.MultiReader(body, iotest.ErrReader(tc.fault))
		}
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		r.Body, r.ContentLength = io.NopCloser(iotest.OneByteReader(body)), tc.length
		for again := range 2 { // for a second layer, the same
			got, err := ReadContent(r, tc.max)
			same := errors.Is(err, tc.want)
			if m := new(http.MaxBytesError); errors.As(tc.want, &m) {
				same = Limited(err)
			}
			if string(got) != tc.got || !same {
				t.Errorf("%s, %d: got %q, %v", name, again, got, err)
			}
		}
		if got, err := ReadContent(r, 9); tc.got != "" && (got != nil || !errors.Is(err, ErrTooLarge)) {
			t.Errorf("%s: with a lower limit: %q, %v", name, got, err)
		}
		all, err := io.ReadAll(r.Body)
		if string(all) != text || !errors.Is(err, tc.fault) {
			t.Errorf("%s: the upstream reads %q, %v", name, all, err)
		}
	}
}
