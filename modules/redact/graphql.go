package redact

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/caddy-moat/caddy-moat/modules/internal/data/graphql"
	"github.com/caddy-moat/caddy-moat/modules/internal/data/jsonpath"
	"github.com/caddy-moat/caddy-moat/modules/internal/data/redaction"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
	"github.com/caddy-moat/caddy-moat/modules/internal/problem"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

// namesOf returns the names of members in the selectors of rules.
func namesOf(rules []redaction.Rule) map[string]bool {
	names := map[string]bool{}
	for i := range rules {
		path, _ := jsonpath.ParseSelector(rules[i].Selector) // compiled before
		for _, seg := range path {
			for _, sel := range seg.Selectors {
				if sel.Kind == jsonpath.Name {
					names[sel.Name] = true
				}
			}
		}
	}
	return names
}

// checkGraphQL refuses a GraphQL request that gives another name to a field
// which a rule for this caller names, since the rule would not know it again in
// the response; and one that writes a value for what a rule in requests names,
// since that stands in a text there. The query is looked for where the
// specification of GraphQL over HTTP has it: in the parameter query, in JSON,
// and in application/graphql.
func (h *Handler) checkGraphQL(r *http.Request, v *view, p *principal.Principal) error {
	c := &graphQLCheck{view: v}
	if h.requests != nil {
		var err error
		if c.requests, err = h.requests.of(p); err != nil {
			return internalFault(err)
		}
	}
	if v == nil && c.requests == nil {
		return nil
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return invalidRequestBody(formFault("a query that is malformed, in which a GraphQL document might be"))
	}
	if err := c.values(query); err != nil {
		return err
	}
	if !reqctx.HasContent(r) {
		return nil
	}
	body, err := h.readWhole(r)
	if err != nil {
		return err
	}
	return c.body(r, body)
}

// readWhole reads a body that is small enough, decoded, and puts it back.
func (h *Handler) readWhole(r *http.Request) ([]byte, error) {
	raw, err := reqctx.ReadContent(r, int64(h.MaxEvent))
	tooLarge := errors.Is(err, reqctx.ErrTooLarge)
	if err != nil && !tooLarge {
		return nil, h.unreadRequest(err)
	}
	c := readCoding(r.Header)
	if c.doubt != "" || c.label {
		return nil, unsupportedRequestBody(&fault{reason: "encoding", detail: "a content coding that is not known"})
	}
	plain := raw
	if c.name != "" && len(raw) > 0 {
		dec, err := newDecoder(c.name, bytes.NewReader(raw))
		if err == nil {
			defer dec.Close()
			plain, err = io.ReadAll(io.LimitReader(dec, int64(h.MaxEvent)+1))
		}
		if err != nil {
			return nil, invalidRequestBody(&fault{reason: "encoding", cause: err})
		}
	}
	if tooLarge || len(plain) > h.MaxEvent {
		return nil, invalidRequestBody(&fault{reason: "event", detail: "a body longer than max_event, in which a GraphQL document might be"})
	}
	return plain, nil
}

// graphQLCheck checks the documents of one request.
type graphQLCheck struct {
	view, requests *view // nil where no rule concerns the caller
}

func (c *graphQLCheck) body(r *http.Request, body []byte) error {
	l := readLabel(r.Header, nil)
	if n := narrowed(body); n != nil && look(n) != isNot || l.charset == wideCharset || l.charset == otherCharset {
		return unsupportedRequestBody(&fault{reason: "charset", detail: "a body in a charset that is not read"})
	}
	switch {
	case looksLikeJSON(body):
		return c.json(body)
	case l.mediaType == "application/graphql":
		return c.document(string(body))
	case l.kind == multi:
		return unsupportedRequestBody(&fault{reason: "media_type", detail: "multipart, in which a GraphQL document might be"})
	case l.kind == form:
		values, err := url.ParseQuery(string(body))
		if err != nil {
			return invalidRequestBody(formFault("a malformed form, in which a GraphQL document might be"))
		}
		return c.values(values)
	}
	return nil
}

// values checks the documents in parameters.
func (c *graphQLCheck) values(values url.Values) error {
	for name, list := range values {
		if !strings.EqualFold(strings.TrimSpace(name), "query") {
			continue
		}
		for _, document := range list {
			if err := c.document(document); err != nil {
				return err
			}
		}
	}
	return nil
}

// json checks the documents in a request or a batch of them.
func (c *graphQLCheck) json(body []byte) error {
	d := json.NewDecoder(bytes.NewReader(bytes.TrimPrefix(body, bom)))
	for {
		var top json.RawMessage
		switch err := d.Decode(&top); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return invalidRequestBody(&fault{reason: "syntax", cause: err})
		}
		list := []json.RawMessage{top}
		if top[0] == '[' {
			list = nil
			_ = json.Unmarshal(top, &list)
		}
		for _, one := range list {
			if err := c.object(one); err != nil {
				return err
			}
		}
	}
}

// object checks every member query of a request, should there be several.
func (c *graphQLCheck) object(one json.RawMessage) error {
	d := json.NewDecoder(bytes.NewReader(one))
	if t, _ := d.Token(); t != json.Delim('{') {
		return nil
	}
	for d.More() {
		t, _ := d.Token()
		var v json.RawMessage
		if err := d.Decode(&v); err != nil {
			return invalidRequestBody(&fault{reason: "syntax", cause: err})
		}
		var document string
		name, _ := t.(string)
		if redaction.FoldName(name) == "query" && json.Unmarshal(v, &document) == nil {
			if err := c.document(document); err != nil {
				return err
			}
		}
	}
	return nil
}

// document checks one document.
func (c *graphQLCheck) document(text string) error {
	names, err := graphql.Read(text)
	if err != nil {
		return invalidRequestBody(&fault{reason: "syntax", cause: err})
	}
	if c.view != nil {
		for _, name := range names.Aliased {
			if c.view.names[name] {
				return aliasedField()
			}
		}
	}
	if c.requests != nil {
		for _, name := range names.Given {
			if c.requests.names[name] {
				return aliasedField()
			}
		}
	}
	return nil
}

// aliasedField does not say which, which would tell of the rules.
func aliasedField() *problem.Problem {
	return &problem.Problem{
		Status: http.StatusBadRequest,
		Code:   "graphql_name",
		Detail: "The GraphQL document renames a field, or writes a value into the document, where that is not accepted.",
		Cause:  &fault{reason: "graphql", detail: "a field that a rule names has an alias or a value in a GraphQL document"},
	}
}
