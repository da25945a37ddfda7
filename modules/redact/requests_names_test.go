package redact

import (
	"strings"
	"testing"
)

// The client spells the names in a request. Go's encoding/json and .NET read
// them whatever their case.
func TestNamesInRequestsMatchWhateverTheirCase(t *testing.T) {
	next, got := echoes(t)
	s := serve(t, provision(t, "requests {\n remove is_admin $.user.role\n except role admin {\n null $..owner\n }\n only role guest {\n remove beta\n }\n}"), next)
	for in, want := range map[string]string{
		`{"is_admin":1}`:                            `{}`,
		`{"IS_ADMIN":1,"a":2}`:                      `{"a":2}`,
		"{\"i\u017f_admin\":1}":                     `{}`,
		`{"i\u017F_admin":1}`:                       `{}`,
		`{"a":[{"Is_Admin":true}]}`:                 `{"a":[{}]}`,
		`{"User":{"ROLE":"root"},"ROLE":1}`:         `{"User":{},"ROLE":1}`,
		`{"OWNER":{"a":1},"Beta":1}`:                `{"OWNER":null}`,
		`{"is_admin":1,"Is_Admin":2,"IS_admin":3 }`: `{ }`,
		`{"isAdmin":1,"is-admin":2,"IsAdmin":3}`:    `{}`,
	} {
		s.get(post("application/json", in)).is(t, 200, "{}")
		if e := <-got; e.body != want {
			t.Errorf("%s: the upstream got %s, want %s", in, e.body, want)
		}
		lines := strings.Repeat(in+"\n", 2)
		s.get(post("application/x-ndjson", lines)).is(t, 200, "{}")
		if e := <-got; e.body != strings.Repeat(want+"\n", 2) {
			t.Errorf("%s: the upstream got %s", lines, e.body)
		}
	}
	s.get(post("application/json", `{"Owner":1,"BETA":1}`, as("a:admin"))).is(t, 200, "{}")
	if e := <-got; e.body != `{"Owner":1,"BETA":1}` {
		t.Errorf("admin: the upstream got %s", e.body)
	}
	s.get(post("application/json", `{"Owner":1,"BETA":1}`, as("a:guest"))).is(t, 200, "{}")
	if e := <-got; e.body != `{"Owner":null}` {
		t.Errorf("guest: the upstream got %s", e.body)
	}
}

func TestNamesInRequestsMatchAsSpelledIfAsked(t *testing.T) {
	next, got := echoes(t)
	s := serve(t, provision(t, "requests {\n remove is_admin\n match_case\n}"), next)
	s.get(post("application/json", `{"Is_Admin":1,"is_admin":2}`)).is(t, 200, "{}")
	if e := <-got; e.body != `{"Is_Admin":1}` {
		t.Errorf("the upstream got %s", e.body)
	}
}

// What the upstream spells is as the administrator wrote it.
func TestNamesInAnswersMatchAsSpelled(t *testing.T) {
	h := provision(t, "remove ssn")
	serve(t, h, answers(200, "application/json", `{"SSN":1,"ssn":2}`)).get().is(t, 200, `{"SSN":1}`)
}
