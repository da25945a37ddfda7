package auth

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

// scopes are what the rbac behind says of them.
type scopes struct {
	first func(*http.Request) []string
	known func() []string
}

// KnowScopes tells the handler who knows which scopes a request may need that
// has no credential yet, and which scopes there are: the policy behind.
func (h *Handler) KnowScopes(first func(*http.Request) []string, known func() []string) {
	h.scopes.Store(&scopes{first, known})
}

// KnowMessages tells the handler that an mcp stands behind it, and how long the
// messages are that it reads: limits between the two may be keyed by them.
func (h *Handler) KnowMessages(max int64) { h.messages.Store(max) }

// MetadataURLs returns the host that a resource's metadata is for and the paths
// at which the handler serves it, nil without a resource.
func (h *Handler) MetadataURLs() (origin string, paths []string) {
	if h.published == nil {
		return "", nil
	}
	return h.published.Origin, h.published.MetadataPaths()
}

// findResource takes the resource of the methods.
func (h *Handler) findResource() error {
	for i := range h.methods {
		r := h.methods[i].traits.Resource
		if r == nil {
			continue
		}
		if h.published != nil && h.published.ID != r.ID {
			return errors.New("two resources in one handler: " + h.published.ID + " and " + r.ID + "; a client could not tell which one its token is for")
		}
		h.published = r
	}
	if h.published == nil {
		return nil
	}
	h.resource = &reqctx.Resource{
		Path: h.published.Path, Origin: h.published.Origin, Metadata: h.published.Metadata, Scheme: h.published.Scheme,
	}
	for _, path := range h.published.MetadataPaths() {
		h.endpoints = append(h.endpoints, credential.Endpoint{
			Path: path, Methods: []string{http.MethodGet, http.MethodHead, http.MethodOptions}, Rule: "resource_metadata", Serve: h.serveMetadata,
		})
	}
	return nil
}

// serveMetadata answers with the metadata of the resource (RFC 9728 section 3.2),
// to pages of any origin: there is nothing in it that is not for everybody.
func (h *Handler) serveMetadata(w http.ResponseWriter, r *http.Request) error {
	header := w.Header()
	header.Set("Access-Control-Allow-Origin", "*")
	header.Set("X-Content-Type-Options", "nosniff")
	if r.Method == http.MethodOptions {
		header.Set("Allow", "GET, HEAD, OPTIONS")
		header.Set("Access-Control-Allow-Methods", "GET, HEAD, OPTIONS")
		// The asterisk leaves Authorization out, which some clients send.
		header.Set("Access-Control-Allow-Headers", "*, Authorization, MCP-Protocol-Version")
		header.Set("Access-Control-Max-Age", "3600")
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	var known []string
	if s := h.scopes.Load(); s != nil {
		known = s.known()
	}
	body := h.published.Document(known)
	header.Set("Content-Type", "application/json")
	header.Set("Content-Length", strconv.Itoa(len(body)))
	// Short: the scopes are those of a policy that may change.
	header.Set("Cache-Control", "public, max-age=300")
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodGet {
		_, _ = w.Write(body)
	}
	return nil
}

// firstScopes returns the scopes that the challenge asks for.
func (h *Handler) firstScopes(r *http.Request) []string {
	if h.scopes == nil { // of a handler that was put together by hand
		return nil
	}
	s := h.scopes.Load()
	if s == nil {
		return nil
	}
	return slices.Clone(s.first(r))
}

// LoginPaths returns the paths that a method of a handler has for logins, which
// has not been provisioned yet. It is nil without any.
func LoginPaths(h *Handler) (paths []string) {
	for _, raw := range slices.Concat(h.AppProvidersRaw, h.ProvidersRaw) {
		var method struct {
			Provider string `json:"provider"`
			Path     string `json:"path"`
		}
		if json.Unmarshal(raw, &method) != nil || method.Provider != "oidc_login" {
			continue
		}
		if method.Path == "" {
			method.Path = credential.LoginPath
		}
		paths = append(paths, method.Path+"/*")
	}
	return paths
}

// MetadataPaths returns where the metadata of the resource is that a method of a
// handler names, which has not been provisioned yet. It is nil without a resource.
func MetadataPaths(h *Handler) []string {
	for _, raw := range slices.Concat(h.AppProvidersRaw, h.ProvidersRaw) {
		var method struct {
			Resource struct {
				ID string `json:"id"`
			} `json:"resource"`
		}
		if json.Unmarshal(raw, &method) != nil || method.Resource.ID == "" {
			continue
		}
		r, err := credential.ParseResource(method.Resource.ID)
		if err != nil { // known when the configuration is loaded
			return []string{credential.WellKnown, credential.WellKnown + "/*"}
		}
		return r.MetadataPaths()
	}
	return nil
}
