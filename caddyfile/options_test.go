package caddyfile

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The kinds of options, by what they take.
const (
	flagOption     = "no arguments"
	oneOption      = "one argument, which must not be empty"
	listOption     = "one or more arguments, which must not be empty"
	blockOption    = "a block" // and what its own sentences say
	ownOption      = "its own" // arguments of several kinds
	wordOption     = "one argument: "
	durationOption = "one argument: a duration"
	sizeOption     = "one argument: a size"
	countOption    = "one argument: a number"
)

// written is an option of a directive as it is written, and what it takes.
type written struct {
	good string // a line that is accepted
	kind string
	bad  []string // values that are not, for wordOption and so on
	says string   // what is to be written instead
	many bool     // it may be repeated
}

// block is a directive or a block in one, with all its options.
type block struct {
	directive string
	around    []string // lines of the directive before the block that end in {
	before    []string // lines that the block needs besides
	options   []written
}

func flags(names ...string) (all []written) {
	for _, n := range names {
		all = append(all, written{good: n, kind: flagOption})
	}
	return all
}

// every are the options of every credential method.
var every = append(flags("optional", "preflight"),
	written{good: "forward sub X-User", kind: ownOption, many: true},
	written{good: "stream_expiry keep", kind: ownOption},
	written{good: "origin any", kind: listOption},
)

var holder = []written{
	{good: "user alice", kind: oneOption},
	{good: "roles a b", kind: listOption},
	{good: "scopes a b", kind: listOption},
	{good: "plan gold", kind: oneOption},
}

var ofIssuer = []written{
	{good: "jwks /etc/keys.json", kind: blockOption},
	{good: "key HS256 {env.KEY}", kind: ownOption, many: true},
	{good: "alb arn:aws:elasticloadbalancing:eu-central-1:123456789012:loadbalancer/app/web/50dc6c495c0c9188", kind: ownOption},
	{good: "audience a", kind: listOption},
	{good: "algorithms ES256", kind: listOption},
	{good: "typ JWT", kind: listOption},
	{good: "max_age 1h", kind: durationOption, bad: []string{"0s", "-1h", "10", "1KiB", "soon"}, says: "a duration above 0, such as 24h"},
	{good: "require /a b", kind: listOption, many: true},
	{good: "roles /roles", kind: listOption},
	{good: "scopes /scope", kind: listOption},
	{good: "subject /sub", kind: listOption},
}

var rules = []written{
	{good: "remove a", kind: ownOption, many: true},
	{good: "null a", kind: ownOption, many: true},
	{good: "replace x a", kind: ownOption, many: true},
	{good: "mask email a", kind: ownOption, many: true},
	{good: "keep 1 1 a", kind: ownOption, many: true},
	{good: "hash a", kind: ownOption, many: true},
	{good: "truncate 3 a", kind: ownOption, many: true},
	{good: "round 1 a", kind: ownOption, many: true},
	{good: "shift_dates 3 a", kind: ownOption, many: true},
	{good: "bucket 10 a", kind: ownOption, many: true},
	{good: "generalize month a", kind: ownOption, many: true},
	{good: "noise 3 a", kind: ownOption, many: true},
	{good: "encrypt a", kind: ownOption, many: true},
	{good: "tokenize digits a", kind: ownOption, many: true},
	{good: "fake name a", kind: ownOption, many: true},
	{good: "placeholder a", kind: ownOption, many: true}, // in requests
	{good: "detect email remove", kind: ownOption, many: true},
}

var size64M = []string{"0", "65MiB", "1h", "-1", "much"}

