// Package moat is a plugin for the Caddy web server that puts layered API
// security in front of any HTTP service: authentication (jwt_auth,
// api_key_auth, signature_auth, client_cert_auth, webhook_auth,
// oidc_login, trusted_header_auth, auth), tokens for clients (token_server),
// authorization (rbac),
// redaction of responses (redact) and a tamper-evident audit trail (audit),
// beside rate limits by mholt/caddy-ratelimit.
//
// Importing this package, as xcaddy does, registers every module and every
// Caddyfile directive. There is nothing else in it.
package moat

import (
	_ "github.com/mholt/caddy-ratelimit"

	_ "github.com/caddy-moat/caddy-moat/caddyfile"
	_ "github.com/caddy-moat/caddy-moat/modules/access"
	_ "github.com/caddy-moat/caddy-moat/modules/apikeyauth"
	_ "github.com/caddy-moat/caddy-moat/modules/audit"
	_ "github.com/caddy-moat/caddy-moat/modules/auth"
	_ "github.com/caddy-moat/caddy-moat/modules/breaker"
	_ "github.com/caddy-moat/caddy-moat/modules/clientcertauth"
	_ "github.com/caddy-moat/caddy-moat/modules/earlydata"
	_ "github.com/caddy-moat/caddy-moat/modules/guard"
	_ "github.com/caddy-moat/caddy-moat/modules/jwtauth"
	_ "github.com/caddy-moat/caddy-moat/modules/layers"
	_ "github.com/caddy-moat/caddy-moat/modules/mcp"
	_ "github.com/caddy-moat/caddy-moat/modules/oidclogin"
	_ "github.com/caddy-moat/caddy-moat/modules/rbac"
	_ "github.com/caddy-moat/caddy-moat/modules/redact"
	_ "github.com/caddy-moat/caddy-moat/modules/signatureauth"
	_ "github.com/caddy-moat/caddy-moat/modules/tokenbudget"
	_ "github.com/caddy-moat/caddy-moat/modules/tokenserver"
	_ "github.com/caddy-moat/caddy-moat/modules/trustedheaderauth"
	_ "github.com/caddy-moat/caddy-moat/modules/validate"
	_ "github.com/caddy-moat/caddy-moat/modules/webhookauth"
)
