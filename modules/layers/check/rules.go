package check

import (
	"slices"

	"github.com/caddy-moat/caddy-moat/modules/internal/findings"
)

// rules are what is looked for. An ID and a name are never given to something
// else: comments and baselines name them.
var rules = []findings.Rule{
	rule("MOAT-100", "start_refused", findings.Error, "the server refuses to start with this configuration"),

	// The order of the layers.
	rule("MOAT-101", "layer_unreachable", findings.Error, "no request reaches a layer, since something before it responds to all"),
	rule("MOAT-102", "named_route_dropped", findings.Warning, "nothing invokes a named route", "&(name) {", "\troute {", "\t\t…", "\t}", "}"),
	rule("MOAT-103", "foreign_authenticator", findings.Warning, "another plugin may set another caller behind ours"),
	rule("MOAT-104", "error_route_bypass", findings.Warning, "handle_errors hands rejected requests to the application, past the layers", "handle_errors {", "\trewrite /error.html", "\tfile_server", "}"),
	rule("MOAT-105", "two_identities", findings.Error, "a request would have two identities"),
	rule("MOAT-106", "rewrite_behind_rbac", findings.Warning, "a client chooses another path or method after rbac has decided"),
	rule("MOAT-107", "redact_over_files", findings.Warning, "redact stands before pages that it cannot read"),
	rule("MOAT-108", "matcher_before_identity", findings.Warning, "a matcher looks at the caller before anything authenticates"),
	rule("MOAT-109", "unknown_handler_first", findings.Note, "a handler of another plugin meets requests before they are authenticated"),

	// Who is calling.
	rule("MOAT-110", "optional_undecided", findings.Warning, "authentication is optional and no rbac follows", "rbac {", "\tauthenticated {", "\t\tallow * /*", "\t}", "}"),
	rule("MOAT-111", "header_spoofable", findings.Warning, "a client can send a header that carries the identity to an upstream"),
	rule("MOAT-112", "audience_missing", findings.Warning, "an issuer's tokens are accepted whatever service they were issued for", "audience <the name of this API at the issuer>"),
	rule("MOAT-113", "header_never_arrives", findings.Warning, "Caddy removes a header that an option names"),
	rule("MOAT-114", "credential_never_arrives", findings.Warning, "Caddy removes the header that a credential stands in"),
	rule("MOAT-115", "forward_auth_missing", findings.Error, "fields are awaited that no forward_auth copies"),
	rule("MOAT-116", "forward_auth_unheard", findings.Warning, "only forward_auth asks who is calling, and rbac does not hear the answer"),
	rule("MOAT-117", "user_without_source", findings.Error, "a rule names a user of whom several issuers may speak"),
	rule("MOAT-118", "client_cert_connections", findings.Error, "connections are made such that client certificates cannot be believed"),
	rule("MOAT-119", "claim_name_separated", findings.Warning, "a claim's name has a separator in it and is probably a pointer"),
	rule("MOAT-120", "clear_text_http", findings.Warning, "keys, tokens or secrets are fetched or sent without TLS"),
	rule("MOAT-121", "alb_missing", findings.Warning, "a load balancer's header is read without saying whose it is"),
	rule("MOAT-122", "secret_published", findings.Warning, "a secret is an example that everybody knows", "# in a shell: openssl rand -base64 64", "key HS256 {env.JWT_SECRET}"),
	rule("MOAT-123", "secret_weak", findings.Warning, "a secret can be guessed", "# in a shell: openssl rand -base64 64", "key HS256 {env.JWT_SECRET}"),
	rule("MOAT-124", "secret_written_out", findings.Warning, "a secret is written out in the configuration", "{env.NAME} or {file./run/secrets/name}"),
	rule("MOAT-125", "issuer_unchecked", findings.Warning, "tokens of any issuer are accepted that the key verifies", "issuer https://id.example.com {", "\t…", "}"),
	rule("MOAT-126", "token_lifetime", findings.Note, "tokens may be as old as their issuer likes", "max_age 12h"),
	rule("MOAT-127", "leeway_wide", findings.Warning, "expired credentials stay good for long", "leeway 30s"),
	rule("MOAT-128", "symmetric_key", findings.Note, "whoever verifies tokens can also sign them", "key ES256 /etc/moat/issuer-public.pem"),
	rule("MOAT-129", "credential_in_query", findings.Warning, "a credential in the query gets into logs, histories and referrers", "from header Authorization Bearer"),
	rule("MOAT-130", "cookie_any_origin", findings.Warning, "other sites can make a browser send a request with the cookie", "origin https://app.example.com"),
	rule("MOAT-131", "replay_accepted", findings.Warning, "a signed request can be sent a second time"),
	rule("MOAT-132", "streams_kept", findings.Note, "streams go on when the right to them has ended", "# stream_expiry keep"),
	rule("MOAT-133", "resource_metadata_unreachable", findings.Warning, "clients cannot fetch the metadata of a resource"),

	// What callers may do.
	rule("MOAT-139", "matcher_unknown_name", findings.Warning, "a matcher names a role that nobody can have"),
	rule("MOAT-140", "rbac_closed", findings.Error, "rbac would refuse every request", "jwt_auth {", "\tissuer   https://id.example.com", "\taudience <the name of this API at the issuer>", "}"),
	rule("MOAT-141", "rbac_closed_dry_run", findings.Warning, "without dry_run rbac would refuse every request"),
	rule("MOAT-142", "rbac_unknown_name", findings.Warning, "a role or scope is named that nobody can have"),
	rule("MOAT-143", "rbac_repeated", findings.Warning, "two rbac decide about the same requests"),
	rule("MOAT-144", "anyone_behind_authentication", findings.Warning, "rules for anyone stand behind authentication that lets nobody anonymous pass"),
	rule("MOAT-145", "rbac_dry_run", findings.Warning, "rbac decides and nothing follows from it"),
	rule("MOAT-146", "rbac_rule", findings.Warning, "a rule decides nothing, or is probably mistyped"),
	rule("MOAT-147", "rbac_missing", findings.Warning, "whoever has a credential may do everything", "rbac {", "\trole <name> {", "\t\tallow GET /orders/*", "\t}", "}"),
	rule("MOAT-148", "mcp_without_rules", findings.Warning, "whoever may send a request may call every tool"),
	rule("MOAT-149", "mcp_rules_unread", findings.Error, "there are rules for tools and nothing reads the calls"),

	// What callers see.
	rule("MOAT-150", "redact_without_identity", findings.Warning, "redact has rules for callers and nothing authenticates"),
	rule("MOAT-151", "redact_passes_unreadable", findings.Warning, "a response that redact cannot read leaves as it is", "unreadable block"),
	rule("MOAT-152", "redact_unknown_name", findings.Warning, "redact names a role or scope that nobody can have"),

	// Whom lists let in.
	rule("MOAT-153", "access_empty_list", findings.Warning, "a list has no entries"),
	rule("MOAT-154", "access_lists_all", findings.Warning, "a list of who is let in has every address"),
	rule("MOAT-155", "access_shadowed", findings.Warning, "what allow lists is in deny, which is stronger"),
	rule("MOAT-156", "callers_unknown", findings.Error, "callers are listed and nothing authenticates"),
	rule("MOAT-157", "no_address", findings.Error, "lists of addresses are for connections without an address"),
	rule("MOAT-158", "client_address_forgeable", findings.Error, "a list lets in or rejects by an address that each client can choose", "trusted_proxies static <addresses of your load balancer>"),
	rule("MOAT-159", "client_address_leftmost", findings.Warning, "a list lets in or rejects by an address that a client may write itself", "trusted_proxies_strict"),
	rule("MOAT-169", "client_address_of_proxy", findings.Warning, "a list is probably asked about the address of a proxy"),

	// How often.
	rule("MOAT-160", "rate_limit_without_zone", findings.Error, "a rate limit has no zone"),
	rule("MOAT-161", "rate_limit_one_key", findings.Warning, "all callers share one bucket", "key {http.moat.caller}"),
	rule("MOAT-162", "rate_limit_unknown_key", findings.Warning, "nothing sets the key of a limit", "key {http.moat.caller}"),
	rule("MOAT-163", "rate_limit_shared_by_anonymous", findings.Warning, "anonymous callers share one bucket", "key {http.moat.caller}"),
	rule("MOAT-164", "rate_limit_unauthenticated", findings.Warning, "a limit is keyed by the user and nothing authenticates", "key {client_ip}"),
	rule("MOAT-165", "flood_limit_missing", findings.Note, "nothing limits how many credentials one address may try", "flood_limit {", "\tzone by_address {", "\t\tkey    {client_ip}", "\t\tevents 100", "\t\twindow 10s", "\t}", "}"),
	rule("MOAT-166", "rate_limit_counts_discovery", findings.Warning, "a limit counts server/discover of an MCP server", "match {", "\tvars {http.mcp.method} tools/call", "}"),

	// Who is banned.
	rule("MOAT-134", "guard_callers_unknown", findings.Warning, "guard bans callers and nothing asks whether one is banned"),
	rule("MOAT-135", "guard_variable_unknown", findings.Warning, "guard counts a variable that no path has"),
	rule("MOAT-136", "guard_address_forgeable", findings.Error, "any client can have others banned", "trusted_proxies static <addresses of your load balancer>"),
	rule("MOAT-137", "guard_address_chosen", findings.Warning, "a client chooses the address that guard counts", "trusted_proxies_strict"),
	rule("MOAT-138", "guard_proxy_addresses", findings.Warning, "every client has the address of the proxy, which guard never bans", "{", "\tservers {", "\t\ttrusted_proxies static <addresses of your load balancer>", "\t\ttrusted_proxies_strict", "\t}", "}"),

	// What requests and responses look like.
	rule("MOAT-167", "contract_without_identity", findings.Warning, "an OpenAPI document demands credentials and nothing asks for them"),
	rule("MOAT-168", "responses_without_contract", findings.Error, "responses are validated by no document", "validate /etc/moat/openapi.yaml"),

	// What remains of it.
	rule("MOAT-170", "audit_missing", findings.Note, "requests are decided on and nothing records them", "audit /var/log/moat/<name>.audit"),
	rule("MOAT-171", "audit_keep_short", findings.Warning, "records are kept for less than 180 days", "keep 180d"),
	rule("MOAT-172", "audit_alone", findings.Note, "no witness and no delivery: whoever owns the machine can delete the trail with nobody noticing", "witness <verifier key> <url>", "deliver https <url>"),
	rule("MOAT-173", "audit_temporary", findings.Warning, "the trail is in a directory that is emptied", "audit /var/log/moat/<name>.audit"),
	rule("MOAT-174", "audit_served", findings.Warning, "a file_server can serve the trail", "audit /var/log/moat/<name>.audit"),
	rule("MOAT-175", "audit_lossy", findings.Note, "requests go on when they cannot be recorded", "on_failure refuse"),
	rule("MOAT-176", "credentials_logged", findings.Warning, "Caddy's error log shows credentials", "{", "\tlog {", "\t\tformat moat", "\t}", "}"),
	rule("MOAT-177", "credentials_in_access_log", findings.Warning, "the access log shows credentials", "log {", "\tformat moat", "}"),

	// The server below.
	rule("MOAT-180", "plaintext_listener", findings.Warning, "credentials come in without TLS"),
	rule("MOAT-181", "plaintext_upstream", findings.Warning, "requests leave for another network without TLS"),
	rule("MOAT-182", "upstream_unverified", findings.Warning, "the certificate of an upstream is not verified", "transport http {", "\ttls_trust_pool file /etc/ssl/upstream-ca.pem", "}"),
	rule("MOAT-183", "proxies_unknown", findings.Note, "rules look at client addresses, and no proxy is trusted to tell them", "{", "\tservers {", "\t\ttrusted_proxies static <addresses of your load balancer>", "\t\ttrusted_proxies_strict", "\t}", "}"),
	rule("MOAT-184", "proxies_wide", findings.Warning, "any client may say what its address is", "trusted_proxies static <addresses of your load balancer>"),
	rule("MOAT-185", "proxies_not_strict", findings.Warning, "a client can choose the address that is believed", "trusted_proxies_strict"),
	rule("MOAT-186", "early_data", findings.Note, "requests in TLS early data can be replayed by whoever has seen them", "{", "\tservers {", "\t\t0rtt off", "\t}", "}"),
	rule("MOAT-187", "admin_exposed", findings.Warning, "other machines can reach the admin endpoint", "{", "\tadmin localhost:2019", "}"),
	rule("MOAT-188", "headers_too_small", findings.Warning, "requests with longer tokens are rejected", "max_header_size 16KiB"),

	// The comments that ignore findings.
	rule("MOAT-190", "ignore_invalid", findings.Warning, "a moat:ignore comment is not understood", "# moat:ignore MOAT-112 <reason> until=2027-01-31"),
	rule("MOAT-191", "ignore_expired", findings.Warning, "a moat:ignore comment has ended"),
	rule("MOAT-192", "ignore_unused", findings.Warning, "a moat:ignore comment ignores nothing"),
}

// rule returns a rule, with the lines to write instead.
func rule(id, name string, severity findings.Severity, summary string, write ...string) findings.Rule {
	return findings.Rule{ID: id, Name: name, Severity: severity, Summary: summary, Write: write}
}

// byName returns the rule of that name.
func byName(name string) (findings.Rule, bool) {
	i := slices.IndexFunc(rules, func(r findings.Rule) bool { return r.Name == name })
	if i < 0 {
		return findings.Rule{}, false
	}
	return rules[i], true
}

// known reports whether there is a rule of that ID.
func known(id string) bool {
	return slices.ContainsFunc(rules, func(r findings.Rule) bool { return r.ID == id })
}
