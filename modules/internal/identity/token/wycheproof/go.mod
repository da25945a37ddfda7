module github.com/caddy-moat/caddy-moat/modules/internal/identity/token/wycheproof

go 1.26.4

replace github.com/caddy-moat/caddy-moat => ../../../../..

require (
	github.com/c2sp/wycheproof v0.0.0-20260902155932-3fa63dd0344a
	github.com/caddy-moat/caddy-moat v0.0.0-00010101000000-000000000000
)

require github.com/golang-jwt/jwt/v5 v5.3.1 // indirect
