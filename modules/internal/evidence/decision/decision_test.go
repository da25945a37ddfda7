package decision

import "testing"

func TestMemoGivesTheSameDecisionOnce(t *testing.T) {
	m := new(Memo)
	allow := Decision{Layer: "rbac", Result: Allow, Rule: "role clerk: allow GET /orders/*"}
	first := m.Of(allow)
	if *first != allow {
		t.Fatalf("got %+v, want %+v", *first, allow)
	}
	if again := m.Of(allow); again != first {
		t.Errorf("the same decision was made twice")
	}
	deny := Decision{Layer: "rbac", Result: Deny, Code: "forbidden"}
	if got := m.Of(deny); got == first || *got != deny {
		t.Errorf("got %+v, want %+v", *got, deny)
	}
	if *first != allow {
		t.Errorf("what was handed out has changed to %+v", *first)
	}
	if got := (*Memo)(nil).Of(deny); *got != deny {
		t.Errorf("without a memo: got %+v, want %+v", *got, deny)
	}
	if n := testing.AllocsPerRun(100, func() { m.Of(deny) }); n != 0 {
		t.Errorf("%v allocations for a decision that was made before", n)
	}
}

func TestLogKeepsDecisionsInOrder(t *testing.T) {
	l := new(Log)
	list := []Decision{{Layer: "a", Result: Allow}, {Layer: "b", Result: Skip}, {Layer: "c", Result: Allow}, {Layer: "d", Result: Allow}, {Layer: "e", Result: Deny, Code: "forbidden"}}
	for i, d := range list {
		if l.Refused() {
			t.Errorf("refused before %s", d.Layer)
		}
		if i%2 == 0 {
			l.Add(d)
		} else {
			l.Note(&list[i])
		}
	}
	got := l.AppendTo(nil)
	if len(got) != len(list) {
		t.Fatalf("got %d decisions, want %d", len(got), len(list))
	}
	for i, d := range got {
		if *d != list[i] {
			t.Errorf("decision %d: got %+v, want %+v", i, *d, list[i])
		}
	}
	if !l.Refused() || l.Code() != "forbidden" {
		t.Errorf("refused: %t, code %q", l.Refused(), l.Code())
	}
}

func TestNobodyListens(t *testing.T) {
	var l *Log
	l.Add(Decision{})
	l.Note(&Decision{})
	l.SetCode("c")
	l.AddRedacted(1, "r")
	if l.Refused() || l.Code() != "" || l.AppendTo(nil) != nil || l.Decisions() != nil {
		t.Error("a log that is not there knows something")
	}
}
