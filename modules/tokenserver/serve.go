package tokenserver

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/decision"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/oauth"
	"github.com/caddy-moat/caddy-moat/modules/internal/problem"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

// endpoint is one path and what serves it.
type endpoint struct {
	path    string
	methods []string
	serve   func(w http.ResponseWriter, r *http.Request, e *endpoint) error
}

// Codes of what never gets to be a request of a client.
const (
	CodeMethod   = "method_not_allowed" // 405
	CodeNotFound = "not_found"          // 404: the metadata of an OpenID provider
)

// serve answers a request for an endpoint.
func (h *Handler) serve(w http.ResponseWriter, r *http.Request, e *endpoint) error {
	reqctx.Of(r)
	if !slices.Contains(e.methods, r.Method) {
		w.Header().Set("Allow", strings.Join(e.methods, ", "))
		return h.reject(w, r, &problem.Problem{
			Status: http.StatusMethodNotAllowed, Code: CodeMethod, Detail: "this endpoint has other methods",
		})
	}
	// Whoever has recorded a request in early data can send it once more.
	if !reqctx.Safe(r.Method) && reqctx.EarlyData(r) {
		return h.reject(w, r, reqctx.TooEarly())
	}
	return e.serve(w, r, e)
}

// reject rejects what never gets to be a request of a client.
func (h *Handler) reject(w http.ResponseWriter, r *http.Request, p *problem.Problem) error {
	h.decided(r, decision.Decision{Layer: Name, Result: decision.Deny, Code: p.Code})
	return reqctx.Refuse(w, r, p)
}

// public serves a document that anybody may have.
func (h *Handler) public(document func() []byte, contentType string) func(http.ResponseWriter, *http.Request, *endpoint) error {
	return func(w http.ResponseWriter, r *http.Request, e *endpoint) error {
		body := document()
		header := w.Header()
		header.Set("Content-Type", contentType)
		header.Set("Content-Length", strconv.Itoa(len(body)))
		// Shorter than a new key is published before it signs.
		header.Set("Cache-Control", "public, max-age=900")
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Access-Control-Allow-Origin", "*") // there is nothing in it but what everybody may read
		h.decided(r, decision.Decision{Layer: Name, Result: decision.Allow, Rule: e.path})
		w.WriteHeader(http.StatusOK)
		if r.Method == http.MethodGet {
			_, _ = w.Write(body)
		}
		return nil
	}
}

// token serves the token endpoint (RFC 6749 section 3.2).
func (h *Handler) token(w http.ResponseWriter, r *http.Request, e *endpoint) error {
	q, err := h.read(r, e)
	if err != nil {
		return h.fail(w, r, q, err)
	}
	resp, err := h.server.Token(r.Context(), q)
	if err != nil {
		return h.fail(w, r, q, err)
	}
	h.metrics.issued(q.Grant)
	h.allow(r, q, q.Grant)
	return send(w, http.StatusOK, resp)
}

// introspect serves the introspection endpoint (RFC 7662 section 2).
func (h *Handler) introspect(w http.ResponseWriter, r *http.Request, e *endpoint) error {
	q, err := h.read(r, e)
	if err != nil {
		return h.fail(w, r, q, err)
	}
	known, err := h.server.Introspect(r.Context(), q)
	if err != nil {
		return h.fail(w, r, q, err)
	}
	h.allow(r, q, e.path)
	return send(w, http.StatusOK, known)
}

// revoke serves the revocation endpoint (RFC 7009 section 2).
func (h *Handler) revoke(w http.ResponseWriter, r *http.Request, e *endpoint) error {
	q, err := h.read(r, e)
	if err != nil {
		return h.fail(w, r, q, err)
	}
	if err := h.server.Revoke(r.Context(), q); err != nil {
		return h.fail(w, r, q, err)
	}
	h.allow(r, q, e.path)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	return nil
}

// read reads the request of a client. The request it returns is never nil.
func (h *Handler) read(r *http.Request, e *endpoint) (*oauth.Request, error) {
	q := &oauth.Request{
		Form: new(oauth.Form), Authorization: r.Header["Authorization"], Proofs: r.Header["Dpop"], URL: h.issuer.url(strings.TrimPrefix(e.path, h.issuer.path)),
	}
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		q.Certificate, q.Trusted = r.TLS.PeerCertificates[0], len(r.TLS.VerifiedChains) > 0
	}
	if r.URL.RawQuery != "" {
		// Queries end up in logs (RFC 6749 section 2.3.1).
		return q, &oauth.Error{Status: http.StatusBadRequest, Code: oauth.CodeInvalidRequest, Description: "parameters stand in the content, not in the query"}
	}
	body, err := reqctx.ReadContent(r, oauth.MaxForm)
	switch {
	case errors.Is(err, reqctx.ErrTooLarge) || err != nil && reqctx.Limited(err):
		return q, &oauth.Error{Status: http.StatusRequestEntityTooLarge, Code: oauth.CodeInvalidRequest, Description: "the request is too large"}
	case err != nil:
		return q, &oauth.Error{Status: http.StatusBadRequest, Code: oauth.CodeInvalidRequest, Description: "the request cannot be read", Cause: err}
	}
	form, err := oauth.ParseForm(r.Header["Content-Type"], body)
	if err != nil {
		return q, err
	}
	q.Form = form
	return q, nil
}

// fail answers with an error (RFC 6749 section 5.2).
func (h *Handler) fail(w http.ResponseWriter, r *http.Request, q *oauth.Request, err error) error {
	var e *oauth.Error
	if !errors.As(err, &e) {
		e = &oauth.Error{Status: http.StatusServiceUnavailable, Code: oauth.CodeUnavailable, Description: "try again later", Cause: err}
	}
	d := decision.Decision{Layer: Name, Result: decision.Deny, Code: e.Code, Rule: rule(q, q.Grant), Detail: e.Description}
	if e.Cause != nil {
		d.Detail = e.Cause.Error()
	}
	if e.Status >= http.StatusInternalServerError {
		d.Result = decision.Error
		h.logger.Error("a request of a client cannot be answered", zap.Error(e.Cause))
	}
	h.decided(r, d)
	reqctx.Decisions(r).SetCode(e.Code)
	header := w.Header()
	if e.Status == http.StatusUnauthorized {
		header.Set("WWW-Authenticate", `Basic realm="`+h.issuer.name+`"`)
	}
	if e.RetryAfter > 0 {
		header.Set("Retry-After", strconv.Itoa(int(e.RetryAfter/time.Second)))
	}
	return send(w, e.Status, struct {
		Code        string `json:"error"`
		Description string `json:"error_description,omitempty"`
	}{e.Code, e.Description})
}

// send writes a document for the client alone.
func send(w http.ResponseWriter, status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Content-Length", strconv.Itoa(len(body)))
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(body)
	return nil
}

// rule is how records name who has asked for what.
func rule(q *oauth.Request, what string) string {
	if q.Client == nil {
		return what
	}
	return "client " + q.Client.ID + ": " + what
}

func (h *Handler) allow(r *http.Request, q *oauth.Request, what string) {
	h.decided(r, decision.Decision{Layer: Name, Result: decision.Allow, Rule: rule(q, what)})
}

func (h *Handler) decided(r *http.Request, d decision.Decision) {
	h.metrics.decided.WithLabelValues(Name, d.Result, d.Code).Inc()
	reqctx.Decisions(r).Add(d)
}