// blocks are all blocks of all directives.
var blocks = []block{
	{directive: "api_key_auth", before: []string{"store a", "pepper {env.P}"}, options: append([]written{
		{good: "store a", kind: oneOption},
		{good: "pepper {env.P}", kind: oneOption},
		{good: "from query key", kind: ownOption, many: true},
		{good: "realm x", kind: oneOption},
		{good: "last_used off", kind: wordOption, bad: []string{"on"}, says: "off"},
		{good: "strip", kind: flagOption},
	}, every...)},
	{directive: "jwt_auth", before: []string{"key HS256 {env.K}"}, options: slices.Concat([]written{
		{good: "issuer https://id.example.com", kind: blockOption, many: true},
	}, ofIssuer, []written{
		{good: "introspection {\nendpoint https://a\nclient_id b\nclient_secret c\n}", kind: blockOption},
		{good: "bind dpop", kind: ownOption},
		{good: "from cookie t", kind: ownOption, many: true},
		{good: "strip", kind: flagOption},
		{good: "realm x", kind: oneOption},
		{good: "leeway 30s", kind: durationOption, bad: []string{"-1s", "11m", "30", "1KiB"}, says: "a duration from 0s to 10m, such as 30s"},
		{good: "revocations /etc/revoked", kind: oneOption},
		{good: "resource https://api.example.com/mcp", kind: blockOption},
		{good: "cache 10", kind: countOption, bad: []string{"0", "10000001", "1h", "1.5"}, says: "a number of entries from 1 to 10000000, or off"},
	}, every)},
	{directive: "jwt_auth", around: []string{"issuer https://id.example.com {"}, options: ofIssuer},
	{directive: "jwt_auth", around: []string{"issuer internal {"}, options: append([]written{
		{good: "name https://me.example.com", kind: oneOption},
		{good: "rotate 24h", kind: durationOption, bad: []string{"23h", "90", "often"}, says: "a duration of at least 24h, such as 90d"},
		{good: "publish /keys", kind: oneOption},
	}, ofIssuer[3:]...)},
	{directive: "jwt_auth", around: []string{"jwks https://id.example.com/keys {"}, options: []written{
		{good: "header A b", kind: ownOption, many: true},
		{good: "ca a.pem", kind: oneOption},
	}},
	{
		directive: "jwt_auth", around: []string{"introspection {"}, before: []string{"endpoint https://a", "client_id b", "client_secret c"},
		options: []written{
			{good: "endpoint https://a", kind: oneOption},
			{good: "client_id a", kind: oneOption},
			{good: "client_secret a", kind: ownOption},
			{good: "cache 1m", kind: durationOption, bad: []string{"0s", "-1m", "10"}, says: "a duration above 0, such as 60s, or off"},
			{good: "issuer https://a", kind: oneOption},
			ofIssuer[3], ofIssuer[7], ofIssuer[8], ofIssuer[9], ofIssuer[10],
		},
	},
	{directive: "signature_auth", before: []string{"keys a"}, options: append([]written{
		{good: "key a ed25519 a.pem", kind: blockOption, many: true},
		{good: "keys a", kind: oneOption},
		{good: "directory https://bot.example.com", kind: blockOption, many: true},
		{good: "components @method", kind: listOption},
		{good: "parameters expires", kind: listOption},
		{good: "prohibit x", kind: listOption},
		{good: "label a", kind: oneOption},
		{good: "tag a", kind: oneOption},
		{good: "max_age 1m", kind: durationOption, bad: []string{"0s", "25h", "5"}, says: "a duration above 0 and up to 24h, such as 5m"},
		{good: "leeway 1m", kind: durationOption, bad: []string{"-1s", "11m", "5"}, says: "a duration from 0s to 10m, such as 30s"},
		{good: "replay nonce", kind: wordOption, bad: []string{"often"}, says: "signature, nonce, idempotency_key or off"},
		{good: "remember 10", kind: countOption, bad: []string{"0", "50000001", "1h"}, says: "a number of signatures from 1 to 50000000"},
		{good: "body 1KiB", kind: sizeOption, bad: size64M, says: "a size from 1B to 64MiB, such as 64KiB"},
		{good: "cavage date", kind: ownOption},
		{good: "sign_responses {\nkey a ed25519 b\n}", kind: blockOption},
		{good: "realm x", kind: oneOption},
		{good: "strip", kind: flagOption},
	}, every...)},
	{directive: "signature_auth", around: []string{"key a ed25519 a.pem {"}, options: holder},
	{directive: "signature_auth", around: []string{"directory https://bot.example.com {"}, options: append([]written{
		{good: "ca a.pem", kind: oneOption},
		{good: "signed", kind: flagOption},
	}, holder...)},
	{
		directive: "signature_auth", around: []string{"keys a", "sign_responses {"}, before: []string{"key a ed25519 b"},
		options: []written{
			{good: "key a ed25519 b", kind: ownOption},
			{good: "components @status", kind: listOption},
			{good: "label a", kind: oneOption},
			{good: "max_body 1KiB", kind: sizeOption, bad: size64M, says: "a size from 1B to 64MiB, such as 64KiB"},
		},
	},
	{directive: "client_cert_auth", options: append([]written{
		{good: "identity uri", kind: listOption},
		{good: "trust_domain a.example", kind: listOption},
		{good: "map a", kind: oneOption},
		{good: "allow_unmapped", kind: flagOption},
		{good: "pin sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", kind: listOption, many: true},
		{good: "roles a", kind: listOption},
		{good: "client_cert_header from 10.0.0.0/8", kind: ownOption},
		{good: "trust a.pem", kind: listOption},
		{good: "realm x", kind: oneOption},
	}, every...)},
	{directive: "webhook_auth", before: []string{"github {env.S}"}, options: append([]written{
		{good: "github {env.S}", kind: blockOption, many: true},
		{good: "stripe {env.S}", kind: blockOption, many: true},
		{good: "slack {env.S}", kind: blockOption, many: true},
		{good: "shopify {env.S}", kind: blockOption, many: true},
		{good: "standard {env.S}", kind: blockOption, many: true},
		{good: "svix {env.S}", kind: blockOption, many: true},
		{good: "leeway 1m", kind: durationOption, bad: []string{"0s", "2h", "5"}, says: "a duration above 0 and up to 1h, such as 5m"},
		{good: "replay 1h", kind: durationOption, bad: []string{"0s", "31d", "often"}, says: "a duration above 0 and up to 30d, such as 24h, or off"},
		{good: "max_body 1KiB", kind: sizeOption, bad: size64M, says: "a size from 1B to 64MiB, such as 1MiB"},
		{good: "realm x", kind: oneOption},
		{good: "strip", kind: flagOption},
	}, every...)},
	{directive: "webhook_auth", around: []string{"github {env.S} {"}, options: holder},
	{directive: "trusted_header_auth", before: []string{"user Remote-User"}, options: append([]written{
		{good: "user Remote-User", kind: oneOption},
		{good: "groups Remote-Groups", kind: ownOption},
		{good: "claim email Remote-Email", kind: ownOption, many: true},
		{good: "issuer x", kind: oneOption},
		{good: "realm x", kind: oneOption},
	}, every...)},
	{directive: "oidc_login https://id.example.com", before: []string{"client_id app"}, options: append([]written{
		{good: "client_id app", kind: oneOption},
		{good: "client_secret {env.S}", kind: ownOption},
		{good: "scopes email", kind: listOption},
		{good: "roles /roles", kind: listOption},
		{good: "userinfo", kind: flagOption},
		{good: "path /auth", kind: oneOption},
		{good: "idle 1h", kind: durationOption, bad: []string{"0s", "31d", "5"}, says: "a duration from 1m to 30d, such as 1h"},
		{good: "lifetime 12h", kind: durationOption, bad: []string{"0s", "31d", "often"}, says: "a duration from 1m to 30d, such as 12h"},
		{good: "acr_values 2", kind: listOption},
		{good: "after_logout /bye", kind: oneOption},
		{good: "ca ca.pem", kind: oneOption},
		{good: "realm x", kind: oneOption},
	}, every...)},
	{directive: "audit /tmp/x", options: []written{
		{good: "sync batch", kind: ownOption},
		{good: "on_failure refuse", kind: wordOption, bad: []string{"stop"}, says: "refuse or continue"},
		{good: "site x", kind: oneOption},
		{good: "record query", kind: ownOption, many: true},
		{good: "hash a", kind: listOption, many: true},
		{good: "mask a", kind: listOption, many: true},
		{good: "remove a", kind: listOption, many: true},
		{good: "path /a/*", kind: listOption, many: true},
		{good: "roll 64MiB", kind: oneOption, many: true, bad: []string{"1KiB", "1ms", "often"}, says: "a size of at least 64KiB, such as 64MiB, or a duration of at least 1s, such as 24h"},
		{good: "keep 180d", kind: durationOption, bad: []string{"0s", "-1h", "5"}, says: "a duration above 0, such as 24h"},
		{good: "sign a.pem", kind: ownOption},
		{good: "checkpoint 1h", kind: durationOption, bad: []string{"0s", "5"}, says: "a duration above 0, such as 24h"},
		{good: "origin a.example.com", kind: oneOption},
		{good: "witness https://witness.example.com witness.example.com/w1+04758baf+BIqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c", kind: ownOption, many: true},
		{good: "quorum 2", kind: countOption, bad: []string{"0", "-1", "most"}, says: "a number of witnesses of at least 1"},
		{good: "tiles /tmp/y", kind: oneOption},
		{good: "deliver file /tmp/z", kind: blockOption, many: true},
	}},
	{directive: "audit /tmp/x", around: []string{"deliver http https://a.example.com {"}, options: []written{
		{good: "name a", kind: oneOption},
		{good: "format ecs", kind: wordOption, bad: []string{"xml"}, says: "moat, ocsf, ecs or cef"},
		{good: "batch 10", kind: countOption, bad: []string{"0", "10001", "1h"}, says: "a number of records from 1 to 10000"},
		{good: "timeout 10s", kind: durationOption, bad: []string{"0s", "-1s", "10"}, says: "a duration above 0, such as 24h"},
		{good: "header A b", kind: ownOption, many: true},
		{good: "ca a.pem", kind: oneOption},
		{good: "from now", kind: wordOption, bad: []string{"then"}, says: "start or now"},
	}},
	{directive: "rbac", before: []string{"policy a"}, options: append([]written{
		{good: "role a {\nallow GET /\n}", kind: blockOption, many: true},
		{good: "scope a {\nallow GET /\n}", kind: blockOption, many: true},
		{good: "anyone {\nallow GET /\n}", kind: blockOption, many: true},
		{good: "authenticated {\nallow GET /\n}", kind: blockOption, many: true},
		{good: "user a roles b", kind: ownOption, many: true},
		{good: "policy a", kind: oneOption},
		{good: "max_body 1KiB", kind: sizeOption, bad: []string{"0", "17MiB", "1h"}, says: "a size from 1B to 16MiB, such as 64KiB"},
	}, flags("ignore_case", "repeated_variables", "dry_run")...)},
	{directive: "mcp", options: []written{
		{good: "origin any", kind: listOption},
		{good: "max_body 1KiB", kind: sizeOption, bad: size64M, says: "a size from 1B to 64MiB, such as 1MiB"},
		{good: "max_event 1KiB", kind: sizeOption, bad: size64M, says: "a size from 1B to 64MiB, such as 1MiB"},
	}},
	{directive: "validate openapi.yaml", options: append([]written{
		{good: "unenforced warn", kind: wordOption, bad: []string{"ignore"}, says: "warn"},
		{good: "base /v1 /v2", kind: listOption},
		{good: "max_body 1KiB", kind: sizeOption, bad: size64M, says: "a size from 1B to 64MiB, such as 1MiB"},
		{good: "max_depth 10", kind: countOption, bad: []string{"0", "513", "1h"}, says: "a number from 1 to 512"},
		{good: "max_values 10", kind: countOption, bad: []string{"0", "5000001", "1h"}, says: "a number from 1 to 5000000"},
		{good: "max_members 10", kind: countOption, bad: []string{"0", "5000001", "1h"}, says: "a number from 1 to 5000000"},
	}, flags("open", "preflight", "dry_run")...)},
	{directive: "validate_responses", options: []written{
		{good: "max_values 10", kind: countOption, bad: []string{"0", "5000001", "1h"}, says: "a number from 1 to 5000000"},
		{good: "max_body 1KiB", kind: sizeOption, bad: size64M, says: "a size from 1B to 64MiB, such as 1MiB"},
	}},
	{directive: "jwt_auth", around: []string{"resource https://api.example.com/mcp {"}, options: append([]written{
		{good: "authorization_servers https://a.example https://b.example", kind: listOption},
		{good: "scopes a b", kind: listOption},
		{good: "name Orders", kind: oneOption},
		{good: "documentation https://a.example/docs", kind: oneOption},
		{good: "policy https://a.example/policy", kind: oneOption},
		{good: "terms https://a.example/terms", kind: oneOption},
		{good: "metadata https://a.example/metadata", kind: oneOption},
	}, flags("pass_token")...)},
	{directive: "redact", before: []string{"remove zz"}, options: slices.Concat(rules, []written{
		{good: "except role a {\nremove b\n}", kind: blockOption, many: true},
		{good: "only role a {\nremove b\n}", kind: blockOption, many: true},
		{good: "requests {\nremove b\n}", kind: blockOption},
		{good: "unreadable block", kind: wordOption, bad: []string{"drop"}, says: "block or pass"},
		{good: "pass text/html", kind: listOption, many: true},
		{good: "hold 1KiB", kind: sizeOption, bad: []string{"65MiB", "1h"}, says: "a size from 1B to 64MiB, such as 64KiB, or off"},
		{good: "max_depth 10", kind: countOption, bad: []string{"0", "100001", "1h"}, says: "a number of levels from 1 to 100000"},
		{good: "max_value 1KiB", kind: sizeOption, bad: size64M, says: "a size from 1B to 64MiB, such as 64KiB"},
		{good: "max_event 1KiB", kind: sizeOption, bad: size64M, says: "a size from 1B to 64MiB, such as 64KiB"},
		{good: "hide_errors", kind: flagOption},
		{good: "websocket allow", kind: wordOption, bad: []string{"drop"}, says: "block or allow"},
		{good: "etag drop", kind: wordOption, bad: []string{"keep"}, says: "drop or seal"},
		{good: "graphql_names block", kind: wordOption, bad: []string{"drop"}, says: "allow or block"},
		{good: "xssi_prefix", kind: ownOption},
		{good: "hash_key {env.K}", kind: oneOption},
		{good: "encrypt_key {env.K}", kind: ownOption, many: true},
		{good: "sm4_key {env.K}", kind: ownOption, many: true},
		{good: "tokenize_key {env.K}", kind: ownOption, many: true},
	})},
	{directive: "redact", around: []string{"requests {"}, before: []string{"remove zz"}, options: slices.Concat(rules, []written{
		{good: "except role a {\nremove b\n}", kind: blockOption, many: true},
		{good: "only role a {\nremove b\n}", kind: blockOption, many: true},
		{good: "pass text/html", kind: listOption, many: true},
		{good: "match_case", kind: flagOption},
		{good: "max_body 1KiB", kind: sizeOption, bad: size64M, says: "a size from 1B to 64MiB, such as 64KiB"},
	})},
	{directive: "redact", around: []string{"except role a {"}, options: rules},
	{directive: "flood_limit", before: []string{"zone z {\nevents 1\nwindow 1m\n}"}, options: []written{
		{good: "zone a {\nevents 1\nwindow 1m\n}", kind: blockOption, many: true},
		{good: "distributed", kind: blockOption},
		{good: "storage file_system /tmp", kind: blockOption},
		{good: "jitter 0.2", kind: oneOption},
		{good: "sweep_interval 1m", kind: durationOption, bad: []string{"0s", "often"}, says: "a duration above 0, such as 1m"},
		{good: "log_key", kind: flagOption},
	}},
	{directive: "flood_limit", around: []string{"zone a {"}, options: []written{
		{good: "key {client_ip}", kind: oneOption},
		{good: "window 1m", kind: durationOption, bad: []string{"0s", "10"}, says: "a duration above 0, such as 1m"},
		{good: "events 1", kind: countOption, bad: []string{"0", "-1", "many"}, says: "a number of requests of at least 1"},
		{good: "match {\nmethod GET\n}", kind: blockOption, many: true},
	}},
	{directive: "flood_limit", around: []string{"distributed {"}, options: []written{
		{good: "read_interval 1m", kind: durationOption, bad: []string{"0s"}, says: "a duration above 0, such as 1m"},
		{good: "write_interval 1m", kind: durationOption, bad: []string{"0s"}, says: "a duration above 0, such as 1m"},
		{good: "purge_age 1m", kind: durationOption, bad: []string{"0s"}, says: "a duration above 0, such as 1m"},
	}},
	{directive: "breaker", options: []written{
		{good: "window 20s", kind: durationOption, bad: []string{"0s", "2h", "5"}, says: "a duration from 100ms to 1h, such as 10s"},
		{good: "volume 10", kind: countOption, bad: []string{"0", "1000001", "x"}, says: "a number of requests from 1 to 1000000"},
		{good: "errors 10", kind: countOption, bad: []string{"0", "101", "50%"}, says: "a number of percent from 1 to 100"},
		{good: "slow 2s", kind: durationOption, bad: []string{"0s", "2h"}, says: "a duration from 100ms to 1h, such as 10s"},
		{good: "open 2s", kind: durationOption, bad: []string{"0s", "2h"}, says: "a duration from 100ms to 1h, such as 10s"},
		{good: "max_open 20s", kind: durationOption, bad: []string{"0s", "2h"}, says: "a duration from 100ms to 1h, such as 10s"},
		{good: "probe 2s", kind: durationOption, bad: []string{"0s", "2h"}, says: "a duration from 100ms to 1h, such as 10s"},
	}},
	{directive: "access", before: []string{"deny country DE"}, options: []written{
		{good: "deny 192.0.2.1 2001:db8::/32 private_ranges ./list.txt", kind: ownOption, many: true},
		{good: "allow file list", kind: ownOption, many: true},
		{good: "exempt asn AS64500", kind: ownOption, many: true},
		{good: "by peer", kind: wordOption, bad: []string{"remote", "Peer"}, says: "client or peer"},
		{good: "database a.mmdb", kind: listOption, many: true},
	}},
	{directive: "caller_access", before: []string{"deny api_key 1"}, options: []written{
		{good: "deny caller basic alice", kind: ownOption, many: true},
		{good: "allow api_key a b", kind: ownOption, many: true},
		{good: "exempt file list", kind: ownOption, many: true},
	}},
	{directive: "token_server", before: []string{"clients a.jsonl", "users a.jsonl"}, options: []written{
		{good: "users a.jsonl", kind: oneOption},
		{good: "refresh_lifetime 7d", kind: durationOption, bad: []string{"0s", "59m", "366d"}, says: "a duration from 1h to 365d, such as 30d"},
		{good: "issuer https://id.example.com", kind: oneOption},
		{good: "clients a.jsonl", kind: oneOption},
		{good: "token_lifetime 5m", kind: durationOption, bad: []string{"0s", "1s", "25h", "5"}, says: "a duration from 1m to 24h, such as 15m"},
		{good: "rotate 48h", kind: durationOption, bad: []string{"1h", "x"}, says: "a duration of at least 24h, such as 30d"},
	}},
	{directive: "guard", before: []string{"trap /.env"}, options: []written{
		{good: "trap /.git/*", kind: blockOption, many: true},
		{good: "allow 192.0.2.0/24", kind: listOption, many: true},
		{good: "rule a {\ncount 404 by address\nover 20 in 1m\nalert\n}", kind: blockOption, many: true},
		{good: "webhook https://a.example {env.S}", kind: ownOption, many: true},
		{good: "zone a", kind: oneOption},
		{good: "max_keys 10", kind: countOption, bad: []string{"0", "10000001", "1h"}, says: "a number of keys from 1 to 10000000"},
		{good: "ban_private", kind: flagOption},
		{good: "dry_run", kind: flagOption},
	}},
	{directive: "guard", around: []string{"rule a {"}, before: []string{"count 404 by address", "over 20 in 1m", "ban 1h"}, options: []written{
		{good: "count 404 by address", kind: ownOption},
		{good: "over 20 in 1m", kind: ownOption},
		{good: "learn", kind: flagOption},
		{good: "path /a/*", kind: listOption},
		{good: "except role a", kind: ownOption},
		{good: "alert", kind: flagOption},
		{good: "slow 2s for 1h", kind: ownOption},
		{good: "ban 10m 1h", kind: ownOption},
	}},
	{directive: "token_budget", before: []string{"limit 10 per minute"}, options: []written{
		{good: "limit 10 per day", kind: ownOption, many: true},
		{good: "plan gold {\nlimit 10 per day\n}", kind: blockOption, many: true},
		{good: "by {http.auth.user.plan}", kind: oneOption},
		{good: "usage /usage/total_tokens", kind: ownOption, many: true},
		{good: "reserve 10", kind: countOption, bad: []string{"0", "-1", "+1", "1e3", "1KiB", "k", "99999999999M"}, says: "a number of tokens of at least 1, such as 100000, 100k or 2M"},
		{good: "zone a", kind: oneOption},
		{good: "max_callers 10", kind: countOption, bad: []string{"0", "10000001", "1h"}, says: "a number of callers from 1 to 10000000"},
	}},
}

