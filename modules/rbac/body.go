package rbac

import (
	"errors"
	"mime"
	"net/http"
	"strings"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
	"github.com/caddy-moat/caddy-moat/modules/internal/option"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
	"github.com/caddy-moat/caddy-moat/modules/internal/strictjson"
)

const defaultMaxBody = 64 << 10

// bodies are the values of max_body.
var bodies = option.Sizes{Max: 16 << 20, Example: "64KiB"}

func (h *Handler) maxBody() int64 {
	if h.MaxBody == 0 {
		return defaultMaxBody
	}
	return h.MaxBody
}

// Why a body cannot be read. The texts hold nothing of it.
var (
	errBodyKind  = errors.New("the body is not sent as JSON in UTF-8 without a content coding")
	errBodySize  = errors.New("the body is larger than max_body")
	errBodyJSON  = errors.New("the body is not one JSON text with one reading")
	errBodyNames = errors.New("the body has an object with two members whose names differ in case only")
)

// body reads the body of a request once, when a condition asks for it, and
// leaves all of it for the upstream.
type body struct {
	r   *http.Request
	max int64

	read  bool
	value any
	err   error
}

// JSON implements condition.Body.
func (b *body) JSON() (any, error) {
	if !b.read {
		b.read = true
		b.value, b.err = b.once()
	}
	return b.value, b.err
}

func (b *body) once() (any, error) {
	r := b.r
	switch {
	case !sentAsJSON(r.Header):
		return nil, errBodyKind
	case r.Body == nil:
		return nil, errBodyJSON
	}
	// Where the request passes all the same, by dry_run or another rule, what is
	// too large or cannot be read is still to come.
	text, err := reqctx.ReadContent(r, b.max)
	switch {
	case errors.Is(err, reqctx.ErrTooLarge):
		return nil, errBodySize
	case err != nil:
		return nil, err
	}
	return parseBody(text)
}

// sentAsJSON reports whether a body is JSON to whoever reads it.
func sentAsJSON(h http.Header) bool {
	kind, coding := h["Content-Type"], h["Content-Encoding"]
	if len(kind) != 1 || len(coding) > 1 || len(coding) == 1 && !strings.EqualFold(coding[0], "identity") {
		return false
	}
	media, params, err := mime.ParseMediaType(kind[0])
	if err != nil {
		return false
	}
	if charset, ok := params["charset"]; ok && !strings.EqualFold(charset, "utf-8") {
		return false
	}
	return media == "application/json" || media == "text/json" || strings.HasSuffix(media, "+json")
}

// parseBody decodes a JSON text that has one reading.
func parseBody(text []byte) (any, error) {
	// The strict reader reads objects: here, one with the text as its one
	// member. A comma in the text would make it two.
	wrapped := append(append([]byte(`{"":`), text...), '}')
	var s strictjson.Scanner
	if err := s.Object(wrapped); err != nil || s.Len() != 1 {
		return nil, errBodyJSON
	}
	m := principal.NewClaims(wrapped).Map()
	if m == nil {
		return nil, errBodyJSON
	}
	v := m[""]
	if !oneSpelling(v) {
		return nil, errBodyNames
	}
	return v, nil
}

// oneSpelling reports whether no object has members whose names differ in
// case only: many programs do not care about case and take the last.
func oneSpelling(v any) bool {
	switch v := v.(type) {
	case map[string]any:
		seen := make(map[string]bool, len(v))
		for name, member := range v {
			// Upper case first: some letters have two small forms.
			folded := strings.ToLower(strings.ToUpper(name))
			if seen[folded] || !oneSpelling(member) {
				return false
			}
			seen[folded] = true
		}
	case []any:
		for _, e := range v {
			if !oneSpelling(e) {
				return false
			}
		}
	}
	return true
}

// jsonText is a body that need not be read from anywhere.
type jsonText []byte

// JSON implements condition.Body.
func (t jsonText) JSON() (any, error) { return parseBody(t) }
