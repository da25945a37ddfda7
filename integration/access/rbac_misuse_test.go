package access

import (
	"strings"
	"testing"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

// TestRBACThatNobodyCanPassIsRefusedAtLoad: when starting, and on reload,
// where what ran before keeps running.
func TestRBACThatNobodyCanPassIsRefusedAtLoad(t *testing.T) {
	const closed = `:{$PORT} {
	rbac {
		role clerk {
			allow GET /*
		}
	}
	respond "served"
}`
	for _, site := range []string{closed, strings.Replace(closed, "respond", "header X y\nhandle /a {\nrbac {\nanyone {\nallow GET /a\n}\n}\n}\nrespond", 1)} {
		out := harness.FailsToLoad(t, site)
		for _, want := range []string{"rbac (", "role clerk: allow GET /*", "nothing before it authenticates", "an anyone block"} {
			if !strings.Contains(out, want) {
				t.Errorf("the error lacks %q:\n%s", want, out)
			}
		}
	}
	open := strings.Replace(closed, "role clerk", "anyone", 1)
	s := harness.Start(t, open)
	s.Get("PORT", "/").Want(t, 200, "served")
	if err := s.Reload(closed); err == nil {
		t.Error("the reload was accepted")
	}
	s.Get("PORT", "/").Want(t, 200, "served")
}

func TestMisuseOfIdentityIsWarnedOf(t *testing.T) {
	s := harness.Start(t, `{
	log {
		level WARN
	}
}
:{$PORT} {
	jwt_auth {
		issuer internal
	}
	@gold role gold
	header @gold X-Plan gold
	rbac {
		role manager {
			allow GET /*
		}
	}
	redact {
		except role manger {
			remove salary
		}
	}
	respond "served"
}
:{$PORT2} {
	rbac {
		dry_run
		role clerk {
			allow GET /*
		}
	}
	respond "served"
}
:{$PORT3} {
	rbac {
		anyone {
			allow * /*
		}
	}
	respond "served"
}`)
	s.Get("PORT", "/").Want(t, 401)
	s.Get("PORT2", "/").Want(t, 200)
	s.Get("PORT3", "/").Want(t, 200)
	log := s.Log.String()
	for _, want := range []string{
		"before anything has found out", `"matcher": "role"`, "did you mean 'role manager'?", `"name": "role manger"`,
		"without dry_run it would refuse every request", "everything is allowed to everyone that no rule denies",
	} {
		if !strings.Contains(strings.ReplaceAll(log, `":"`, `": "`), want) {
			t.Errorf("the log lacks %q:\n%s", want, log)
		}
	}
}

// TestRefusalOfAnAnonymousRequestAsksForWhatTheAuthenticatorAsksFor: the 401
// of rbac has the challenge of the jwt_auth that let the request go on.
func TestRefusalOfAnAnonymousRequestAsksForWhatTheAuthenticatorAsksFor(t *testing.T) {
	site := `:{$PORT} {
	jwt_auth {
		issuer internal
		optional
	}
	rbac {
		role clerk {
			allow GET /*
		}
		anyone {
			allow GET /health
		}
	}
	respond "served"
}
:{$PORT2} {
	jwt_auth {
		issuer internal
	}
	respond "served"
}`
	s := harness.Start(t, site)
	s.Get("PORT", "/health").Want(t, 200)
	a, direct := s.Get("PORT", "/orders"), s.Get("PORT2", "/orders")
	a.Want(t, 401)
	got, want := a.Header.Get("WWW-Authenticate"), direct.Header.Get("WWW-Authenticate")
	if got != want || !strings.HasPrefix(got, "Bearer realm=") {
		t.Errorf("got %q, and jwt_auth itself asks for %q", got, want)
	}
}
