package rbac

import (
	"bytes"
	"encoding/json"
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
	var media string
	var params map[string]string
	if kinds := r.Header["Content-Type"]; len(kinds) > 1 {
		return errContentForm // which of them counts differs
	} else if len(kinds) == 1 && kinds[0] != "" {
		var err error
		if media, params, err = mime.ParseMediaType(kinds[0]); err != nil {
			return errContentForm // others read it as something, up to a comma, say
		}
	}
	object := media == "" || strings.HasSuffix(media, "json") || strings.HasPrefix(media, "text/")
	form := media == "" || media == "application/x-www-form-urlencoded" // Rack takes what has no type for a form
	parts := strings.HasPrefix(media, "multipart/")
	if !object && !form && !parts {
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
	case parts:
		return inMultipart(objects, text, params["boundary"])
	}
	if form {
		err = inQuery(objects, string(text))
	}
	if err == nil && object {
		err = inJSON(objects, text, media)
	}
	return err
}

// inJSON looks at the members of an object. What is not called JSON is read as
// that if it looks like it.
func inJSON(objects []policy.Object, text []byte, media string) error {
	text = bytes.TrimLeft(bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")), " \t\r\n")
	switch {
	case len(text) == 0 || strings.HasSuffix(media, "ndjson"):
		return nil
	case text[0] == '{':
	case strings.HasSuffix(media, "json") && !json.Valid(text), // comments, which some skip
		bytes.HasPrefix(bytes.TrimLeft(text, "\x00\xfe\xff \t\r\n"), []byte{'{'}): // UTF-16, which some find out
		return errContentForm
	default:
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
		name, err := partName(part.Header["Content-Disposition"])
		if err != nil {
			return err
		}
		value, err := io.ReadAll(part)
		if err != nil {
			return errContentForm
		}
		if err := named(objects, name, string(value)); err != nil {
			return err
		}
	}
}

// partName returns the name of a part, which must have one reading: not all who read
// forms ask for form-data, know name*, or take the first of two names.
func partName(fields []string) (string, error) {
	if len(fields) == 0 {
		return "", nil
	}
	_, params, err := mime.ParseMediaType(fields[0])
	if err != nil || len(fields) > 1 || strings.Contains(strings.ReplaceAll(strings.ToLower(fields[0]), "filename*", ""), "name*") {
		return "", errContentForm
	}
	return params["name"], nil
}
