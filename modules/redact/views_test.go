package redact

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
)

func TestTooManyGroupsAreRefused(t *testing.T) {
	groups := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "except role r%d {\n remove a%d\n}\n", i, i)
		}
		return b.String()
	}
	if _, err := provisioned(t, groups(maxGroups)); err != nil {
		t.Error(err)
	}
	if _, err := provisioned(t, groups(maxGroups+1)); err == nil {
		t.Error("no error")
	}
}

// TestViewsAreBounded asks for more combinations of roles than are kept, from
// several goroutines.
func TestViewsAreBounded(t *testing.T) {
	var b strings.Builder
	for i := range 12 {
		fmt.Fprintf(&b, "except role r%d {\n remove a%d\n}\n", i, i)
	}
	h := provision(t, b.String())
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 300 {
				p := &principal.Principal{ID: "x"}
				for bit := range 12 {
					if (i+g)&(1<<bit) != 0 {
						p.Roles = append(p.Roles, fmt.Sprintf("r%d", bit))
					}
				}
				v, err := h.responses.of(p)
				if err != nil || v == nil {
					t.Errorf("%v (%v)", v, err)
				}
			}
		})
	}
	wg.Wait()
	if n := len(h.responses.known); n > maxViews {
		t.Errorf("%d views are kept", n)
	}
	if v, err := h.responses.of(nil); err != nil || v != h.responses.strict {
		t.Errorf("the view of an anonymous caller: %p (%v), want %p", v, err, h.responses.strict)
	}
}

// TestAnonymousCallersAreSubjectToAllRules: whatever an anonymous caller sees,
// every other caller sees too.
func TestAnonymousCallersAreSubjectToAllRules(t *testing.T) {
	h := provision(t, "except role a {\n remove x\n}\nonly role b {\n remove y\n}\nonly scope c {\n remove z\n}\nonly user d {\n remove u\n}\nexcept kind jwt {\n remove k\n}")
	next := answers(200, "application/json", `{"x":1,"y":1,"z":1,"u":1,"k":1}`)
	s := serve(t, h, next)
	s.get().is(t, 200, `{}`)
	s.get(as("d:b")).is(t, 200, `{"z":1,"k":1}`)
	s.get(as("e:a")).is(t, 200, `{"x":1,"y":1,"z":1,"u":1,"k":1}`)
}
