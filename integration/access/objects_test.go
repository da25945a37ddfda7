package access

import (
	"io"
	"net/http"
	"testing"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

// TestObjectsNamedTwiceNeverReachTheUpstream: a caller's own object in the path
// does not open another one in the query, the content or a header.
func TestObjectsNamedTwiceNeverReachTheUpstream(t *testing.T) {
	up := harness.Upstream(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = w.Write(body)
	})
	s := harness.Start(t, `:{$PORT} {
	audit trail
	jwt_auth {
		issuer internal
	}
	rbac {
		authenticated {
			allow * /users/{id} when `+"`owner(\"/sub\", id)`"+`
		}
	}
	reverse_proxy `+up+`
}`)
	alice := "Authorization: Bearer " + s.Token("--sub", "alice")
	form, json := "Content-Type: application/x-www-form-urlencoded", "Content-Type: application/json"
	s.Do("PORT", "PUT", "/users/alice?id=alice", `{"id":"alice","name":"Alice"}`, alice, json).Want(t, 200, `{"id":"alice","name":"Alice"}`)
	s.Get("PORT", "/users/mallory", alice).Want(t, 403, "forbidden")
	s.Get("PORT", "/users/alice?id=mallory", alice).Want(t, 400, "ambiguous_object")
	s.Get("PORT", "/users/alice", alice, "X-Id: mallory").Want(t, 400, "ambiguous_object")
	s.Do("PORT", "PUT", "/users/alice", `{"ID":"mallory"}`, alice, json).Want(t, 400, "ambiguous_object")
	s.Do("PORT", "POST", "/users/alice", "id=mallory", alice, form).Want(t, 400, "ambiguous_object")
	s.Do("PORT", "PUT", "/users/alice/again", "", alice).Want(t, 403)
	s.Get("PORT", "/users/alice?id=eve&twice", alice).Want(t, 400)
	if r := s.RecordOf("trail", "/users/mallory"); r.Code != "forbidden" {
		t.Errorf("got %+v", r)
	}
}
