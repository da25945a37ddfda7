package auth

import (
	"fmt"
	"net/http"
	"net/textproto"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

// forward is a compiled credential.Forward.
type forward struct {
	claim  principal.Pointer
	header string
}

func compileForward(list []credential.Forward) ([]forward, error) {
	var out []forward
	seen := make(map[string]bool)
	for _, f := range list {
		p, err := principal.ParseSingle(f.Claim)
		if err != nil {
			return nil, fmt.Errorf("forward: %w", err)
		}
		if err := credential.ForwardableHeader(f.Header); err != nil {
			return nil, fmt.Errorf("forward: %w", err)
		}
		name := credential.Spelled(f.Header)
		if seen[name] {
			return nil, fmt.Errorf("forward: header %s is set twice", f.Header)
		}
		seen[name] = true
		out = append(out, forward{claim: p, header: textproto.CanonicalMIMEHeaderKey(f.Header)})
	}
	return out, nil
}

// compileForwards compiles what is forwarded of the user and of the
// application. No header carries something of both.
func compileForwards(user, app []credential.Forward) (u, a []forward, err error) {
	all, err := compileForward(slices.Concat(user, app))
	if err != nil {
		return nil, nil, err
	}
	return all[:len(user):len(user)], all[len(user):], nil
}

// setForwarded sets the headers that carry claims to the upstream. The
// client's copies are gone by now.
func setForwarded(r *http.Request, c *reqctx.Context, p *principal.Principal, list []forward) *credential.Error {
	for _, f := range list {
		v, ok := p.Claims.Lookup(f.claim)
		if !ok && p.Claims == nil && len(f.claim) == 1 && f.claim[0] == "sub" {
			v, ok = p.ID, true // a user of basic authentication has a name and no claims
		}
		if !ok || v == nil {
			continue
		}
		text, ok := fieldValue(v, p)
		if !ok {
			return &credential.Error{
				Kind: credential.Bad, Code: credential.CodeInvalidToken,
				Detail: "a claim cannot be forwarded", Rule: p.Issuer,
			}
		}
		c.Forward(r, f.header, []string{text})
	}
	return nil
}

// fieldValue prints a claim for a header field.
//
// A claim that would not arrive as it is, because of a line break or of white
// space at its ends, is not bent into shape: whoever issued it is not to be
// trusted with the rest, and " alice" must not become alice. Nor is a role with
// a comma in its name, which a reader of lists would take for two. In lists and
// objects, which are printed as JSON, a comma inside a text is written as an
// escape, for readers that split at commas all the same.
func fieldValue(v any, p *principal.Principal) (string, bool) {
	text, isText := v.(string)
	if !isText {
		text = escapeCommas(principal.Text(v))
	}
	switch {
	case text == "":
		return "", true
	case !principal.Printable(text) || principal.Padded(text):
		return "", false
	case isText && strings.Contains(text, ",") && (p.HasRole(text) || p.HasScope(text)):
		return "", false
	}
	return text, httpguts.ValidHeaderFieldValue(text)
}

// escapeCommas writes the commas inside the strings of a JSON text as \u002c.
func escapeCommas(text string) string {
	if !strings.Contains(text, ",") || !strings.Contains(text, `"`) {
		return text
	}
	var b strings.Builder
	inside := false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case inside && c == ',':
			b.WriteString(`\u002c`)
			continue
		case inside && c == '\\':
			b.WriteByte(c)
			i++
		case c == '"':
			inside = !inside
		}
		b.WriteByte(text[i])
	}
	return b.String()
}

// drop removes the fields from the header that no client may send.
//
// A handler without methods, which only removes and stands behind one that
// sets, spares what a handler of this package has set. One with methods does not:
// that belongs to an identity that is being replaced.
func (h *Handler) drop(r *http.Request, c *reqctx.Context) {
	if len(h.methods) == 0 && len(h.StripCookies) > 0 {
		credential.RemoveCookies(r.Header, h.StripCookies)
	}
	if h.aliases.None() {
		return
	}
	spare := len(h.methods) == 0
	for name := range r.Header {
		if h.aliases.Match(name) && (!spare || !c.Forwarded(name)) {
			delete(r.Header, name)
			c.DropForwarded(name)
		}
	}
}
