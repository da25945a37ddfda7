package policy

import (
	"slices"
	"testing"
)

func matrix(t *testing.T, p *Policy) *Matrix {
	t.Helper()
	m, err := p.Matrix()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func compare(t *testing.T, from, to *Policy) []Gain {
	t.Helper()
	gains, err := Compare(from, to)
	if err != nil {
		t.Fatal(err)
	}
	return gains
}

func TestMatrixOfTheShop(t *testing.T) {
	m := matrix(t, compile(t, shop()))
	if want := []string{"anyone", "authenticated", "role clerk", "role manager", "scope stock:read"}; !slices.Equal(m.Subjects, want) {
		t.Errorf("subjects: got %q; want %q", m.Subjects, want)
	}
	if want := []string{"DELETE", "GET", "HEAD", "POST", "*"}; !slices.Equal(m.Methods, want) {
		t.Errorf("methods: got %q; want %q", m.Methods, want)
	}
	const none, all, get = "-----", "yyyyy", "-yy--"
	want := map[string][]string{
		"/health":              {get, get, get, get, get},
		"/me":                  {none, get, get, get, get},
		"/me/closed":           {none, none, none, none, none},
		"/orders":              {none, none, "---y-", "---y-", none},
		"/orders/*":            {none, none, get, all, none},
		"/orders/*/invoice":    {none, none, get, "-yyyy", none},
		"/stock/*":             {none, none, none, none, get},
		"/teams/{team}/report": {none, none, none, "-??--", none},
	}
	if len(m.Rows) != len(want) {
		t.Errorf("got %d rows; want %d", len(m.Rows), len(want))
	}
	for _, row := range m.Rows {
		var got []string
		for _, cell := range row.Cells {
			s := ""
			for _, a := range cell {
				s += map[Allowed]string{Never: "-", Sometimes: "?", Always: "y"}[a]
			}
			got = append(got, s)
		}
		if !slices.Equal(got, want[row.Path]) {
			t.Errorf("%s: got %q; want %q", row.Path, got, want[row.Path])
		}
	}
}

func TestCompareSaysWhoGainsAndWhoLoses(t *testing.T) {
	from, to := shop(), shop()
	if got := compare(t, compile(t, from), compile(t, to)); len(got) > 0 {
		t.Errorf("equal policies: got %+v", got)
	}
	// The same, written otherwise.
	to.Roles["clerk"] = &Block{Allow: []string{"POST /orders", "GET,HEAD /orders/*", "GET /orders/{x}"}}
	if got := compare(t, compile(t, from), compile(t, to)); len(got) > 0 {
		t.Errorf("the same in other words: got %+v", got)
	}
	to.Roles["clerk"] = &Block{Allow: []string{"GET /orders/*", "DELETE /orders/{id} when id == user"}}
	to.Roles["guest"] = &Block{Allow: []string{"GET /news"}}
	got := compare(t, compile(t, from), compile(t, to))
	want := []Gain{
		{"role guest", "GET", "/news", Never, Always},
		{"role guest", "HEAD", "/news", Never, Always},
		{"role clerk", "POST", "/orders", Always, Never},
		{"role manager", "POST", "/orders", Always, Never},
		{"role clerk", "DELETE", "/orders/{id}", Never, Sometimes},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v; want %+v", got, want)
	}
}
