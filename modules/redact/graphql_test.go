package redact

import (
	"encoding/json"
	"net/http"
	"net/url"
	"testing"
)

func TestGraphQLNamesAreRefused(t *testing.T) {
	next, got := echoes(t)
	h := provision(t, "remove password\nmask mobile $..user.phone\nonly role guest {\n remove email\n}\nrequests {\n remove is_admin\n}\ngraphql_names block")
	s := serve(t, h, next)
	get := func(q string) func(*http.Request) {
		return func(r *http.Request) { r.URL.RawQuery = url.Values{"query": {q}}.Encode() }
	}
	js := func(q string) string { return `{"operationName":"Q","query":` + string(mustJSON(q)) + `}` }
	for _, bad := range []string{`{user{p:phone}}`, `{u:user{phone}}`, "query Q{user{x ,: #\n password}}", `mutation{update(is_admin:true){id}}`} {
		for name, ask := range map[string]func(*http.Request){
			"GET": get(bad), "POST": post("application/json", js(bad)), "batch": post("application/json", "["+js("{a}")+","+js(bad)+"]"),
			"twice": post("application/json", `{"query":`+string(mustJSON(bad))+`,"query":"{a}"}`), "as text": post("text/plain", js(bad)),
			"raw": post("application/graphql", bad), "form": post(urlencoded, url.Values{"query": {bad}}.Encode()),
			"gzip": post("application/json", gz(js(bad)), with("Content-Encoding", "gzip")),
			"both": func(r *http.Request) { get(bad)(r); post("application/json", js("{a}"))(r) },
		} {
			t.Run(name+bad, func(t *testing.T) { s.get(ask).refused(t, 400, "graphql_name") })
		}
	}
	s.get(post("application/json", js("{u:email}"))).refused(t, 400, "graphql_name")
	s.get(post("application/json", js("{user{"))).refused(t, 400, "invalid_request_body")
	s.get(post("multipart/form-data; boundary=b", "--b--")).refused(t, 415, "unsupported_request_body")
	s.get(func(r *http.Request) { r.URL.RawQuery = "a=1;query={u:user}" }).refused(t, 400, "invalid_request_body")

	for _, good := range []string{`{user{phone password}}`, `query Q($a:Boolean){update(a:$a){n:name}}`, `{a(t:"p:phone"){b}}`} {
		if e := sent(t, s, got, "application/json", js(good)); e != js(good) {
			t.Errorf("the upstream got %s", e)
		}
	}
	if e := sent(t, s, got, "application/json", js("{u:email}"), as("a:clerk")); e != js("{u:email}") {
		t.Errorf("the upstream got %s", e)
	}
	if e := sent(t, s, got, "application/json", `{"query":"{a}","variables":{"Is_Admin":true}}`); e != `{"query":"{a}","variables":{}}` {
		t.Errorf("the upstream got %s", e)
	}
	if e := sent(t, serve(t, provision(t, "remove password"), next), got, "application/json", js("{p:password}")); e != js("{p:password}") {
		t.Errorf("without the option the upstream got %s", e)
	}
}

func mustJSON(s string) []byte {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return b
}
