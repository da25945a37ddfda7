package condition

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
)

func TestAuthenticationStrengthIsReadFromTheClaims(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	at := func(d time.Duration) string { return fmt.Sprint(now.Add(d).Unix()) }
	for _, tc := range []struct {
		claims, text string
		want         bool
		err          error
	}{
		{`{"acr":"2"}`, `acr("2")`, true, nil},
		{`{"acr":"2"}`, `acr("1 2")`, true, nil},
		{`{"acr":"1"}`, `acr("2")`, false, nil},
		{`{"acr":"1"}`, `!acr("2")`, true, nil},
		{`{"acr":"1 2"}`, `acr("2")`, false, nil}, // one value, with a space
		{`{"acr":"3"}`, `acr("2")`, false, nil},   // no order
		{`{"acr":"urn:mace:incommon:iap:silver"}`, `acr("urn:mace:incommon:iap:silver")`, true, nil},
		// What is not known is no answer, either way.
		{`{}`, `acr("2")`, false, ErrMissing},
		{`{}`, `!acr("2")`, false, ErrMissing},
		{`{"acr":""}`, `!acr("2")`, false, ErrType},
		{`{"acr":null}`, `!acr("2")`, false, ErrType},
		{`{"acr":2}`, `!acr("2")`, false, ErrType},
		{`{"acr":["2"]}`, `acr("2")`, false, ErrType},

		{`{"auth_time":` + at(-5*time.Minute) + `}`, `max_age("5m")`, true, nil},
		{`{"auth_time":` + at(-5*time.Minute-time.Second) + `}`, `max_age("5m")`, false, nil},
		{`{"auth_time":` + at(-5*time.Minute) + `.5}`, `max_age("5m")`, true, nil},
		{`{"auth_time":` + at(30*time.Second) + `}`, `max_age("5m")`, true, nil},
		{`{"auth_time":` + at(31*time.Second) + `}`, `max_age("5m")`, false, ErrType},
		{`{"auth_time":` + at(31*time.Second) + `}`, `!max_age("5m")`, false, ErrType},
		{`{"auth_time":9223372036854775807}`, `max_age("5m")`, false, ErrType},
		{`{"auth_time":18446744073709551615}`, `max_age("5m")`, false, ErrType},
		{`{"auth_time":1e400}`, `max_age("5m")`, false, ErrType},
		{`{"auth_time":-9223372036854775808}`, `max_age("5m")`, false, nil},
		{`{"auth_time":0}`, `max_age("5m")`, false, nil},
		{`{"auth_time":"` + at(0) + `"}`, `max_age("5m")`, false, ErrType},
		{`{"auth_time":true}`, `max_age("5m")`, false, ErrType},
		{`{}`, `max_age("5m")`, false, ErrMissing},
		{`{}`, `!max_age("5m")`, false, ErrMissing},
		{`{"iat":` + at(0) + `}`, `max_age("5m")`, false, ErrMissing},

		{`{"acr":"2","auth_time":` + at(-time.Minute) + `}`, `acr("2", "5m")`, true, nil},
		{`{"acr":"1","auth_time":` + at(-time.Minute) + `}`, `acr("2", "5m")`, false, nil},
		{`{"acr":"2","auth_time":` + at(-time.Hour) + `}`, `acr("2", "5m")`, false, nil},
		{`{"acr":"2"}`, `acr("2", "5m")`, false, ErrMissing},
		{`{"acr":"2"}`, `!acr("2", "5m")`, false, ErrMissing},
	} {
		var c Compiler
		p, err := c.Compile(tc.text, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := p.Eval(&Env{Claims: principal.NewClaims([]byte(tc.claims)), Now: now})
		if got != tc.want || !errors.Is(err, tc.err) || (err != nil) != (tc.err != nil) {
			t.Errorf("%s of %s: got %v, %v; want %v, %v", tc.text, tc.claims, got, err, tc.want, tc.err)
		}
	}
}

func TestStepUpsThatCannotBeMetAreRefused(t *testing.T) {
	var c Compiler
	for _, text := range []string{
		`acr("")`, `acr(" 2")`, `acr("1  2")`, `acr(2)`, `acr(user)`, `acr()`, `acr("2", "5m", "x")`, `acr("a\"b")`, `acr("a\\b")`, `acr("ü")`,
		`acr("2", 300)`, `acr("2", "")`, `acr("2", "5")`, `acr("2", "0s")`, `acr("2", "-5m")`, `acr("2", "1500ms")`, `max_age()`, `max_age(300)`, `max_age(user)`,
		`acr(claims.acr, "2")`, `acr`, `max_age(claims.auth_time, now, 5)`,
	} {
		if _, err := c.Compile(text, nil); err == nil {
			t.Errorf("%s: was taken", text)
		}
	}
}

func TestStepUpsOfAnExpression(t *testing.T) {
	var c Compiler
	p, err := c.Compile(`acr("2 3", "5m") || max_age("1h") && acr("3 4") || acr("4", "5m")`, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := p.StepUps()
	if !slices.Equal(s.ACRs, []string{"2", "3", "4"}) || !slices.Equal(s.Ages, []time.Duration{time.Hour, 5 * time.Minute}) {
		t.Errorf("got %+v", s)
	}
}
