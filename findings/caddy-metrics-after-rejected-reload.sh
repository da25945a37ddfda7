#!/usr/bin/env bash
# Caddy: after a reload that was rejected, /metrics shows the configuration that
# was rejected, and what still serves is no longer counted anywhere.
#
# Versions: github.com/caddyserver/caddy/v2 v2.11.9, with its standard modules.
#
# Guess: a configuration that cannot be loaded leaves everything as it was, so
#   the counters of the running servers go on at the admin endpoint's /metrics.
# Behaviour: the registry of a configuration is made before its apps are
#   provisioned, and the admin endpoint keeps pointing at the newest one. After a
#   failed POST /load the series of the running handlers are gone from /metrics
#   while requests are still answered, until a configuration loads again. What an
#   alert sees of a bad deploy is therefore "no data" and not an error rate; only
#   caddy_config_last_reload_successful says what happened.
# Matters: do not build an alert on the absence of errors alone, and alert on
#   caddy_config_last_reload_successful == 0.
#
# Output seen:
#   before: 1 series of caddy_http_requests_total
#   load: rejected (400)
#   after: 0 series of caddy_http_requests_total, site answers 200
#   caddy_config_last_reload_successful 0
#   after a good load: 1 series of caddy_http_requests_total
set -euo pipefail
work=$(mktemp -d)
pid=
trap '[ -z "$pid" ] || kill "$pid" 2>/dev/null; wait 2>/dev/null; rm -rf "$work"' EXIT
cd "$work"
GOBIN=$work go install github.com/caddyserver/caddy/v2/cmd/caddy@v2.11.9
export HOME=$work XDG_CONFIG_HOME=$work XDG_DATA_HOME=$work

free() { node -e 'const s=require("net").createServer().listen(0,"127.0.0.1",()=>{console.log(s.address().port);s.close()})' 2>/dev/null ||
	python3 -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1",0)); print(s.getsockname()[1])'; }
admin=127.0.0.1:$(free)
site=127.0.0.1:$(free)
config() {
	printf '{"admin":{"listen":"%s"},"apps":{"http":{"metrics":{},"servers":{"s":{"listen":["%s"],"automatic_https":{"disable":true},"routes":[{"handle":[%s]}]}}}}}' "$admin" "$site" "$1"
}
good='{"handler":"static_response","body":"ok"}'
config "$good" >good.json
config '{"handler":"no_such_handler"}' >bad.json
./caddy run --config good.json >log 2>&1 &
pid=$!
for _ in $(seq 100); do curl -fs -o /dev/null "http://$site/" && break || sleep 0.1; done

series() { curl -fs "http://$admin/metrics" | grep -c '^caddy_http_requests_total' || true; }
load() { curl -s -o /dev/null -w '%{http_code}' -H 'Content-Type: application/json' --data-binary @"$1" "http://$admin/load"; }
fail() { echo "changed: $*"; exit 1; }

curl -fs -o /dev/null "http://$site/"
before=$(series)
echo "before: $before series of caddy_http_requests_total"
[ "$before" -ge 1 ] || fail "the running site is not counted"
code=$(load bad.json)
echo "load: rejected ($code)"
[ "$code" = 400 ] || fail "the load answered $code"
status=$(curl -s -o /dev/null -w '%{http_code}' "http://$site/")
after=$(series)
echo "after: $after series of caddy_http_requests_total, site answers $status"
[ "$status" = 200 ] && [ "$after" = 0 ] || fail "status $status, $after series"
curl -fs "http://$admin/metrics" | grep '^caddy_config_last_reload_successful 0' || fail "the failed reload is not shown"
[ "$(load good.json)" = 200 ] || fail "the good configuration does not load"
config '{"handler":"static_response","body":"ok again"}' >again.json
[ "$(load again.json)" = 200 ] || fail "a good configuration does not load"
curl -fs -o /dev/null "http://$site/"
last=$(series)
echo "after a good load: $last series of caddy_http_requests_total"
[ "$last" -ge 1 ] || fail "a good load does not bring the series back"
