package check

import (
	"reflect"
	"strings"

	"github.com/caddyserver/caddy/v2"
)

// packageOf reports whether the handler of that name is in a package below a
// path.
func packageOf(handler, path string) bool {
	info, err := caddy.GetModule("http.handlers." + handler)
	if err != nil {
		return false
	}
	t := reflect.TypeOf(info.New())
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return strings.HasPrefix(t.PkgPath(), strings.TrimSuffix(path, "/"))
}

// self is the path of this module.
func self() string {
	path, _, _ := strings.Cut(reflect.TypeFor[checker]().PkgPath(), "/modules/")
	return path
}
