package rbac

import (
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/fileserver"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy/fastcgi"

	"github.com/caddy-moat/caddy-moat/modules/internal/access/policy"
	"github.com/caddy-moat/caddy-moat/modules/internal/access/requestpath"
	"github.com/caddy-moat/caddy-moat/modules/internal/routetree"
)

// errScript refuses a path that goes on behind the name of a script.
const errScript requestpath.Error = "the path goes on behind the name of a script"

// scripts says how the paths of a site become scripts, where it has some: with
// php_fastcgi, /index.php/admin/users is the page /admin/users of the
// script /index.php, as /admin/users itself is where no such file exists.
type scripts struct {
	endings []string // of their names, in lower case: .php
	indexes []string // scripts that stand for their directory: index.php
}

// scripts returns those of the site that the handler stands in. It is found out
// with the first request: when the handler is provisioned, the routes round it
// are not there yet.
func (h *Handler) scripts(r *http.Request) *scripts {
	srv, ok := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok || srv == nil {
		return nil
	}
	if s, ok := h.sites.Load(srv); ok {
		return s.(*scripts)
	}
	s := h.findScripts(srv)
	h.sites.Store(srv, s)
	return s
}

func (h *Handler) findScripts(srv *caddyhttp.Server) *scripts {
	all := &scripts{}
	for _, site := range srv.Routes {
		here := &scripts{}
		if here.collect(caddyhttp.RouteList{site}, srv.NamedRoutes, h) {
			return here
		}
		all.add(here.endings...)
		all.indexes = append(all.indexes, here.indexes...)
	}
	return all // the handler is somewhere that nobody knows of: in all sites
}

// collect adds the scripts of routes and reports whether h is in them.
func (s *scripts) collect(routes caddyhttp.RouteList, named map[string]*caddyhttp.Route, h *Handler) (found bool) {
	routetree.Walk[struct{}]{
		Enter: func(route caddyhttp.Route, _ struct{}) (none struct{}) {
			for _, set := range route.MatcherSets {
				for _, m := range set {
					s.index(m)
				}
			}
			return none
		},
		Handle: func(handler caddyhttp.MiddlewareHandler, _ struct{}) (none struct{}) {
			switch handler := handler.(type) {
			case *Handler:
				found = found || handler == h
			case *reverseproxy.Handler:
				if t, ok := handler.Transport.(*fastcgi.Transport); ok {
					s.add(t.SplitPath...)
				}
			case caddy.Module:
				// FrankenPHP's: it serves scripts itself.
				if handler.CaddyModule().ID == "http.handlers.php" {
					s.add(".php")
				}
			}
			return none
		},
		Aside: routetree.Everywhere[struct{}],
		Named: named,
	}.Follow(routes, struct{}{})
	return found
}

func (s *scripts) add(endings ...string) {
	for _, ending := range endings {
		if ending = strings.ToLower(ending); ending != "" && !slices.Contains(s.endings, ending) {
			s.endings = append(s.endings, ending)
		}
	}
}

// index notes the files that try_files looks for in a directory.
func (s *scripts) index(matcher any) {
	m, ok := matcher.(*fileserver.MatchFile)
	if !ok {
		return
	}
	for _, file := range m.TryFiles {
		if name, ok := strings.CutPrefix(file, "{http.request.uri.path}/"); ok && name != "" && !strings.Contains(name, "/") && !slices.Contains(s.indexes, name) {
			s.indexes = append(s.indexes, name)
		}
	}
}

// split returns where the path goes on behind the first script in it: at least
// a slash. It returns an error if where a script ends depends on who looks.
func (s *scripts) split(path string) (script, info string, err error) {
	lower := strings.Map(func(c rune) rune { // as the transport compares: ASCII alone
		if 'A' <= c && c <= 'Z' {
			return c + 'a' - 'A'
		}
		return c
	}, path)
	for _, ending := range s.endings {
		for from := 0; ; {
			i := strings.Index(lower[from:], ending)
			if i < 0 {
				break
			}
			end := from + i + len(ending)
			rest := path[end:]
			switch {
			case rest == "":
			case rest[0] == '/':
				return path[:end], rest, nil
			case strings.Contains(rest, "/") || slices.ContainsFunc(s.endings, func(e string) bool { return strings.HasSuffix(lower, e) }):
				// The transport splits in the middle of a name.
				return "", "", errScript
			}
			from = end
		}
	}
	return "", "", nil
}

// readings returns what else a path can be served as. script is set where the
// path goes on behind one, which a rule must name then.
func (s *scripts) readings(main reading) (others []reading, script string, err error) {
	if s == nil || len(s.endings) == 0 {
		return nil, "", nil
	}
	script, info, err := s.split(main.path)
	if err != nil {
		return nil, "", err
	}
	if script != "" {
		others = append(others, reading{main.method, info, true})
	}
	for _, index := range s.indexes {
		if dir, ok := strings.CutSuffix(main.path, "/"+index); ok {
			others = append(others, reading{main.method, dir + "/", true})
		} else if strings.HasSuffix(main.path, "/") {
			others = append(others, reading{main.method, main.path + index, true})
		}
	}
	return others, script, nil
}

// names reports whether a rule that allows names the script, so that what
// follows it is a path of that script's and no second reading of another:
// /remote.php/*.
func names(pol *policy.Policy, script string) bool {
	return slices.ContainsFunc(pol.Rules(), func(r *policy.Rule) bool { return r.Allow && strings.HasPrefix(r.Line.Path, script+"/") })
}
