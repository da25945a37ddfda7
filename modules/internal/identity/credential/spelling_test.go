package credential

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestOtherSpellingsOfAPlaceAreCredentialsToo: the upstream could read the one
// that was not verified.
func TestOtherSpellingsOfAPlaceAreCredentialsToo(t *testing.T) {
	sources := func(s Source) *Sources {
		if err := s.Check(); err != nil {
			t.Fatal(err)
		}
		return NewSources("token", []Source{s})
	}
	query := sources(Source{Query: "access_token"})
	for raw, refused := range map[string]bool{
		"access_token=a": false, "access_token=a&x=1": false, "access_token=a&access-token=b": false,
		"access_token=a&access_token[]=b": true, "access_token=a&ACCESS_TOKEN=b": true, "access_token=a&access.token=b": true,
		"access_token=a&+access_token=b": true, "access_token[x]=b": true, "[access_token]=b": true,
	} {
		_, err := query.Read(httptest.NewRequest(http.MethodGet, "/?"+raw, http.NoBody))
		if (err != nil) != refused {
			t.Errorf("?%s: %v", raw, err)
		}
	}
	cookie := sources(Source{Cookie: "session_id"})
	for line, refused := range map[string]bool{
		"session_id=a": false, "session_id=a; session=b": false, "session_id=a; session-id=b": false,
		"session_id=a; session.id=b": true, "session_id=a; session%5Fid=b": true, "session_id=a; session_id[]=b": true,
		"session_id=a; session id=b": true, "session_id=a; session[id=b": true, "session_id[0]=b": true,
	} {
		r := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
		r.Header["Cookie"] = []string{line}
		if _, err := cookie.Read(r); (err != nil) != refused {
			t.Errorf("%s: %v", line, err)
		}
		cookie.Remove(r)
		if rest := r.Header.Get("Cookie"); rest != "" && rest != "session=b" && rest != "session-id=b" {
			t.Errorf("%s: %q is left", line, rest)
		}
	}
	r := httptest.NewRequest(http.MethodGet, "/?access_token=a&x=1&access_token[]=b&ACCESS_TOKEN=c", http.NoBody)
	query.Remove(r)
	if r.URL.RawQuery != "x=1" {
		t.Errorf("%q is left", r.URL.RawQuery)
	}
}