// site is a Caddyfile with that line in the block, and the line's number.
func (b block) site(text string) (caddyfile string, line int) {
	lines := append([]string{":80", b.directive + " {"}, b.around...)
	name, _, _ := strings.Cut(text, " ")
	for _, need := range b.before {
		if other, _, _ := strings.Cut(need, " "); other != name || b.repeats(name) {
			lines = append(lines, strings.Split(need, "\n")...)
		}
	}
	lines = append(lines, text)
	line = len(lines)
	open := strings.Count(strings.Join(lines, " "), " {") - strings.Count(strings.Join(lines, "\n"), "\n}")
	return strings.Join(lines, "\n") + strings.Repeat("\n}", open), line
}

func (b block) repeats(name string) bool {
	return slices.ContainsFunc(b.options, func(o written) bool { return o.name() == name && o.many })
}

func (o written) name() string {
	name, _, _ := strings.Cut(o.good, " ")
	return name
}

// TestSameMistakeHasSameSentence makes every mistake with every option of every
// directive, and asks for one sentence with the file and the line.
func TestSameMistakeHasSameSentence(t *testing.T) {
	for _, b := range blocks {
		where := strings.Join(append([]string{b.directive}, b.around...), " ")
		refused := func(text string, extra int, want string) {
			t.Helper()
			site, line := b.site(text)
			_, err := adapt(t, site)
			at := fmt.Sprintf(", at Caddyfile:%d", line+extra)
			if err == nil || !strings.Contains(err.Error(), want) || !strings.HasSuffix(err.Error(), at) {
				t.Errorf("%s: %s\ngot  %v\nwant … %s%s", where, text, err, want, at)
			}
		}
		for _, o := range b.options {
			name := o.name()
			for _, bad := range o.bad {
				refused(name+" "+bad, 0, fmt.Sprintf(": %s '%s': write %s", name, bad, o.says))
			}
			switch o.kind {
			case flagOption:
				refused(name+" yes", 0, fmt.Sprintf(": %s takes no arguments", name))
			case oneOption:
				refused(name, 0, fmt.Sprintf(": %s takes %s", name, o.kind))
				refused(name+` ""`, 0, fmt.Sprintf(": %s takes %s", name, o.kind))
				refused(o.good+" more", 0, fmt.Sprintf(": %s takes %s", name, o.kind))
			case listOption:
				refused(name, 0, fmt.Sprintf(": %s takes %s", name, o.kind))
			case wordOption, durationOption, sizeOption, countOption:
				refused(name, 0, fmt.Sprintf(": %s takes one argument: %s", name, o.says))
				refused(o.good+" more more", 0, fmt.Sprintf(": %s takes ", name))
			}
			if o.kind != blockOption {
				refused(o.good+" {\nmore\n}", 1, ": a block is not expected here: 'more'")
				refused(o.good+" {\n}", 1, ": a block is not expected here: '}'")
			}
			if !o.many {
				first := strings.Split(o.good, "\n")
				refused(o.good+"\n"+o.good, len(first), fmt.Sprintf(": %s already specified", name))
			}
		}
		b.complete(t, where)
	}
}

var lists = regexp.MustCompile(`(?:; it has|It has) ([a-z0-9_, ]+) and ([a-z0-9_]+), at Caddyfile`)

// complete compares the options of the table with those that the block has.
func (b block) complete(t *testing.T, where string) {
	t.Helper()
	site, line := b.site("nonsense_option")
	_, err := adapt(t, site)
	if err == nil || !strings.Contains(err.Error(), "unrecognized subdirective 'nonsense_option' in ") || !strings.HasSuffix(err.Error(), fmt.Sprintf("Caddyfile:%d", line)) {
		t.Errorf("%s: unknown option: got %v", where, err)
		return
	}
	m := lists.FindStringSubmatch(err.Error())
	if m == nil {
		t.Errorf("%s: the options are not listed: %v", where, err)
		return
	}
	has := append(strings.Split(m[1], ", "), m[2])
	var tried []string
	for _, o := range b.options {
		tried = append(tried, o.name())
	}
	slices.Sort(has)
	slices.Sort(tried)
	if !slices.Equal(has, tried) {
		t.Errorf("%s has the options\n%v and the table above, to which new ones are added,\n%v", where, has, tried)
	}
}
