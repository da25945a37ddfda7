package credential

import (
	"slices"
	"testing"
)

func TestResourceIdentifiers(t *testing.T) {
	for id, want := range map[string]string{
		"https://api.example.com/mcp":      "https://api.example.com/.well-known/oauth-protected-resource/mcp",
		"https://api.example.com:8443/a/b": "https://api.example.com:8443/.well-known/oauth-protected-resource/a/b",
		"https://api.example.com":          "https://api.example.com/.well-known/oauth-protected-resource",
		"http://localhost:8080/mcp":        "http://localhost:8080/.well-known/oauth-protected-resource/mcp",
		"http://127.0.0.1:8080/mcp":        "http://127.0.0.1:8080/.well-known/oauth-protected-resource/mcp",
	} {
		r, err := ParseResource(id)
		if err != nil || r.Metadata != want || r.ID != id {
			t.Errorf("%s: got %+v, %v", id, r, err)
		}
	}
	for _, id := range []string{
		"", "mcp", "/mcp", "https:///mcp", "https://api.example.com/mcp/", "https://api.example.com/", "http://api.example.com/mcp",
		"https://u:p@api.example.com/mcp", "https://api.example.com/mcp?x=1", "https://api.example.com/mcp#", "https://API.example.com/mcp",
		"https://api.example.com//mcp", "https://api.example.com/a/../mcp", "https://api.example.com/a%2Fb", "https://api.example.com:443/mcp",
		"ftp://api.example.com/mcp", "https:mcp",
	} {
		if r, err := ParseResource(id); err == nil {
			t.Errorf("%s: accepted as %+v", id, r)
		}
	}
}

func TestPathsAndAudiencesOfResources(t *testing.T) {
	r, _ := ParseResource("https://a.example/mcp")
	if got, want := r.MetadataPaths(), []string{WellKnown + "/mcp", WellKnown}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	o, _ := ParseResource("https://a.example")
	if got, want := o.Audiences(), []string{"https://a.example", "https://a.example/"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
