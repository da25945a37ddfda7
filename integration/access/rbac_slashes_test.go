package access

import (
	"errors"
	"strings"
	"testing"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

// TestEncodedSlashesStayWhole has rules for GitLab, npm and RabbitMQ, whose
// paths have slashes in a segment.
func TestEncodedSlashesStayWhole(t *testing.T) {
	s := harness.Start(t, `http://localhost:{$PORT} {
	audit trail
	rbac {
		anyone {
			allow GET /api/v4/projects/{project} encoded_slashes when `+"`project == \"group%2Fproject\"`"+`
			allow GET /api/v4/projects/{project}/issues encoded_slashes
			allow GET /api/queues/%2F/{queue} encoded_slashes
			allow GET /open/*
			allow PUT /npm/* encoded_slashes
			deny PUT /npm/private/*
		}
		role admin {
			allow DELETE /api/v4/projects/{project} encoded_slashes
		}
	}
	@secret permission GET /api/v4/projects/a%2Fb/issues
	header @secret X-May yes
	reverse_proxy `+seenUpstream(t)+`
}`)
	for _, tc := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/api/v4/projects/group%2Fproject", 200},
		{"GET", "/api/v4/projects/group%2fproject", 200},
		{"GET", "/api/v4/projects/group%2Fother", 401},
		{"GET", "/api/v4/projects/group%2Fproject/issues", 200},
		{"GET", "/api/v4/projects/7/issues", 200},
		{"GET", "/api/v4/projects/group/project/issues", 401},
		{"DELETE", "/api/v4/projects/group%2Fproject", 401},
		{"GET", "/api/queues/%2F/jobs", 200},
		{"GET", "/api/queues/x/jobs", 401},
		{"GET", "/open/a%2Fb", 400},
		{"GET", "/open%2Fa", 400},
		{"GET", "/nowhere%2Fa", 400},
		{"GET", "/api/v4/projects/a%2F..%2Fb/issues", 400},
		{"GET", "/api/v4/projects/a%252Fb/issues", 400},
		{"GET", "/api/v4/projects/a%2Fb/../issues", 400},
		{"GET", "/api/v4/projects/a%2Fb%5C/issues", 400},
		{"PUT", "/npm/@scope%2Fname", 200},
		{"PUT", "/npm/private%2Fname", 401},
		{"PUT", "/npm/@scope%2Fx%2F", 200},
	} {
		a := s.Do("PORT", tc.method, tc.path, "")
		if a.StatusCode != tc.status || tc.status == 400 && a.Code() != "ambiguous_path" {
			t.Errorf("%s %s: got %d %s; want %d", tc.method, tc.path, a.StatusCode, a.Body, tc.status)
		}
		if seen := a.Header.Get("X-Seen"); tc.status == 200 && seen != tc.method+" "+tc.path {
			t.Errorf("%s %s: the upstream saw %s", tc.method, tc.path, seen)
		}
		if tc.status == 200 && a.Header.Get("X-May") != "yes" {
			t.Errorf("%s %s: the permission matcher says no", tc.method, tc.path)
		}
	}
	harness.Eventually(t, func() error {
		out, err := s.Caddy("moat", "audit", "search", "--path", "/api/v4/projects/group%2Fproject/issues", "trail")
		if err == nil && strings.Contains(out, `"path":"/api/v4/projects/group%2Fproject/issues"`) {
			return nil
		}
		return errors.New("the trail has " + out)
	})
	out, err := s.Caddy("moat", "explain", "--config", "Caddyfile", "GET", "/api/v4/projects/a%2Fb/issues")
	if err != nil || !strings.Contains(out, "{project}") || !strings.Contains(strings.ToUpper(out), "ALLOWED") {
		t.Errorf("explain: %v %s", err, out)
	}
}
