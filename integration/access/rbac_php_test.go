package access

import (
	"net"
	"net/http"
	"net/http/fcgi"
	"strings"
	"testing"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

// TestPathsBehindAScriptAreNoWayRoundRBAC has an application in PHP, as far as
// Caddy can tell: it answers with the variables of CGI.
func TestPathsBehindAScriptAreNoWayRoundRBAC(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		_ = fcgi.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			env := fcgi.ProcessEnv(r)
			_, _ = w.Write([]byte("script " + env["SCRIPT_FILENAME"] + " info " + env["PATH_INFO"]))
		}))
	}()
	s := harness.Prepare(t, `{
	servers {
		protocols h1
	}
}
http://localhost:{$PORT} {
	root app
	rbac {
		anyone {
			allow * /*
			allow * /remote.php/*
			deny * /admin/*
			deny * /hidden/index.php
		}
	}
	php_fastcgi `+ln.Addr().String()+`
}
http://localhost:{$PORT2} {
	rbac {
		anyone {
			allow * /*
		}
	}
	respond "no php"
}
http://localhost:{$PORT3} {
	rbac {
		anyone {
			allow * /*
			deny * /admin/*
		}
	}
	reverse_proxy `+ln.Addr().String()+` {
		transport fastcgi {
			root app
			split .php5
		}
	}
}`)
	for _, name := range []string{"index.php", "app.php", "remote.php", "admin/index.php", "hidden/index.php"} {
		s.WriteFile("app/"+name, "")
	}
	s.Run()
	s.Wait()
	for _, tc := range []struct {
		port, path string
		status     int
	}{
		{"PORT", "/", 200},
		{"PORT", "/orders/7", 200},
		{"PORT", "/index.php", 200},
		{"PORT", "/app.php?x=1", 200},
		{"PORT", "/admin/users", 401},
		{"PORT", "/admin/", 401},
		{"PORT", "/admin/index.php", 401},
		{"PORT", "/index.php/admin/users", 400},
		{"PORT", "/app.php/admin/users", 400},
		{"PORT", "/index.php/", 400},
		{"PORT", "/INDEX.PHP/admin/users", 400},
		{"PORT", "/index.phpx/admin/users", 400},
		{"PORT", "/none.php/admin/users", 400},
		{"PORT", "/x/index.php/admin", 400},
		{"PORT", "/index.php/index.php", 400},
		{"PORT", "/index.phpx.php", 400},
		{"PORT", "/guide.php.html", 200},
		{"PORT", "/remote.php/dav/files", 200},
		{"PORT", "/remote.php/admin/users", 401},
		{"PORT", "/remote.php", 200},
		{"PORT", "/hidden/", 401},
		{"PORT", "/hidden/index.php", 401},
		{"PORT2", "/index.php/admin/users", 200},
		{"PORT2", "/a.php/b", 200},
		{"PORT3", "/x.php5/admin/users", 400},
		{"PORT3", "/x.php/admin/users", 200},
	} {
		a := s.Get(tc.port, tc.path)
		if a.StatusCode != tc.status || tc.status == 400 && a.Code() != "ambiguous_path" {
			t.Errorf("%s %s: got %d %s; want %d", tc.port, tc.path, a.StatusCode, a.Body, tc.status)
		}
		if strings.Contains(a.Body, "info /admin") {
			t.Errorf("%s %s: reached %s", tc.port, tc.path, a.Body)
		}
	}
}

// TestTrailersAreNoHeaders sends fields in the trailer section, announced and
// not, which servers may take for fields of the header.
func TestTrailersAreNoHeaders(t *testing.T) {
	seen := make(chan http.Header, 1)
	back := harness.Upstream(t, func(_ http.ResponseWriter, r *http.Request) {
		var buf [1 << 10]byte
		for {
			if _, err := r.Body.Read(buf[:]); err != nil {
				break
			}
		}
		seen <- r.Trailer.Clone()
	})
	s := harness.Start(t, `http://localhost:{$PORT} {
	jwt_auth {
		key HS256 {env.SECRET}
		audience a
		from header X-Partner-Key
		forward /sub X-Owner
		optional
	}
	rbac {
		anyone {
			allow * /open
		}
	}
	reverse_proxy `+back+`
}
http://localhost:{$PORT2} {
	rbac {
		anyone {
			allow * /* when `+"`headers[\"x-tenant\"] == \"a\"`"+`
		}
	}
	reverse_proxy `+back+`
}`, "SECRET="+strings.Repeat("s", 32))
	const fields = "X-Sum: 1\r\nX-Owner: root\r\nX_Owner: root\r\nX-Partner-Key: k\r\nAuthorization: Bearer x\r\nCookie: a=b\r\n" +
		"X-HTTP-Method-Override: DELETE\r\nX-Tenant: b\r\nX-Forwarded-For: 1.2.3.4\r\nHost: other\r\n"
	for port, want := range map[string]string{"PORT": "X-Sum", "PORT2": ""} {
		for _, announced := range []string{"X-Sum", "X-Sum, X-Owner, X-Partner-Key, X-Tenant, X-HTTP-Method-Override, Authorization, Cookie"} {
			a := harness.Raw(t, s.Addr(port), "POST /open HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-Tenant: a\r\nTransfer-Encoding: chunked\r\nTrailer: "+announced+"\r\n\r\n1\r\nx\r\n0\r\n"+fields+"\r\n")
			if a.StatusCode != http.StatusOK {
				t.Fatalf("%s: got %d %s", announced, a.StatusCode, a.Body)
			}
			trailer := <-seen
			var names []string
			for name := range trailer {
				names = append(names, name)
			}
			if got := strings.Join(names, ","); got != want {
				t.Errorf("%s, announced %s: the upstream saw %v", port, announced, trailer)
			}
		}
	}
}
