package signatureauth

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/httpsig"
)

// answering is a provider that signs answers, with the keys of both sides.
type answering struct {
	*Provider
	client, server pair
	asked          int
}

func answers(t *testing.T, options string) *answering {
	t.Helper()
	a := &answering{client: ed25519Pair(t, "client"), server: ed25519Pair(t, "server")}
	dir := t.TempDir()
	public, private := filepath.Join(dir, "client.pem"), filepath.Join(dir, "server.pem")
	writeFile(t, public, a.client.public)
	writeFile(t, private, a.server.private)
	a.Provider = provide(t, "key client ed25519 "+public+"\nsign_responses {\nkey server ed25519 "+private+"\n"+options+"\n}")
	return a
}

// ask has a handler respond to a signed request, as the auth handler would, and
// returns the response with the request.
func (a *answering) ask(t *testing.T, method string, next http.HandlerFunc) (*httptest.ResponseRecorder, *http.Request, error) {
	t.Helper()
	r := request(method, "https://example.com/orders?a=1", nil)
	sign(t, a.client.Signer, r, func(tpl *httpsig.Template) { a.asked++; tpl.Nonce = strconv.Itoa(a.asked) })
	grant, err := a.Identify(r)
	if err != nil {
		t.Fatal(err)
	}
	if grant.Wrap == nil {
		t.Fatal("the answer would not be signed")
	}
	w := httptest.NewRecorder()
	err = grant.Wrap(w, r, func(w http.ResponseWriter, r *http.Request) error {
		next(w, r)
		return nil
	})
	return w, r, err
}

// verify checks the signature of a response the way a client does.
func (a *answering) verify(t *testing.T, w *httptest.ResponseRecorder, r *http.Request) error {
	t.Helper()
	key, err := httpsig.NewKey("server", "ed25519", []byte(a.server.public))
	if err != nil {
		t.Fatal(err)
	}
	policy, err := httpsig.NewPolicy(httpsig.Options{Components: []string{"content-digest"}, MaxAge: defaultMaxAge, Leeway: defaultLeeway})
	if err != nil {
		t.Fatal(err)
	}
	m := &httpsig.Message{Status: w.Code, Header: w.Header(), Request: message(r)}
	res, err := httpsig.Verify(m, policy, one{key}, now)
	if err != nil {
		return err
	}
	if !strings.Contains(w.Header().Get("Signature-Input"), `"@status"`) || !strings.Contains(w.Header().Get("Signature-Input"), `"signature";req;key="sig1"`) {
		return errors.New("too little is covered: " + w.Header().Get("Signature-Input"))
	}
	if !res.ContentDigest {
		return errors.New("the content is not covered")
	}
	d, err := httpsig.ParseContentDigest(w.Header()["Content-Digest"])
	if err != nil {
		return err
	}
	if !d.Check(w.Body.Bytes()) {
		return errDigest
	}
	return nil
}

type one struct{ key *httpsig.Key }

func (o one) Key(id string) *httpsig.Key {
	if id == o.key.ID {
		return o.key
	}
	return nil
}

// TestNothingLeavesWithoutASignature writes a response in all ways there are.
func TestNothingLeavesWithoutASignature(t *testing.T) {
	a := answers(t, "")
	for name, next := range map[string]http.HandlerFunc{
		"written": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("the answer")) },
		"in parts": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "the ")
			_, _ = w.Write([]byte("answer"))
		},
		"flushed": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "the ")
			w.(http.Flusher).Flush()
			_ = http.NewResponseController(w).Flush()
			_, _ = w.Write([]byte("answer"))
		},
		"copied": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.Copy(w, strings.NewReader("the answer")) },
		"copied by limits": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.CopyN(w, bytes.NewReader([]byte("the answer and more")), 10)
		},
		"as a file": func(w http.ResponseWriter, r *http.Request) {
			http.ServeContent(w, r, "a.txt", now, bytes.NewReader([]byte("the answer")))
		},
		"read from": func(w http.ResponseWriter, _ *http.Request) {
			if rf, ok := w.(io.ReaderFrom); ok {
				_, _ = rf.ReadFrom(strings.NewReader("the answer"))
				return
			}
			_, _ = w.Write([]byte("the answer"))
		},
		"behind a wrapper": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = (&caddyhttp.ResponseWriterWrapper{ResponseWriter: w}).ReadFrom(strings.NewReader("the answer"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, r, err := a.ask(t, http.MethodGet, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "text/plain")
				next(w, r)
			})
			if err != nil || w.Code != 200 || w.Body.String() != "the answer" {
				t.Fatalf("got %v, %d %q", err, w.Code, w.Body)
			}
			if err := a.verify(t, w, r); err != nil {
				t.Error(err, w.Header())
			}
			// The same answer to another request, or another status, is
			// not what was signed.
			other := request(http.MethodGet, "https://example.com/orders?a=2", nil)
			other.Header = r.Header
			if err := a.verify(t, w, other); !errors.Is(err, httpsig.ErrRefused) {
				t.Errorf("as the answer to another request: %v", err)
			}
			w.Code = 201
			if err := a.verify(t, w, r); !errors.Is(err, httpsig.ErrRefused) {
				t.Errorf("with another status: %v", err)
			}
		})
	}
}

