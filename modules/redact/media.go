package redact

import (
	"bytes"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/http/httpguts"
)

// kind is how a body is read.
type kind uint8

const (
	unknown   kind = iota // the label says nothing: the first bytes decide
	document              // a JSON document, or some of them that are labelled as one
	sequence              // JSON documents one after the other: NDJSON, RFC 7464
	events                // Server-Sent Events
	media                 // a format of images, sounds or fonts, which cannot carry fields
	listed                // named by `pass`
	opaque                // could carry the fields in a form that is not read
	form                  // application/x-www-form-urlencoded
	multi                 // multipart: read part by part
	envelopes             // of the Connect protocol, each with a JSON message
)

// sniffLen is how many bytes decide what a body is whose label does not say;
// space at its beginning is looked through up to maxSpace.
const (
	sniffLen = 512
	maxSpace = 16 << 10
)

// mediaTypes are the types of a `pass` option: "text/html", "text/*".
type mediaTypes []string

func parseMediaTypes(list []string) (mediaTypes, error) {
	types := make(mediaTypes, 0, len(list))
	for _, t := range list {
		lower := strings.ToLower(t)
		major, minor, ok := strings.Cut(lower, "/")
		if !ok || !isToken(major) || !isToken(minor) || major == "*" || minor != "*" && strings.Contains(minor, "*") {
			return nil, fmt.Errorf("'%s' is not a media type: write one such as text/html or text/*, without parameters", t)
		}
		switch k, _ := labelled(lower); k {
		case document, sequence, events, envelopes:
			return nil, fmt.Errorf("'%s' is what is redacted: to let some requests by, give redact a matcher", t)
		}
		types = append(types, lower)
	}
	return types, nil
}

// isToken reports whether s is a token, RFC 9110 section 5.6.2, as names of
// fields are.
func isToken(s string) bool { return httpguts.ValidHeaderFieldName(s) }

func (m mediaTypes) contain(mediaType string) bool {
	if len(m) == 0 {
		return false
	}
	major, _, _ := strings.Cut(mediaType, "/")
	return slices.Contains(m, mediaType) || slices.Contains(m, major+"/*")
}

// label is what the Content-Type of a message says.
type label struct {
	kind      kind
	mediaType string // lower case, for the log and for `pass`; empty if there is none
	charset   charset

	// prefixes may stand before JSON.
	prefixes []string

	// doubt says why the bytes may not be what they look like, since they
	// are encoded in a way that is not known. Nothing passes then that is
	// not understood.
	doubt string
}

// readLabel reads the Content-Type fields of h.
func readLabel(h http.Header, pass mediaTypes) label {
	values := h["Content-Type"]
	switch len(values) {
	case 0:
		return label{}
	case 1:
	default:
		// Which one the client believes cannot be known.
		return label{kind: opaque, mediaType: "several Content-Type fields"}
	}
	value := values[0]
	switch value { // those that nearly every response has
	case "application/json", "application/json; charset=utf-8", "application/json;charset=utf-8",
		"application/json; charset=UTF-8", "application/json;charset=UTF-8":
		return label{kind: document, mediaType: "application/json"}
	case "":
		return label{}
	}
	mediaType, params, err := mime.ParseMediaType(value)
	if err != nil {
		return label{kind: opaque, mediaType: "a malformed Content-Type"}
	}
	l := label{mediaType: mediaType}
	l.kind, _ = labelled(mediaType)
	if (l.kind == opaque || l.kind == media || l.kind >= form) && pass.contain(mediaType) {
		l.kind = listed
	}
	l.charset = readCharset(params["charset"])
	return l
}

// labelled returns how bodies of a media type are read.
func labelled(mediaType string) (kind, bool) {
	switch mediaType {
	case "application/json", "text/json", "application/x-json", "text/x-json":
		return document, true
	case "application/stream+json":
		return sequence, true
	case "text/event-stream":
		return events, true
	case "application/connect+json":
		return envelopes, true
	case "application/x-www-form-urlencoded":
		return form, true
	case "image/svg+xml", "multipart/x-mixed-replace", "multipart/byteranges":
		return opaque, true
	case "application/wasm", "application/font-woff", "application/vnd.ms-fontobject":
		return media, true
	}
	if isSequence(mediaType) {
		return sequence, true
	}
	if strings.HasSuffix(mediaType, "+json") {
		return document, true
	}
	switch major, minor, _ := strings.Cut(mediaType, "/"); major {
	case "image", "audio", "video", "font":
		if !strings.HasSuffix(minor, "+xml") {
			return media, true
		}
	case "multipart":
		return multi, true
	}
	return opaque, false
}

