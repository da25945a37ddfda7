package rbac

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"slices"
	"strings"

	"github.com/caddy-moat/caddy-moat/modules/internal/access/policy"
	"github.com/caddy-moat/caddy-moat/modules/internal/access/requestpath"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
	"github.com/caddy-moat/caddy-moat/modules/internal/problem"
	"github.com/caddy-moat/caddy-moat/modules/internal/query"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
	"github.com/caddy-moat/caddy-moat/modules/internal/strictjson"
)

// minObjects is how much content is looked through for objects, at least.
const minObjects = 1 << 20

// Why a request may be about another object than the one in its path. The texts
// hold nothing of it.
var (
	errNamedTwice  = errors.New("the request names an object in its path and another one elsewhere")
	errParameters  = errors.New("the request has too many parameters")
	errContentSize = errors.New("the content is too large to be searched for other objects")
	errContentKind = errors.New("the content cannot be searched for other objects: it must be in UTF-8 and without a content coding")
	errContentForm = errors.New("the content cannot be searched for other objects: it does not have one reading")
)

func ambiguousObject(err error) *problem.Problem {
	return &problem.Problem{Status: http.StatusBadRequest, Code: "ambiguous_object", Detail: err.Error()}
}

// repeated looks for another value of a path variable that the policy looks at,
// where the upstream may look for it: frameworks merge path, query and content,
// and which of them counts differs.
func (h *Handler) repeated(r *http.Request, pol *policy.Policy, p *principal.Principal, as reading) error {
	q := question(p, as)
	objects := pol.Objects(&q)
	if len(objects) == 0 {
		return nil
	}
	err := inQuery(objects, r.URL.RawQuery)
	if err == nil {
		err = inHeader(objects, r)
	}
	if err == nil && reqctx.HasContent(r) {
		err = h.inContent(objects, r)
	}
	return err
}

// named looks at one value that stands under a name.
func named(objects []policy.Object, name, value string) error {
	for _, o := range objects {
		if !query.CanMean(name, o.Name) && query.Squash(name) != query.Squash(o.Name) {
			continue
		}
		if value != o.Value && value != strings.ReplaceAll(o.Value, requestpath.Slash, "/") {
			return errNamedTwice
		}
	}
	return nil
}

// inQuery looks through parameters as generously as anybody could read them: a
// semicolon may separate two or be part of a value, and what is garbled is as it
// stands.
func inQuery(objects []policy.Object, raw string) error {
	if raw == "" {
		return nil
	}
	if strings.Count(raw, "&")+strings.Count(raw, ";") >= query.MaxParameters {
		return errParameters
	}
	for part := range strings.SplitSeq(raw, "&") {
		readings := []string{part}
		if strings.Contains(part, ";") {
			readings = append(readings, strings.Split(part, ";")...)
		}
		for _, pair := range readings {
			name, value, _ := strings.Cut(pair, "=")
			if name == "" && value == "" {
				continue
			}
			if err := named(objects, decoded(name), decoded(value)); err != nil {
				return err
			}
		}
	}
	return nil
}

// protocolFields are fields of HTTP that are called like things, too: what they
// hold is no object.
var protocolFields = []string{
	"accept", "age", "authorization", "connection", "cookie", "date", "expect", "forwarded", "from", "host", "link", "location", "origin",
	"pragma", "priority", "range", "referer", "te", "trailer", "upgrade", "via", "warning", "signature",
}

// inHeader looks at the fields that are called like a variable, alone or behind
// X-, whatever separates their words.
func inHeader(objects []policy.Object, r *http.Request) error {
	c := reqctx.Of(r)
	for field, values := range r.Header {
		name := query.Squash(strings.NewReplacer("-", "_", ".", "_").Replace(field))
		plain, extended := strings.CutPrefix(name, "x")
		for _, o := range objects {
			want := query.Squash(o.Name)
			if name != want && (!extended || plain != want || !strings.ContainsAny(field[1:2], "-_.")) {
				continue
			}
			if slices.Contains(protocolFields, name) || c.Forwarded(field) {
				continue
			}
			if slices.ContainsFunc(values, func(v string) bool { return strings.TrimSpace(v) != o.Value }) {
				return errNamedTwice
			}
		}
	}
	return nil
}

// inContent looks through forms and JSON.
func (h *Handler) inContent(objects []policy.Object, r *http.Request) error {
	media, params, err := mime.ParseMediaType(strings.Join(r.Header["Content-Type"], ","))
	if err != nil && len(r.Header["Content-Type"]) > 0 && media == "" {
		media = "application/json" // whatever it is, somebody may read it as that
	}
	json := media == "" || strings.HasSuffix(media, "json") || strings.HasPrefix(media, "text/")
	form := media == "application/x-www-form-urlencoded"
	if !json && !form && media != "multipart/form-data" {
		return nil
	}
	charset, ok := params["charset"]
	if ok && !strings.EqualFold(charset, "utf-8") && !strings.EqualFold(charset, "us-ascii") {
		return errContentKind
	}
	for _, coding := range r.Header["Content-Encoding"] {
		if !strings.EqualFold(coding, "identity") {
			return errContentKind
		}
	}
	text, err := reqctx.ReadContent(r, max(h.maxBody(), minObjects))
	switch {
	case errors.Is(err, reqctx.ErrTooLarge):
		return errContentSize
	case err != nil:
		return errContentForm
	case form:
		return inQuery(objects, string(text))
	case json:
		return inJSON(objects, text, media)
	}
	return inMultipart(objects, text, params["boundary"])
}

// inJSON looks at the members of an object. What is not called JSON is read as
// that if it looks like it.
func inJSON(objects []policy.Object, text []byte, media string) error {
	text = bytes.TrimLeft(bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")), " \t\r\n")
	if len(text) == 0 || text[0] != '{' || strings.HasSuffix(media, "ndjson") {
		return nil
	}
	var s strictjson.Scanner
	if err := s.Object(text); err != nil {
		return errContentForm
	}
	for i := range s.Len() {
		m := s.Member(i)
		if err := inMember(objects, string(m.Name), m.Value); err != nil {
			return err
		}
	}
	return nil
}

func inMember(objects []policy.Object, name string, value []byte) error {
	if elements, ok := strictjson.Array(value); ok {
		for e, ok := elements.Next(); ok; e, ok = elements.Next() {
			if err := inMember(objects, name, e); err != nil {
				return err
			}
		}
		return nil
	}
	if text, ok := strictjson.Text(value); ok {
		return named(objects, name, string(text))
	}
	if value[0] == '{' || strictjson.IsNull(value) {
		return nil
	}
	return named(objects, name, string(value))
}

// inMultipart looks at the parts of a form.
func inMultipart(objects []policy.Object, text []byte, boundary string) error {
	if boundary == "" {
		return errContentForm
	}
	parts := multipart.NewReader(bytes.NewReader(text), boundary)
	for n := 0; ; n++ {
		part, err := parts.NextRawPart()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return errContentForm
		case n == query.MaxParameters:
			return errParameters
		}
		value, err := io.ReadAll(part)
		if err != nil {
			return errContentForm
		}
		if err := named(objects, part.FormName(), string(value)); err != nil {
			return err
		}
	}
}
