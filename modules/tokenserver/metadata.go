package tokenserver

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/dpop"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/oauth"
	"github.com/caddy-moat/caddy-moat/modules/internal/problem"
)

// describe makes the metadata (RFC 8414 section 2) and the table of endpoints.
func (h *Handler) describe() {
	methods := []string{oauth.MethodBasic, oauth.MethodPost, oauth.MethodPrivateKey, oauth.MethodTLS, oauth.MethodSelfSigned}
	algorithms := strings.Fields(dpop.Algorithms)
	doc := map[string]any{
		"issuer":         h.issuer.name,
		"token_endpoint": h.issuer.url(pathToken),
		"jwks_uri":       h.issuer.url(pathKeys),

		"grant_types_supported":    []string{oauth.GrantClientCredentials, oauth.GrantExchange},
		"response_types_supported": []string{},

		"token_endpoint_auth_methods_supported":            methods,
		"token_endpoint_auth_signing_alg_values_supported": algorithms,

		"introspection_endpoint":                                   h.issuer.url(pathIntrospect),
		"introspection_endpoint_auth_methods_supported":            methods,
		"introspection_endpoint_auth_signing_alg_values_supported": algorithms,
		"revocation_endpoint":                                      h.issuer.url(pathRevoke),
		"revocation_endpoint_auth_methods_supported":               methods,
		"revocation_endpoint_auth_signing_alg_values_supported":    algorithms,

		"dpop_signing_alg_values_supported":          algorithms, // RFC 9449 section 5.1
		"tls_client_certificate_bound_access_tokens": true,       // RFC 8705 section 3.3
	}
	if h.server.Users != nil {
		doc["grant_types_supported"] = oauth.Grants
		doc["response_types_supported"] = []string{"code"}
		doc["response_modes_supported"] = []string{"query"}
		doc["authorization_endpoint"] = h.issuer.url(pathAuthorize)
		doc["pushed_authorization_request_endpoint"] = h.issuer.url(pathPush)
		doc["code_challenge_methods_supported"] = []string{"S256"}
		doc["authorization_response_iss_parameter_supported"] = true // RFC 9207 section 3
		doc["acr_values_supported"] = []string{"1", "2"}
		doc["token_endpoint_auth_methods_supported"] = append([]string{oauth.MethodNone}, methods...)
		doc["revocation_endpoint_auth_methods_supported"] = append([]string{oauth.MethodNone}, methods...)
	}
	h.metadata, _ = json.Marshal(doc) // texts and lists of texts: cannot fail
	read, write := []string{http.MethodGet, http.MethodHead}, []string{http.MethodPost}
	h.endpoints = make(map[string]*endpoint)
	for _, e := range []*endpoint{
		{pathMetadata + h.issuer.path, read, h.public(func() []byte { return h.metadata }, "application/json")},
		{h.issuer.path + pathOpenID, read, h.noOpenID},
		{h.issuer.path + pathKeys, read, h.public(h.server.Issuer.PublicSet, "application/jwk-set+json")},
		{h.issuer.path + pathToken, write, h.token},
		{h.issuer.path + pathIntrospect, write, h.introspect},
		{h.issuer.path + pathRevoke, write, h.revoke},
	} {
		h.endpoints[e.path] = e
	}
	if h.server.Users != nil {
		h.endpoints[h.issuer.path+pathAuthorize] = &endpoint{h.issuer.path + pathAuthorize, []string{http.MethodGet, http.MethodPost}, h.authorize}
		h.endpoints[h.issuer.path+pathPush] = &endpoint{h.issuer.path + pathPush, write, h.push}
	}
}

// noOpenID says that there is no metadata of an OpenID provider, whatever page the
// site has for the rest: some clients look there first (RFC 8414 section 5).
func (h *Handler) noOpenID(w http.ResponseWriter, r *http.Request, _ *endpoint) error {
	return h.reject(w, r, &problem.Problem{
		Status: http.StatusNotFound, Code: CodeNotFound, Detail: "this is an authorization server of OAuth 2.0: see " + pathMetadata,
	})
}
