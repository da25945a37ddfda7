package condition

import (
	"errors"
	"testing"
)

func TestOwnerComparesAClaimWithAText(t *testing.T) {
	for text, want := range map[string]bool{
		`owner("/sub", user)`:                    true,
		`owner("/sub", id)`:                      false,
		`owner("/sub", "")`:                      false,
		`owner("/teams", team)`:                  true,
		`owner("/teams", "green")`:               false,
		`owner("/teams", "")`:                    false,
		`owner("/org/id", id)`:                   true,
		`owner("/level", "3")`:                   true,
		`owner("/level", "03")`:                  false,
		`owner("/big", "18446744073709551615")`:  true,
		`!owner("/sub", "bob") && team == "red"`: true,
	} {
		if got, err := eval(t, testEnv(), text); err != nil || got != want {
			t.Errorf("%s: got %v, %v, want %v", text, got, err, want)
		}
	}
	for text, want := range map[string]error{
		`owner("/absent", id)`:        ErrMissing,
		`owner("/org/absent", id)`:    ErrMissing,
		`owner("/org", id)`:           ErrType,
		`owner("/admin", "true")`:     ErrType,
		`owner("/ratio", "0.5")`:      ErrType,
		`owner("/none", "null")`:      ErrType,
		`owner("/sub", claims.level)`: ErrType,
	} {
		if got, err := eval(t, testEnv(), text); got || !errors.Is(err, want) {
			t.Errorf("%s: got %v, %v, want %v", text, got, err, want)
		}
	}
	var c Compiler
	for _, text := range []string{`owner(/sub, user)`, `owner("sub", user)`, `owner("", user)`, `owner(user, "/sub")`, `owner("/sub")`, `owner("/a~2", user)`, `owner("/sub", 7)`} {
		if _, err := c.Compile(text, nil); err == nil {
			t.Errorf("%s: was taken", text)
		}
	}
}

type bodyOf struct {
	value any
	err   error
	reads *int
}

func (b bodyOf) JSON() (any, error) {
	*b.reads++
	return b.value, b.err
}

func TestBodyIsReadWhenAskedFor(t *testing.T) {
	order := map[string]any{"order": map[string]any{"total": int64(70), "items": []any{"a", "b"}}}
	for _, tc := range []struct {
		text  string
		body  any
		want  bool
		err   error
		reads int
	}{
		{`body.order.total <= 100`, order, true, nil, 1},
		{`body.order.total <= 100 && body.order.items.size() == 2`, order, true, nil, 1},
		{`body.order.items.exists(i, i == "b")`, order, true, nil, 1},
		{`body["order"].total == 70`, order, true, nil, 1},
		{`user == "bob" && body.order.total <= 100`, order, false, nil, 0},
		{`body.order.absent == 1`, order, false, ErrMissing, 1},
		{`body.order > 1`, order, false, ErrType, 1},
		{`body[0] == "x"`, []any{"x"}, true, nil, 1},
		{`body == null`, nil, true, nil, 1},
		{`method == "GET"`, order, true, nil, 0},
	} {
		var c Compiler
		p, err := c.Compile(tc.text, nil)
		if err != nil {
			t.Fatal(err)
		}
		env, reads := testEnv(), 0
		env.Body = bodyOf{value: tc.body, reads: &reads}
		got, err := p.Eval(env)
		if got != tc.want || !errors.Is(err, tc.err) || reads != tc.reads {
			t.Errorf("%s: got %v, %v, %d reads; want %v, %v, %d", tc.text, got, err, reads, tc.want, tc.err, tc.reads)
		}
		if want := tc.text != `method == "GET"`; p.ReadsBody() != want {
			t.Errorf("%s: reads body: got %v", tc.text, p.ReadsBody())
		}
		env = testEnv()
		env.Body = bodyOf{err: errors.New("secret"), reads: &reads}
		if got, err := p.Eval(env); tc.reads > 0 && (got || err != ErrBody) {
			t.Errorf("%s: with a body that cannot be read: got %v, %v", tc.text, got, err)
		}
		env = testEnv()
		if got, err := p.Eval(env); tc.reads > 0 && (got || err != ErrBody) {
			t.Errorf("%s: without a body: got %v, %v", tc.text, got, err)
		}
	}
}
