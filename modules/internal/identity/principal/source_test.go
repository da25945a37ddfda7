package principal

import "testing"

func TestSourcesAreToldApart(t *testing.T) {
	a := Source{"https://a.example", KindJWT}
	for from, want := range map[string]bool{
		"": true, "https://a.example": true, "https://a.example/": false, "HTTPS://a.example": false, "jwt": true, "opaque": false, "api_key": false, "internal": false,
	} {
		if got := a.Is(from); got != want {
			t.Errorf("from %q: %v", from, got)
		}
	}
	// Whoever can choose the name of an issuer cannot become a kind by it.
	if (Source{"api_key", KindJWT}).Is("api_key") || !(Source{"", KindAPIKey}).Is("api_key") {
		t.Error("an issuer that is called like a kind is taken for it")
	}
	if (Source{"", KindAPIKey}).Is("https://a.example") || !(Source{InternalIssuer, KindJWT}).Is("internal") {
		t.Error("issuers are mixed up")
	}
	if !a.Same(Source{"https://a.example", KindOpaque}) || a.Same(Source{"https://b.example", KindJWT}) || (Source{"", KindBasic}).Same(Source{"", KindOther}) {
		t.Error("who is the same is not")
	}
}

// TestCallersAreToldApart has ids that were chosen to be taken for others.
func TestCallersAreToldApart(t *testing.T) {
	if got := (&Principal{ID: "alice", Issuer: "https://a.example", Kind: KindJWT}).Caller(); got != "https://a.example|alice" {
		t.Errorf("got %s", got)
	}
	if got := (&Principal{ID: "alice", Kind: KindAPIKey}).Caller(); got != "api_key||alice" {
		t.Errorf("got %s", got)
	}
	seen := map[string]Principal{}
	for _, p := range []Principal{
		{ID: "alice", Issuer: "https://a", Kind: KindJWT},
		{ID: "alice", Issuer: "https://b", Kind: KindJWT},
		{ID: "b|alice", Issuer: "https://a", Kind: KindJWT},
		{ID: "alice", Issuer: "https://a|b", Kind: KindJWT},
		{ID: "alice", Issuer: "https://a%7Cb", Kind: KindJWT},
		{ID: "|alice", Issuer: "https://a", Kind: KindJWT},
		{ID: "alice", Kind: KindAPIKey},
		{ID: "alice", Issuer: KindAPIKey, Kind: KindJWT},
		{ID: "|alice", Issuer: KindAPIKey, Kind: KindJWT},
		{ID: "alice", Issuer: KindAPIKey + "|", Kind: KindJWT},
		{ID: "192.0.2.1", Kind: KindBasic},
		{ID: "192.0.2.1", Issuer: "https://a", Kind: KindJWT},
		{ID: "a b", Issuer: "https://a", Kind: KindJWT},
		{ID: "a%20b", Issuer: "https://a", Kind: KindJWT},
	} {
		c := p.Caller()
		if other, ok := seen[c]; ok {
			t.Errorf("%+v and %+v are both %s", p, other, c)
		}
		seen[c] = p
	}
	// One issuer's user is one caller, whichever sort of token he has.
	if (&Principal{ID: "alice", Issuer: "https://a", Kind: KindOpaque}).Caller() != "https://a|alice" {
		t.Error("an opaque token makes another caller")
	}
}

// FuzzCaller holds that two callers have one name only if they are one.
func FuzzCaller(f *testing.F) {
	f.Add("a", "b", "a|b", "")
	f.Add("", "|x", "", "x")
	f.Add("a%7C", "\xff", "a|", "\xfe")
	f.Fuzz(func(t *testing.T, iss1, id1, iss2, id2 string) {
		a, b := Principal{ID: id1, Issuer: iss1, Kind: KindAPIKey}, Principal{ID: id2, Issuer: iss2, Kind: KindAPIKey}
		if (a.Caller() == b.Caller()) != (iss1 == iss2 && id1 == id2) {
			t.Fatalf("%q of %q is %s, %q of %q is %s", id1, iss1, a.Caller(), id2, iss2, b.Caller())
		}
	})
}
