package condition

import (
	"encoding/json"
	"errors"
	"net/http"
	"testing"
)

// TestParametersThatOthersReadDifferentlyHaveNoResult: neither rules that
// allow nor rules that deny may be decided on what the application does not
// see, or on the absence of what it does see.
func TestParametersThatOthersReadDifferentlyHaveNoResult(t *testing.T) {
	for _, raw := range []string{
		"tenant[]=b", "tenant[0]=b", "tenant[x]=b", "Tenant=b", "+tenant=b", "tenant%20=b", "[tenant]=b", "tenant%00=b", "tenant.x=b",
		"tenant=a&tenant[]=b", "tenant=a&TENANT=b", "tenant=a&tenant=a", "tenant=a&tenant[x]=b", "tenant=a;tenant=b", "tenant=a&tenant%5B%5D=b",
	} {
		for _, text := range []string{
			`query.tenant == "a"`, `query.tenant != "b"`, `!(query.tenant == "b")`, `query["tenant"] == "a"`,
			`has(query.tenant)`, `!has(query.tenant)`, `"tenant" in query`, `!("tenant" in query)`,
			`query.?tenant.orValue("a") == "a"`, `query[?"tenant"].orValue("b") != "b"`, `has(query.tenant) ? query.tenant == "a" : true`,
			`query.tenant in ["a"]`, `!(query.tenant in ["b"])`, `["tenant"].exists(k, k in query)`, `["tenant"].all(k, query[k] != "b")`,
		} {
			env := testEnv()
			env.RawQuery = raw
			if got, err := eval(t, env, text); got || !errors.Is(err, ErrSent) {
				t.Errorf("%s with ?%s: got %v, %v; want %v", text, raw, got, err, ErrSent)
			}
		}
	}
	env := testEnv()
	env.RawQuery = "tenant=a&filter[name]=x&filter[status]=open&_=1"
	for _, text := range []string{`query.tenant == "a"`, `has(query.tenant)`, `"tenant" in query`, `query["filter[status]"] == "open"`, `!has(query.other)`, `query.?other.orValue("z") == "z"`} {
		if got, err := eval(t, env, text); !got || err != nil {
			t.Errorf("%s: got %v, %v", text, got, err)
		}
	}
}

func TestNamesOfFieldsHaveNoCase(t *testing.T) {
	env := testEnv()
	env.Header = http.Header{"X-Admin": {"1"}}
	for _, text := range []string{`headers["X-Admin"] == "1"`, `"X-ADMIN" in headers`, `has(headers.Host)`} {
		env.Host = "a"
		if got, err := eval(t, env, text); !got || err != nil {
			t.Errorf("%s: got %v, %v", text, got, err)
		}
	}
}

// parsed is a body that has been decoded.
type parsed struct{ v any }

func (p parsed) JSON() (any, error) { return p.v, nil }

func TestMembersThatOthersReadDifferentlyHaveNoResult(t *testing.T) {
	for _, text := range []string{`{"Admin":true}`, `{"ADMIN":true}`, `{"a":1,"aDmin":false}`, `{"admin":false,"ad_min":true}`, "{\"adm\u0131n\":1,\"ad_min\":true}"} {
		var v any
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			t.Fatal(err)
		}
		for _, cond := range []string{`has(body.admin)`, `!has(body.admin)`, `"admin" in body`, `!("admin" in body)`, `body.?admin.orValue(false) == false`, `body.admin != true`, `[body].all(b, !has(b.admin))`} {
			env := testEnv()
			env.Body = parsed{v}
			if got, err := eval(t, env, cond); got || !errors.Is(err, ErrSent) {
				t.Errorf("%s with %s: got %v, %v; want %v", cond, text, got, err, ErrSent)
			}
		}
	}
	env := testEnv()
	env.Body = parsed{map[string]any{"admin": false, "order": map[string]any{"lines": []any{map[string]any{"n": int64(2)}}}}}
	for _, cond := range []string{`!body.admin`, `has(body.order.lines)`, `body.order.lines[0].n == 2`, `body.order.lines.all(l, l.n < 3)`, `!has(body.order.total)`, `size(body) == 2`} {
		if got, err := eval(t, env, cond); !got || err != nil {
			t.Errorf("%s: got %v, %v", cond, got, err)
		}
	}
}