func TestWriterHasNoWayRoundTheSignature(t *testing.T) {
	var w any = new(signingWriter)
	if _, ok := w.(io.ReaderFrom); ok {
		t.Error("it has ReadFrom")
	}
	if _, ok := w.(http.Hijacker); ok {
		t.Error("it has Hijack")
	}
	if _, ok := w.(http.Pusher); ok {
		t.Error("it has Push")
	}
	if _, ok := w.(interface{ Unwrap() http.ResponseWriter }); ok {
		t.Error("it has Unwrap")
	}
}

func TestAnswersThatCannotBeSignedAreRefused(t *testing.T) {
	a := answers(t, "max_body 16")
	for name, next := range map[string]http.HandlerFunc{
		"too large": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("seventeen letters")) },
		"too large, in parts": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte("sixteen letters."))
			_, _ = w.Write([]byte("x"))
		},
		"trailers": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Trailer", "X")
			_, _ = w.Write([]byte("x"))
		},
		"trailers not named": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte("x"))
			w.Header().Set(http.TrailerPrefix+"X", "y")
		},
		"another protocol": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusSwitchingProtocols) },
	} {
		w, _, err := a.ask(t, http.MethodGet, next)
		var he caddyhttp.HandlerError
		switch {
		case errors.As(err, &he):
			if he.StatusCode != 502 {
				t.Errorf("%s: status %d", name, he.StatusCode)
			}
		case err != nil || w.Code != 502:
			t.Errorf("%s: got %v, %d", name, err, w.Code)
		}
		if strings.Contains(w.Body.String(), "letters") || w.Header().Get("Signature") != "" || w.Header().Get("X") != "" {
			t.Errorf("%s: got %q, %v", name, w.Body, w.Header())
		}
	}
	w, r, err := a.ask(t, http.MethodGet, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("sixteen letters.")) })
	if err != nil || a.verify(t, w, r) != nil {
		t.Errorf("of the size that is allowed: %v, %v", err, w.Header())
	}
}

func TestAnswersWithoutContentAreSigned(t *testing.T) {
	a := answers(t, "")
	for name, c := range map[string]struct {
		method string
		next   http.HandlerFunc
	}{
		"HEAD": {http.MethodHead, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "10")
			w.WriteHeader(200)
		}},
		"no content":     {http.MethodGet, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }},
		"not modified":   {http.MethodGet, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("ETag", `"x"`); w.WriteHeader(304) }},
		"nothing at all": {http.MethodGet, func(http.ResponseWriter, *http.Request) {}},
		"early hints":    {http.MethodGet, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(103); w.WriteHeader(204) }},
	} {
		w, _, err := a.ask(t, c.method, c.next)
		if err != nil || w.Header().Get("Signature") == "" {
			t.Errorf("%s: got %v, %v", name, err, w.Header())
			continue
		}
		digest := w.Header().Get("Content-Digest")
		if (digest != "") != (name == "nothing at all") {
			t.Errorf("%s: Content-Digest %q", name, digest)
		}
		if input := w.Header().Get("Signature-Input"); !strings.Contains(input, `"@status"`) || !strings.Contains(input, `"@target-uri";req`) || strings.Contains(input, "content-digest") != (digest != "") {
			t.Errorf("%s: covers %s", name, input)
		}
	}
}

// TestErrorsOfHandlersAreNotSigned: error routes decide what they look like.
func TestErrorsOfHandlersAreNotSigned(t *testing.T) {
	a := answers(t, "")
	r := request(http.MethodGet, "https://example.com/", nil)
	sign(t, a.client.Signer, r, nil)
	grant, err := a.Identify(r)
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	want := errors.New("down")
	if err := grant.Wrap(w, r, func(w http.ResponseWriter, _ *http.Request) error {
		_, _ = w.Write([]byte("half an answer"))
		return want
	}); !errors.Is(err, want) || w.Body.Len() > 0 || w.Header().Get("Signature") != "" {
		t.Errorf("got %v, %q", err, w.Body)
	}
}

func TestRequestsOfOthersAreNotAnsweredWithASignature(t *testing.T) {
	a := answers(t, "")
	if grant, err := a.Identify(request(http.MethodGet, "https://example.com/", nil)); err == nil || grant.Wrap != nil {
		t.Error("the answer to a request that nobody signed is held back")
	}
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
