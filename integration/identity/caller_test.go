package identity

import (
	"testing"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

// TestEveryCallerHasALimitOfHisOwn holds that no caller uses up the limit of
// another: not a partner's user that of ours who has his name, and not a
// stranger that of the load balancer.
func TestEveryCallerHasALimitOfHisOwn(t *testing.T) {
	ours, partner := harness.NewSigner(t), harness.NewSigner(t)
	harness.OverEachProtocol(t, func(t *testing.T, protocol string) {
		s := harness.StartOver(t, protocol, `
{
	servers {
		trusted_proxies static 127.0.0.1/32
	}
}
http://:{$PORT} {
	auth {
		jwt_auth {
			issuer https://a.test {
				key RS256 {env.A}
			}
			issuer https://b.test {
				key RS256 {env.B}
			}
			audience api
		}
		basic {
			zoe `+basicHash+`
		}
		optional
	}
	rate_limit {
		zone each {
			key {http.moat.caller}
			events 2
			window 1h
		}
	}
	rbac {
		anyone {
			allow GET /*
		}
	}
	respond "{http.moat.caller} {http.auth.user.kind} {http.auth.user.issuer}"
}
http://:{$PORT2} {
	jwt_auth /private* {
		issuer https://a.test {
			key RS256 {env.A}
		}
		audience api
	}
	rate_limit {
		zone rest {
			key {http.moat.caller}
			events 1
			window 1h
		}
	}
	respond "{http.moat.caller} {http.auth.user.id}"
}
`, "A="+ours.Public, "B="+partner.Public)
		of := func(k *harness.Signer, iss, sub string) string {
			return harness.Bearer(k.Sign(nil, harness.Claims(map[string]any{"iss": iss, "sub": sub})))
		}
		for _, c := range []struct {
			caller string // as the key says it
			rest   string
			header []string
		}{
			{"https://b.test|zoe", " jwt https://b.test", []string{of(partner, "https://b.test", "zoe")}},
			{"https://a.test|zoe", " jwt https://a.test", []string{of(ours, "https://a.test", "zoe")}},
			{"https://b.test|https://a.test%7Czoe", " jwt https://b.test", []string{of(partner, "https://b.test", "https://a.test|zoe")}},
			{"https://b.test|203.0.113.7", " jwt https://b.test", []string{of(partner, "https://b.test", "203.0.113.7")}},
			{"basic||zoe", " basic ", []string{"Authorization: Basic em9lOmhpY2N1cA=="}},
			{"https://b.test|basic%7C%7Czoe", " jwt https://b.test", []string{of(partner, "https://b.test", "basic||zoe")}},
			{"203.0.113.7", "  ", []string{"X-Forwarded-For: 203.0.113.7"}},
			{"203.0.113.8", "  ", []string{"X-Forwarded-For: 203.0.113.8"}},
			{"127.0.0.1", "  ", nil},
		} {
			for n, want := range []int{200, 200, 429} {
				a := s.Get("PORT", "/health", c.header...)
				if a.StatusCode != want {
					t.Fatalf("%s, request %d: got %d %s, want %d", c.caller, n+1, a.StatusCode, a.Body, want)
				}
				if want == 200 && a.Body != c.caller+c.rest {
					t.Errorf("got %q, want %q", a.Body, c.caller+c.rest)
				}
			}
		}
		// Where a matcher leaves requests out, their callers are anonymous ones.
		for _, c := range []struct{ address, body string }{{"203.0.113.7", "203.0.113.7 "}, {"203.0.113.8", "203.0.113.8 "}} {
			if a := s.Get("PORT2", "/health", "X-Forwarded-For: "+c.address); a.StatusCode != 200 || a.Body != c.body {
				t.Errorf("got %d %q, want %q", a.StatusCode, a.Body, c.body)
			}
		}
		if a := s.Get("PORT2", "/private", "X-Forwarded-For: 203.0.113.8", of(ours, "https://a.test", "zoe")); a.StatusCode != 200 || a.Body != "https://a.test|zoe zoe" {
			t.Errorf("got %d %q", a.StatusCode, a.Body)
		}
	})
}
