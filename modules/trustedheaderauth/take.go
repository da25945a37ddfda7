package trustedheaderauth

import (
	"net/http"
	"strings"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

// The placeholders in which reverse_proxy, which forward_auth is, keeps the
// answer of its upstream. No client can set them.
const (
	statusPlaceholder = "http.reverse_proxy.status_code"
	headerPlaceholder = "http.reverse_proxy.header."
)

// takenVar is the key of the request's variable table under which the values
// stand that were believed.
const takenVar = "moat.trusted_header"

// kept are the values by the name of their field in the request, and whose
// they are: two providers may look at one request.
type kept struct {
	by     *Provider
	values map[string]string
}

// Take keeps what the authentication service has answered in this request,
// before the handler removes the fields from the request.
func (p *Provider) Take(r *http.Request) {
	vars := reqctx.Vars(r)
	if vars == nil {
		return
	}
	all, _ := vars[takenVar].([]kept)
	list := make([]kept, 0, len(all)+1)
	for _, k := range all {
		if k.by != p { // another pass of the request through this handler
			list = append(list, k)
		}
	}
	vars[takenVar] = append(list, kept{p, p.believed(r)})
}

// believed returns the fields of which the service's answer and the request
// say the same. It is nil where there was no answer, or one that denies.
func (p *Provider) believed(r *http.Request) map[string]string {
	repl := reqctx.Replacer(r)
	if repl == nil {
		return nil
	}
	status, _ := repl.Get(statusPlaceholder)
	if code, ok := status.(int); !ok || code < 200 || code > 299 {
		return nil
	}
	values := make(map[string]string)
	for _, f := range p.CopiedFields() {
		answered, _ := repl.Get(headerPlaceholder + f.From)
		text, _ := answered.(string)
		if text == "" {
			continue // and what the request has there is the client's
		}
		if sent := r.Header[f.To]; len(sent) != 1 || sent[0] != text {
			return nil // it was not copied
		}
		values[f.To] = text
	}
	return values
}

func taken(r *http.Request, p *Provider) map[string]string {
	all, _ := reqctx.Vars(r)[takenVar].([]kept)
	for _, k := range all {
		if k.by == p {
			return k.values
		}
	}
	return nil
}

// CookieOf says that what the caller is known by is what browsers send whoever
// asks them to: a cookie of the service, or the address in a network. A page of
// another site must not change anything with it.
func (p *Provider) CookieOf(r *http.Request) string {
	if taken(r, p)[p.user.To] == "" {
		return ""
	}
	return "Cookie"
}

// Answer puts the fields back that this provider has identified the caller by:
// the upstream may know its users by them. Others' callers do not get them.
func (p *Provider) Answer(w http.ResponseWriter, r *http.Request) (http.ResponseWriter, func(error) error) {
	p.restore(r)
	return w, nil
}

func (p *Provider) restore(r *http.Request) {
	values := taken(r, p)
	if len(values) == 0 {
		return
	}
	vars := reqctx.Vars(r)
	set, _ := vars[credential.ForwardedVar].(map[string]bool)
	if set == nil {
		set = make(map[string]bool, len(values))
		vars[credential.ForwardedVar] = set
	}
	for name, value := range values {
		r.Header[name] = []string{value}
		set[name] = true
	}
}

// drop removes the fields in every spelling that servers behind us may take
// for them.
func (p *Provider) drop(h http.Header) {
	plain := strings.NewReplacer("_", "-", ".", "-")
	for name := range h {
		for _, f := range p.CopiedFields() {
			if len(name) == len(f.To) && strings.EqualFold(plain.Replace(name), plain.Replace(f.To)) {
				delete(h, name)
			}
		}
	}
}
