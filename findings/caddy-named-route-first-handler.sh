#!/usr/bin/env bash
# Caddy: a named route whose directives have no matcher keeps only the first of
# them; give one of them a matcher and all are there.
#
# Versions: github.com/caddyserver/caddy/v2 v2.11.9, with its standard modules.
#
# Guess: `&(name) { … }` holds all its directives, in the order in which a site
#   block would have them, and `invoke name` runs them.
# Behaviour: the adapter makes a subroute of the block, merges neighbouring
#   routes without matchers into one, and, if one route without matcher is left,
#   copies the first handler of it instead of all. Neither `caddy adapt` nor
#   `caddy validate` says a word: a site whose named route is
#   `header …` + `respond …` answers an empty 200. A block that has a matcher
#   anywhere, or that is wrapped in `route { … }`, is kept whole.
# Matters: a directive that is put into a named route may not be in the
#   configuration at all. Wrap the block in `route`, and look at the adapted JSON.
#
# Output seen:
#   plain site block:           headers headers static_response
#   named route:                headers
#   named route, one matcher:   headers headers static_response
#   named route around route{}: headers headers static_response
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
GOBIN=$work go install github.com/caddyserver/caddy/v2/cmd/caddy@v2.11.9
export HOME=$work XDG_CONFIG_HOME=$work XDG_DATA_HOME=$work

plain='header X-A a
header X-B b
respond hello'
matched='header X-A a
header X-B b
respond /* hello'

# The handlers of an adapted Caddyfile that do something themselves, in order.
handlers() {
	./caddy adapt --config /dev/stdin --adapter caddyfile 2>log | grep -o '"handler":"[a-z_]*"' |
		cut -d'"' -f4 | grep -vx -e invoke -e subroute | sort | paste -sd' '
}
named() { printf '&(x) {\n%s\n}\n:8080 {\n\tinvoke x\n}\n' "$1" | handlers; }

site=$(printf ':8080 {\n%s\n}\n' "$plain" | handlers)
bare=$(named "$plain")
match=$(named "$matched")
routed=$(named "route {
$plain
}")
echo "plain site block:           $site"
echo "named route:                $bare"
echo "named route, one matcher:   $match"
echo "named route around route{}: $routed"
all='headers headers static_response'
[ "$site" = "$all" ] && [ "$match" = "$all" ] && [ "$routed" = "$all" ] ||
	{ echo "changed: a block that was whole is not"; exit 1; }
[ "$bare" = headers ] || { echo "changed: a named route without matchers adapts to: $bare"; exit 1; }
