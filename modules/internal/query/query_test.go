package query

import (
	"errors"
	"net/url"
	"strings"
	"testing"
)

func TestAParameterHasAValueOnlyWhereEverybodyFindsTheSame(t *testing.T) {
	for raw, want := range map[string]struct {
		name, value string
		count       Count
	}{
		"":                                 {"tenant", "", None},
		"tenant=a":                         {"tenant", "a", One},
		"tenant":                           {"tenant", "", One},
		"x=1&tenant=a&y=2":                 {"tenant", "a", One},
		"tenants=a":                        {"tenant", "", None},
		"x-tenant=a":                       {"tenant", "", None},
		"tenant=a&tenant=b":                {"tenant", "", Many},
		"tenant=a&tenant=a":                {"tenant", "", Many},
		"tenant=a&tenant[]=b":              {"tenant", "", Many},
		"tenant=a&%EF%BB%BFtenant=b":       {"tenant", "", Many},
		"tenant=a&tenant%E2%80%8B=b":       {"tenant", "", Many},
		"tenant=a&ten%C2%ADant=b":          {"tenant", "", Many},
		"%EF%BB%BFtenant=b":                {"tenant", "", Many},
		"tenant=a&tenant%5b%5D=b":          {"tenant", "", Many},
		"tenant=a&tenant[0]=b":             {"tenant", "", Many},
		"tenant=a&tenant[x]=b":             {"tenant", "", Many},
		"tenant=a&tenant[x][y]=b":          {"tenant", "", Many},
		"tenant=a&tenant.x=b":              {"tenant", "", Many},
		"tenant=a&tenant[=b":               {"tenant", "", Many},
		"tenant=a&tenant]=b":               {"tenant", "", Many},
		"tenant=a&[tenant]=b":              {"tenant", "", Many},
		"tenant=a&[]tenant=b":              {"tenant", "", Many},
		"tenant=a&TENANT=b":                {"tenant", "", Many},
		"tenant=a&Tenant[]=b":              {"tenant", "", Many},
		"tenant=a&+tenant=b":               {"tenant", "", Many},
		"tenant=a&tenant+=b":               {"tenant", "", Many},
		"tenant=a&tenant%09=b":             {"tenant", "", Many},
		"tenant=a&tenant%00x=b":            {"tenant", "", Many},
		"tenant=a&%C2%A0tenant=b":          {"tenant", "", Many},
		"TENANT=a":                         {"tenant", "", Many},
		"tenant[]=a":                       {"tenant", "", Many},
		"tenant_id=a&tenant.id=b":          {"tenant_id", "", Many},
		"tenant_id=a&tenant+id=b":          {"tenant_id", "", Many},
		"tenant_id=a&tenant[id=b":          {"tenant_id", "", Many},
		"tenant_id=a&tenantId=b":           {"tenant_id", "", Many},
		"tenantId=a&tenant_id=b":           {"tenantId", "", Many},
		"tenant_id=a&tenant-id=b":          {"tenant_id", "a", One},
		"filter[name]=a&filter[status]=b":  {"filter[status]", "b", One},
		"filter[status]=b&filter=c":        {"filter[status]", "", Many},
		"filter[status]=b&filter[]=c":      {"filter[status]", "", Many},
		"filter[status]=b&filter[0]=c":     {"filter[status]", "", Many},
		"filter[status]=b&filter.status=c": {"filter[status]", "", Many},
		"filter[status]=b&Filter[Status]=": {"filter[status]", "", Many},
		"\u212aey=a&key=b":                 {"key", "", Many}, // the Kelvin sign
		"_=1&tenant=a":                     {"tenant", "a", One},
	} {
		q, err := Parse(raw)
		if err != nil {
			t.Errorf("%s: %v", raw, err)
			continue
		}
		if v, n := q.Get(want.name); v != want.value || n != want.count {
			t.Errorf("%s of %s: got %q, %d, want %q, %d", want.name, raw, v, n, want.value, want.count)
		}
	}
}

func TestQueriesThatCannotBeReadAreRefused(t *testing.T) {
	for raw, want := range map[string]error{
		"a=%zz":                    ErrMalformed,
		"%u0061=b":                 ErrMalformed,
		"a=1;a=2":                  ErrMalformed,
		"a=1&b;a=2":                ErrMalformed,
		strings.Repeat("a&", 1000): ErrTooMany,
		strings.Repeat("a&", 999):  nil,
	} {
		if _, err := Parse(raw); !errors.Is(err, want) {
			t.Errorf("%.20s: got %v, want %v", raw, err, want)
		}
	}
}

func TestNamesThatCanMeanTheMethodOverride(t *testing.T) {
	for sent, want := range map[string]bool{
		"_method": true, "_METHOD": true, " _method": true, "_method ": true, "_method[]": true, "_method[x]": true,
		"[_method]": true, ".method": true, "_method.x": true, "_method\x00": true,
		"method": false, "_methods": false, "x_method": false, "": false, "__method": false,
	} {
		if got := CanMean(sent, "_method"); got != want {
			t.Errorf("%q: got %t", sent, got)
		}
	}
}

// FuzzGet holds that a value which is given out is the one that net/url, as
// one of the programs, would find, and that nothing spelled alike is beside it.
func FuzzGet(f *testing.F) {
	f.Add("a=1&a[]=2&B=3", "a")
	f.Add("a.b=1&a[b]=2", "a.b")
	f.Fuzz(func(t *testing.T, raw, name string) {
		q, err := Parse(raw)
		if err != nil {
			return
		}
		value, count := q.Get(name)
		values, err := url.ParseQuery(raw)
		if err != nil {
			t.Fatalf("%q was read, though net/url says %v", raw, err)
		}
		switch count {
		case One:
			if len(values[name]) != 1 || values[name][0] != value {
				t.Fatalf("%q of %q: got %q, net/url has %q", name, raw, value, values[name])
			}
			for other := range values {
				if other != name && CanMean(other, name) {
					t.Fatalf("%q of %q: %q can mean it too", name, raw, other)
				}
			}
		case None:
			if len(values[name]) != 0 {
				t.Fatalf("%q of %q is not found", name, raw)
			}
		}
	})
}
