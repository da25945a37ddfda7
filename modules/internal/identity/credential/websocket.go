package credential

import (
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/http/httpguts"
)

// socketField is the field of the subprotocols that the client of a WebSocket
// offers (RFC 6455 section 11.3.4). It is the only field of a handshake that a
// page in a browser has a say in.
const socketField = "Sec-Websocket-Protocol"

// KubernetesPrefix is what stands before a token, in base64url without padding,
// in a subprotocol as clients of Kubernetes offer it.
const KubernetesPrefix = "base64url.bearer.authorization.k8s.io."

// DefaultSubprotocol is the subprotocol behind which a token stands.
const DefaultSubprotocol = "bearer"

// offer is what a client offers.
type offer struct {
	rest   []string // subprotocols that are no credentials
	tokens []string
	marker string // as it is spelled, if a token follows one
	odd    bool   // somebody may find a credential in what cannot be read
}

// readOffer finds the credentials among the subprotocols: the one that follows
// the marker, and those that begin as in Kubernetes.
func readOffer(lines []string, marker string) (o offer) {
	follows := false
	for _, line := range lines {
		for item := range strings.SplitSeq(line, ",") {
			item = strings.Trim(item, " \t")
			switch {
			case follows:
				follows = false
				o.take(item, httpguts.ValidHeaderFieldName(item))
			case item == "": // an empty element of a list, RFC 9110 section 5.6.1
			case strings.EqualFold(item, marker):
				o.marker, follows = item, true
			case hasPrefixFold(item, KubernetesPrefix):
				o.take(decodeOffer(item[len(KubernetesPrefix):]))
			default:
				// A subprotocol is a token; "bearer x" is not one.
				o.odd = o.odd || !httpguts.ValidHeaderFieldName(item)
				o.rest = append(o.rest, item)
			}
		}
	}
	o.odd = o.odd || follows
	return o
}

func (o *offer) take(token string, ok bool) {
	o.odd = o.odd || !ok
	o.tokens = append(o.tokens, token)
}

func decodeOffer(text string) (string, bool) {
	if strings.ContainsAny(text, "\r\n") { // which base64 passes over
		return "", false
	}
	token, err := base64.RawURLEncoding.Strict().DecodeString(text)
	return string(token), err == nil && len(token) > 0 && utf8.Valid(token)
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

// socket returns the credential among the subprotocols, and how many there are.
func (s *Source) socket(h http.Header) (raw string, n int, _ state) {
	if otherSpelling(h, socketField) {
		return "", 0, unreadable
	}
	lines := h[socketField]
	if len(lines) == 0 {
		return "", 0, readable
	}
	o := readOffer(lines, s.WebSocket)
	switch {
	case o.odd, len(o.tokens) > 0 && o.marker == "" && len(o.rest) == 0:
		// A server must select one of the subprotocols, or browsers give up,
		// and none is left that may be repeated.
		return "", 0, unreadable
	case len(o.tokens) == 0:
		return "", 0, readable
	case len(o.tokens) > 1:
		return "", 0, several
	case strings.ContainsFunc(o.tokens[0], notInValue):
		return "", 0, unreadable
	}
	return o.tokens[0], 1, readable
}

// removeSocket takes the credential and its marker out of the subprotocols.
func (s *Source) removeSocket(h http.Header) {
	lines := h[socketField]
	if len(lines) == 0 {
		return
	}
	o := readOffer(lines, s.WebSocket)
	switch {
	case len(o.tokens) == 0 && !o.odd:
	case len(o.rest) == 0 || o.odd:
		delete(h, socketField)
	default:
		h[socketField] = []string{strings.Join(o.rest, ", ")}
	}
}

// checkSubprotocol says why a name cannot be that of the subprotocol behind
// which tokens stand.
func checkSubprotocol(name string) error {
	if !httpguts.ValidHeaderFieldName(name) || hasPrefixFold(name, KubernetesPrefix) {
		return errors.New("the name of the subprotocol cannot be one")
	}
	return nil
}

// RemoveOffered takes credentials out of the subprotocols of the request, where
// they may stand. They must never go on: a server that does not know them may
// select one, which repeats it in the response.
func (l *Sources) RemoveOffered(r *http.Request) {
	for i := range l.list {
		if l.list[i].WebSocket != "" {
			l.list[i].removeSocket(r.Header)
		}
	}
}

// Selected returns the subprotocol that is to be selected for a client who has
// offered a token, where the server behind selects none: the marker before it,
// since browsers fail a connection of which none was selected (RFC 6455 section
// 4.1, WHATWG WebSockets section 2). It is empty where there is none, and where
// the request is not for a WebSocket, over whichever version of HTTP.
func (l *Sources) Selected(r *http.Request) string {
	if len(r.Header["Upgrade"]) == 0 && r.Method != http.MethodConnect {
		return ""
	}
	for i := range l.list {
		if s := &l.list[i]; s.WebSocket != "" {
			if _, n, _ := s.socket(r.Header); n == 1 {
				return readOffer(r.Header[socketField], s.WebSocket).marker
			}
		}
	}
	return ""
}

// Wrap is the Wrap of a Grant whose credential the request offers among the
// subprotocols. It is to be asked before the credential is removed, and is nil
// where there is nothing to do.
func (l *Sources) Wrap(r *http.Request) func(http.ResponseWriter, *http.Request, Next) error {
	selected := l.Selected(r)
	if selected == "" {
		return nil
	}
	return func(w http.ResponseWriter, r *http.Request, next Next) error {
		return next(SelectingWriter(w, r, selected), r)
	}
}

// SelectingWriter returns a writer that selects a subprotocol, if the response
// opens a WebSocket and has selected none.
func SelectingWriter(w http.ResponseWriter, r *http.Request, subprotocol string) http.ResponseWriter {
	return &selectingWriter{ResponseWriter: w, connect: r.Method == http.MethodConnect, subprotocol: subprotocol}
}

type selectingWriter struct {
	http.ResponseWriter
	connect     bool // RFC 8441 section 5, RFC 9220
	subprotocol string
	done        bool
}

// WriteHeader selects the subprotocol.
func (w *selectingWriter) WriteHeader(status int) {
	if !w.done && (status >= 200 || status == http.StatusSwitchingProtocols) {
		w.done = true
		if status == http.StatusSwitchingProtocols || w.connect && status < 300 {
			w.choose()
		}
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *selectingWriter) choose() {
	h := w.Header()
	for name, values := range h {
		// reverse_proxy spells it as RFC 6455 does.
		if !strings.EqualFold(name, socketField) {
			continue
		}
		for _, v := range values {
			if v != "" {
				return
			}
		}
		delete(h, name)
	}
	h["Sec-WebSocket-Protocol"] = []string{w.subprotocol}
}

// Write writes the header first.
func (w *selectingWriter) Write(p []byte) (int, error) {
	if !w.done {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController find what the writer below can do.
func (w *selectingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
