package policy

import (
	"slices"
	"testing"
)

func TestMatrixOfTheShop(t *testing.T) {
	m := compile(t, shop()).Matrix()
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
