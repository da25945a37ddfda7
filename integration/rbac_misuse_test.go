package integration

import (
	"strings"
	"testing"
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
		out := failsToLoad(t, site)
		for _, want := range []string{"rbac (", "role clerk: allow GET /*", "nothing before it authenticates", "an anyone block"} {
			if !strings.Contains(out, want) {
				t.Errorf("the error lacks %q:\n%s", want, out)
			}
		}
	}
	open := strings.Replace(closed, "role clerk", "anyone", 1)
	s := start(t, open)
	s.get("PORT", "/").want(t, 200, "served")
	if err := s.reload(closed); err == nil {
		t.Error("the reload was accepted")
	}
	s.get("PORT", "/").want(t, 200, "served")
}

func TestMisuseOfIdentityIsWarnedOf(t *testing.T) {
	s := start(t, `{
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
	s.get("PORT", "/").want(t, 401)
	s.get("PORT2", "/").want(t, 200)
	s.get("PORT3", "/").want(t, 200)
	log := s.log.String()
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
	s := start(t, site)
	s.get("PORT", "/health").want(t, 200)
	a, direct := s.get("PORT", "/orders"), s.get("PORT2", "/orders")
	a.want(t, 401)
	got, want := a.Header.Get("WWW-Authenticate"), direct.Header.Get("WWW-Authenticate")
	if got != want || !strings.HasPrefix(got, "Bearer realm=") {
		t.Errorf("got %q, and jwt_auth itself asks for %q", got, want)
	}
}