// isSequence reports whether a media type is one of the names under which JSON
// texts are sent one after the other, or has one of them as its suffix, as in
// application/fhir+ndjson and application/vnd.elasticsearch+x-ndjson. Most of
// them are not registered, and are spelled as their senders like.
func isSequence(mediaType string) bool {
	_, name, _ := strings.Cut(mediaType, "/")
	if i := strings.LastIndexByte(name, '+'); i >= 0 {
		name = name[i+1:]
	}
	switch strings.TrimPrefix(name, "x-") {
	case "ndjson", "jsonl", "jsonlines", "json-lines", "ldjson", "json-l", "json-seq", "json-stream", "json-concat", "concatenated-json":
		return true
	}
	return false
}

// judge decides how a body is read, from its label and its first bytes (all
// of them, if they are fewer than sniffLen). The label alone decides where
// it says JSON: what claims to be JSON is read as JSON or refused.
func judge(l label, first []byte) (kind, fault) {
	if n, _ := cutPrefix(l.prefixes, first); n > 0 && looksLikeJSON(first[n:]) {
		first = first[n:]
	} else if f := hiddenJSON(first); f.is() {
		return opaque, f
	}
	if l.doubt != "" && !looksLikeJSON(first) && (l.kind != events || !looksLikeEvents(first)) {
		return opaque, fault{reason: "encoding", detail: l.doubt}
	}
	switch l.kind {
	case document, sequence, events:
		return l.kind, l.charset.fault()
	}
	if looksLikeJSON(first) {
		return document, l.charset.fault()
	}
	if l.kind >= form {
		if l.charset == wideCharset || l.charset == otherCharset {
			return opaque, fault{reason: "charset", detail: l.mediaType + " in a charset that is not read"}
		}
		return l.kind, fault{}
	}
	if carriesEvents(first) {
		return events, l.charset.fault()
	}
	if n := narrowed(first); n != nil && look(n) != isNot {
		// UTF-16 or UTF-32, with or without a byte order mark. No JSON
		// parser of today has to read it, and some do (RFC 8259 section 8.1).
		return opaque, fault{reason: "charset", detail: "what looks like JSON in UTF-16 or UTF-32"}
	}
	if len(first) >= maxSpace && look(first) == isOpen {
		return opaque, fault{reason: "media_type", detail: "a body that begins with too much space to know what it is"}
	}
	if l.kind != media && l.charset == otherCharset {
		// In UTF-7 and EBCDIC, say, JSON does not look like it.
		return opaque, fault{reason: "charset", detail: "text in a charset that is not known"}
	}
	switch l.kind {
	case media:
		if isText(first[:min(len(first), sniffLen)]) {
			return opaque, fault{reason: "media_type", detail: "text that is labelled " + l.mediaType, passable: true}
		}
		return media, fault{}
	case listed:
		return listed, fault{}
	}
	if l.mediaType == "" {
		return opaque, fault{reason: "media_type", detail: "a body without a Content-Type", passable: true}
	}
	return opaque, fault{reason: "media_type", detail: l.mediaType, passable: true}
}

// decisive reports whether judge would not decide otherwise if it saw more
// than first.
func decisive(l label, first []byte) bool {
	if l.prefixes != nil {
		n, open := cutPrefix(l.prefixes, first)
		if open {
			return false
		}
		first = first[n:]
		if n > 0 && look(first) == isOpen {
			return len(first) >= maxSpace
		}
	}
	switch l.kind {
	case document, sequence, events:
		if l.doubt == "" {
			return true
		}
	}
	switch look(first) {
	case isJSON:
		return true
	case isOpen:
		return len(first) >= maxSpace
	}
	if l.kind >= form {
		return true
	}
	return len(first) >= sniffLen
}

