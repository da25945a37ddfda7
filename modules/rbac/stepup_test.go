package rbac

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

const sensitive = `rbac {
	authenticated {
		allow DELETE /orders/{id} when ` + "`acr(\"2 3\", \"5m\")`" + `
		allow PUT /orders/{id}
		allow GET /orders/* when ` + "`max_age(\"12h\")`" + `
		deny PUT /orders/{id} when ` + "`!acr(\"2\")`" + `
	}
	scope pay {
		allow POST /pay when ` + "`acr(\"2\")`" + `
	}
}`

// loggedIn is a caller with an acr, if it is not empty, who logged in so long ago.
func loggedIn(kind, acr string, age time.Duration, scopes ...string) *principal.Principal {
	claims := fmt.Sprintf(`{"sub":"bob","auth_time":%d`, time.Now().Add(-age).Unix())
	if acr != "" {
		claims += `,"acr":"` + acr + `"`
	}
	return &principal.Principal{ID: "bob", Kind: kind, Claims: principal.NewClaims([]byte(claims + "}")), Scopes: scopes}
}

func TestStepUpIsChallenged(t *testing.T) {
	h := provision(t, sensitive)
	const step = `Bearer error="insufficient_user_authentication", error_description="Another authentication of the user is required", `
	const jwt = principal.KindJWT
	for _, tc := range []struct {
		method, path string
		p            *principal.Principal
		status       int
		want         string
	}{
		{"DELETE", "/orders/1", loggedIn(jwt, "2", time.Minute), 200, ""},
		{"DELETE", "/orders/1", loggedIn(jwt, "2", time.Hour), 401, step + `max_age="300"`},
		{"DELETE", "/orders/1", loggedIn(jwt, "1", time.Minute), 401, step + `acr_values="2 3"`},
		{"DELETE", "/orders/1", loggedIn(principal.KindOpaque, "1", time.Hour), 401, step + `acr_values="2 3", max_age="300"`},
		{"DELETE", "/orders/1", loggedIn(jwt, "", -time.Hour), 401, step + `acr_values="2 3", max_age="300"`},
		{"DELETE", "/orders/1", loggedIn(jwt, "2", -time.Hour), 401, step + `max_age="300"`},
		{"PUT", "/orders/1", loggedIn(jwt, "2", time.Hour), 200, ""},
		{"PUT", "/orders/1", loggedIn(jwt, "", 0), 401, step + `acr_values="2"`},
		{"GET", "/orders/1", loggedIn(jwt, "", 13*time.Hour), 401, step + `max_age="43200"`},
		{"POST", "/pay", loggedIn(jwt, "", 0, "pay"), 401, step + `acr_values="2", scope="pay"`},
		{"POST", "/pay", loggedIn(jwt, "", 0), 401, step + `acr_values="2", scope="pay"`},
		// What another login would not change is as it was.
		{"POST", "/pay", loggedIn(jwt, "2", 0), 403, `Bearer error="insufficient_scope", scope="pay"`},
		{"PATCH", "/orders/1", loggedIn(jwt, "", 0), 403, `Bearer error="insufficient_scope"`},
		{"DELETE", "/orders/1", loggedIn(principal.KindAPIKey, "", 0), 403, ""},
		{"DELETE", "/orders/1", loggedIn(principal.KindCertificate, "1", 0), 403, ""},
		// Nobody is told what a rule asks for who has not said who they are.
		{"DELETE", "/orders/1", nil, 401, `Bearer`},
		// Every reading of a request has to be allowed afterwards.
		{"DELETE", "/orders/1?_method=PATCH", loggedIn(jwt, "1", 0), 403, `Bearer error="insufficient_scope"`},
		{"DELETE", "/orders/1?_method=PUT", loggedIn(jwt, "3", 0), 401, step + `acr_values="2"`},
	} {
		r := request(tc.method, tc.path, tc.p)
		w, _ := serve(t, h, r)
		if got := w.Header().Get("Www-Authenticate"); w.Code != tc.status || got != tc.want {
			t.Errorf("%s %s: got %d %s\n%s", tc.method, tc.path, w.Code, got, tc.want)
		}
		d := reqctx.Decisions(r).Decisions()
		if strings.HasPrefix(tc.want, step) && (len(d) != 1 || d[0].Code != "insufficient_user_authentication" || !strings.Contains(w.Body.String(), `"code":"insufficient_user_authentication"`)) {
			t.Errorf("%s %s: decided %+v, %s", tc.method, tc.path, d, w.Body)
		}
	}
}

func TestStepUpInTheCommands(t *testing.T) {
	l, err := parse(t, sensitive).load()
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	claims := func(acr string, age time.Duration) map[string]any {
		return map[string]any{"acr": acr, "auth_time": now.Add(-age).Unix()}
	}
	for _, tc := range []struct {
		q    probe
		want outcome
	}{
		{probe{Request: "DELETE /orders/1", Claims: claims("2", time.Minute)}, "allow"},
		{probe{Request: "DELETE /orders/1", Claims: claims("2", time.Hour)}, "401"},
		{probe{Request: "DELETE /orders/1", Claims: claims("2", time.Hour), Kind: "opaque"}, "401"},
		{probe{Request: "DELETE /orders/1", Claims: claims("2", time.Hour), Kind: "api_key"}, "403"},
		{probe{Request: "PATCH /orders/1", Claims: claims("2", time.Minute)}, "403"},
	} {
		tc.q.Now = now.Format(time.RFC3339)
		if v, err := tc.q.decide(l.policy); err != nil || !tc.want.met(v) {
			t.Errorf("%s %v: got %+v, %v", tc.q.Request, tc.q.Claims, v, err)
		}
	}
	var out bytes.Buffer
	q := probe{Request: "DELETE /orders/1", Claims: claims("1", time.Hour), Now: now.Format(time.RFC3339)}
	if err := explain(&out, l.policy, &q, true); err != errNo {
		t.Fatal(err)
	}
	for _, want := range []string{
		"REFUSED with 401", "step-up: it would be allowed after another authentication of the user, with acr 2 or 3, at most 5m0s ago\n",
		"what is missing:\n  another authentication of the user, with acr 2 or 3, at most 5m0s ago\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing:\n%s", want, out.String())
		}
	}
}
