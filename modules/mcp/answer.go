package mcp

import (
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-moat/caddy-moat/modules/internal/data/mcp"
	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/decision"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
	"github.com/caddy-moat/caddy-moat/modules/internal/strictjson"
)

// answer ends a request with a JSON-RPC error, which is what its sender reads,
// whatever the error pages of the site are. A notification that is not allowed has
// nobody who waits for a response: it is 202, as one that was taken.
func (h *Handler) answer(w http.ResponseWriter, r *http.Request, code, rule string, e *mcp.Error) error {
	h.decided.WithLabelValues(layer, decision.Deny, code).Inc()
	log := reqctx.Decisions(r)
	log.Add(decision.Decision{Layer: layer, Result: decision.Deny, Rule: rule, Code: code, Detail: e.Message})
	log.SetCode(code)
	if repl := reqctx.Replacer(r); repl != nil {
		repl.Set("http.moat.code", code)
	}
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	if e.Status == http.StatusOK && e.ID == nil {
		w.WriteHeader(http.StatusAccepted)
		return nil
	}
	doc := errorMessage(e)
	if e.Status == http.StatusOK && h.legacy.answer(r, doc) {
		w.WriteHeader(http.StatusAccepted)
		return nil
	}
	header.Set("Content-Type", "application/json")
	header.Set("Content-Length", strconv.Itoa(len(doc)))
	header.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(e.Status)
	_, _ = w.Write(doc) //nolint:gosec // JSON, whose id was read as an integer or a string
	return nil
}

// errorMessage prints a JSON-RPC error response.
func errorMessage(e *mcp.Error) []byte {
	doc := []byte(`{"jsonrpc":"2.0","id":`)
	if e.ID == nil {
		doc = append(doc, "null"...)
	} else {
		doc = append(doc, e.ID...)
	}
	doc = append(doc, `,"error":{"code":`...)
	doc = strconv.AppendInt(doc, int64(e.Code), 10)
	doc = append(doc, `,"message":`...)
	doc = strictjson.AppendString(doc, e.Message)
	if e.Data != nil {
		doc = append(append(doc, `,"data":`...), e.Data...)
	}
	return append(doc, "}}"...)
}

// sentAsJSON reports whether a body is JSON to whoever reads it.
func sentAsJSON(h http.Header) bool {
	kind, coding := h["Content-Type"], h["Content-Encoding"]
	if len(kind) != 1 || len(coding) > 1 || len(coding) == 1 && !strings.EqualFold(coding[0], "identity") {
		return false
	}
	if kind[0] == "application/json" {
		return true
	}
	media, params, err := mime.ParseMediaType(kind[0])
	if err != nil || media != "application/json" {
		return false
	}
	charset, ok := params["charset"]
	return !ok || strings.EqualFold(charset, "utf-8")
}

// originAllowed checks where a page is from that sends the request. A request
// without Origin does not come from a page of a browser, or from one of the same
// origin with GET.
func (h *Handler) originAllowed(r *http.Request) bool {
	sent := r.Header["Origin"]
	if len(sent) == 0 || slices.Contains(h.Origins, AnyOrigin) {
		return true
	}
	if len(sent) > 1 {
		return false
	}
	if slices.ContainsFunc(h.Origins, func(o string) bool { return strings.EqualFold(o, sent[0]) }) {
		return true
	}
	// Not by Host: a page that has its name lead here sends its own.
	res := reqctx.ResourceOf(r)
	return res != nil && strings.EqualFold(res.Origin, sent[0])
}