// tells reports whether first, which is not decisive, is enough to go by if
// nothing more comes for now. It is not while it may be the beginning of JSON
// in any form, or of text that is called an image.
func tells(l label, first []byte) bool {
	if look(first) == isOpen || l.kind == media && isText(first) {
		return false
	}
	if len(bytes.Trim(first, "\x00\xef\xbb\xbf\xfe\xff")) == 0 { // byte order marks, and halves of characters
		return false
	}
	if n := narrowed(first); n != nil && look(n) == isOpen {
		return false
	}
	return l.kind == media || !opensEvent(first) || carriesEvents(first)
}

// opensEvent reports whether b may be the beginning of a Server-Sent Event that
// has not ended.
func opensEvent(b []byte) bool {
	b = bytes.TrimLeft(bytes.TrimPrefix(b, bom), "\r\n")
	for _, begin := range [...]string{"data", "event", "id", "retry", ":"} {
		if n := min(len(b), len(begin)); string(b[:n]) == begin[:n] {
			return !bytes.Contains(b, []byte("\n\n")) && !bytes.Contains(b, []byte("\r\n\r\n")) && !bytes.Contains(b, []byte("\r\r"))
		}
	}
	return false
}

// verdict is what the beginning of a body looks like.
type verdict uint8

const (
	isNot  verdict = iota
	isJSON         // an object or array
	isOpen         // what follows will tell: all is space, or a bracket and space
)

// looksLikeJSON reports whether b begins like a JSON object or array.
func looksLikeJSON(b []byte) bool {
	switch look(b) {
	case isJSON:
		return true
	case isOpen:
		return bytes.ContainsAny(b, "{[")
	}
	return false
}

// look tells whether b begins like a JSON object or array, after a byte order
// mark and space, and can be meant as nothing else: text may well begin
// with a bracket, as in "[info]".
func look(b []byte) verdict {
	b = trimSpace(bytes.TrimPrefix(b, []byte("\ufeff")))
	if len(b) == 0 {
		return isOpen
	}
	open := b[0]
	if open != '{' && open != '[' {
		return isNot
	}
	if b = trimSpace(b[1:]); len(b) == 0 {
		return isOpen
	}
	switch c := b[0]; {
	case c == '"', c == open+2: // the closing bracket stands two places on
		return isJSON
	case open == '{':
		return isNot
	case c == '{', c == '[', c == '-', c >= '0' && c <= '9':
		return isJSON
	}
	for _, word := range [...]string{"true", "false", "null"} {
		if n := min(len(b), len(word)); string(b[:n]) == word[:n] {
			return isJSON
		}
	}
	return isNot
}

// looksLikeEvents reports whether b begins like a stream of Server-Sent Events:
// with a field, a comment or an empty line.
func looksLikeEvents(b []byte) bool {
	b = bytes.TrimPrefix(b, bom)
	for _, begin := range [...]string{"data:", "event:", "id:", "retry:", ":", "\n", "\r"} {
		if bytes.HasPrefix(b, []byte(begin)) {
			return true
		}
	}
	return false
}

// carriesEvents reports whether b begins like a stream of events with JSON in
// their data.
func carriesEvents(b []byte) bool {
	if !looksLikeEvents(b) {
		return false
	}
	for len(b) > 0 {
		var l eventLine
		if l, b = cutLine(b); l.kind == fieldData && looksLikeJSON(l.value) {
			return true
		}
	}
	return false
}

func trimSpace(b []byte) []byte { return bytes.TrimLeft(b, " \t\r\n\x1e") }

// narrowed is b without what UTF-16 and UTF-32 add to ASCII, nil if there is
// nothing of the kind.
func narrowed(b []byte) []byte {
	b = b[:min(len(b), sniffLen)]
	if bytes.IndexByte(b, 0) < 0 {
		return nil
	}
	n := bytes.ReplaceAll(b, []byte{0}, nil)
	n = bytes.TrimPrefix(n, []byte{0xff, 0xfe})
	n = bytes.TrimPrefix(n, []byte{0xfe, 0xff})
	if len(n) == 0 {
		return nil // zeros
	}
	return n
}

// isText reports whether b is text rather than an image or a sound. All of
// their formats have bytes early on that text does not; the ones that are text
// (SVG) are no media to us.
func isText(b []byte) bool {
	for len(b) > 0 {
		c, n := utf8.DecodeRune(b)
		if c == utf8.RuneError && n == 1 && utf8.FullRune(b) {
			return false
		}
		if c < ' ' && c != '\t' && c != '\n' && c != '\r' && c != '\f' {
			return false
		}
		b = b[n:]
	}
	return true
}
