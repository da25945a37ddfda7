package rbac

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/caddy-moat/caddy-moat/modules/internal/access/requestpath"
	"github.com/caddy-moat/caddy-moat/modules/internal/query"
)

// overrides are the header fields by which common frameworks let a request be
// another than its request line says: true for those that name a path. Where
// a client sends one, the request has two readings, and is allowed if both
// are.
var overrides = map[string]bool{
	"x-http-method-override": false, "x-http-method": false, "x-method-override": false,
	"x-original-url": true, "x-rewrite-url": true,
}

// maxOverrides is how many of them a request may have. Every method goes with
// every path.
const maxOverrides = 3

// errOverrides refuses more.
const errOverrides requestpath.Error = "the request asks for too many other methods and paths"

// override reports whether a field name is one of the overrides and whether
// it names a path. Servers that hand fields on as variables cannot tell
// hyphens, underscores and dots apart, so neither does this.
func override(name string) (path, ok bool) {
	// Nearly all names end here, X-Forwarded-… among them.
	switch len(name) {
	case len("x-http-method"), len("x-original-url"), len("x-method-override"), len("x-http-method-override"):
	default:
		return false, false
	}
	if name[0]|0x20 != 'x' || name[2]|0x20 == 'f' {
		return false, false
	}
	var plain [len("x-http-method-override")]byte
	for i := range len(name) {
		c := name[i]
		switch {
		case c == '_' || c == '.':
			c = '-'
		case 'A' <= c && c <= 'Z':
			c |= 0x20
		}
		plain[i] = c
	}
	path, ok = overrides[string(plain[:len(name)])]
	return path, ok
}

// reading is a method and path that a request can be taken for.
type reading struct {
	method, path string

	// denyOnly is for a reading that need not be allowed, and must not be
	// denied by a rule.
	denyOnly bool
}

// readings returns what else a request can be taken for than main. An error
// means that a path in a field has itself two readings.
func readings(r *http.Request, main reading) ([]reading, error) {
	var methods, paths []string
	for name, values := range r.Header {
		path, ok := override(name)
		switch {
		case !ok:
		case path:
			paths = append(paths, values...)
		default:
			methods = append(methods, values...)
		}
	}
	if strings.ContainsAny(r.URL.RawQuery, "_%.+[") {
		methods = append(methods, queryMethods(r.URL.RawQuery)...)
	}
	if methods == nil && paths == nil {
		return nil, nil
	}
	if len(methods)+len(paths) > maxOverrides {
		return nil, errOverrides
	}
	for i := range methods {
		methods[i] = strings.ToUpper(strings.TrimSpace(methods[i]))
	}
	for i := range paths {
		u, err := url.ParseRequestURI(paths[i])
		if err != nil {
			return nil, requestpath.ErrForm
		}
		if paths[i], err = requestpath.Of(main.method, u); err != nil {
			return nil, err
		}
	}
	var all []reading
	for _, m := range append(methods, main.method) {
		for _, p := range append(paths, main.path) {
			if other := (reading{method: m, path: p}); other != main {
				all = append(all, other)
			}
		}
	}
	return all, nil
}

// queryMethods returns the methods that the parameter _method names. It reads
// as generously as anybody could: parameters may be separated by semicolons,
// one that is garbled does not spoil the others, and `_method[]`, `.method`
// and whatever else package query knows is one too.
func queryMethods(raw string) (methods []string) {
	for pair := range strings.FieldsFuncSeq(raw, func(c rune) bool { return c == '&' || c == ';' }) {
		name, value, _ := strings.Cut(pair, "=")
		if !query.CanMean(decoded(name), "_method") {
			continue
		}
		// Nobody takes an empty name for a method.
		if value = strings.TrimSpace(decoded(value)); value != "" {
			methods = append(methods, value)
		}
	}
	return methods
}

// decoded returns what a part of a query stands for, or the part itself.
func decoded(s string) string {
	if d, err := url.QueryUnescape(s); err == nil {
		return d
	}
	return s
}
