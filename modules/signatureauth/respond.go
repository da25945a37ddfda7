package signatureauth

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/httpsig"
	"github.com/caddy-moat/caddy-moat/modules/internal/option"
	"github.com/caddy-moat/caddy-moat/modules/internal/problem"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

// CodeUnsignable is the code of a response that cannot be signed (502).
const CodeUnsignable = "response_not_signable"

// Responses configures the signing of responses (RFC 9421 section 2.4). Only
// responses to requests that were authenticated by a signature are signed: the
// rejection of a signature and the pages of error routes are not.
//
// A response is held back until it is complete, since its digest stands in its
// header: a stream reaches the client all at once, at its end. A response that is
// too large, upgrades the connection or has trailers is rejected with 502
// response_not_signable rather than sent without a signature. It is signed last:
// the changes of `redact` and `encode` are covered.
type Responses struct {
	// The key ID to put into signatures, the algorithm, and the private key in
	// PEM, or for hmac-sha256 the secret, in the form of the keys above.
	KeyID     string `json:"keyid"`
	Algorithm string `json:"alg"`
	Key       string `json:"key"`

	// What is covered. Fields that a response does not have are left out.
	// Default: @status, content-type, content-digest, and of the request, with
	// the parameter req, @method, @target-uri and the signature
	Components []string `json:"components,omitempty"`

	// The label of signatures. Default: sig1
	Label string `json:"label,omitempty"`

	// The largest content that is signed, in bytes. At most 64 MiB.
	// Default: 1048576
	MaxBody int64 `json:"max_body,omitempty"`

	signer *httpsig.Signer
	now    func() time.Time
}

const defaultMaxBody = 1 << 20

func (s *Responses) check() error {
	if s.KeyID == "" || s.Algorithm == "" || s.Key == "" {
		return errors.New("sign_responses needs a key: write key <keyid> <alg> <private key>")
	}
	if err := bodies.Check("max_body", s.MaxBody); err != nil {
		return fmt.Errorf("sign_responses: %w", err)
	}
	if err := httpsig.CheckTemplate(httpsig.Template{Label: s.Label, Components: s.Components}); err != nil {
		return fmt.Errorf("sign_responses: %w", err)
	}
	return nil
}

func (s *Responses) provision() error {
	if s.now == nil {
		s.now = time.Now
	}
	material := option.KeyMaterial{Value: s.Key, Secret: httpsig.Symmetric(s.Algorithm)}
	text, err := material.Load(Name, "sign_responses key "+s.KeyID)
	if err != nil {
		return err
	}
	if s.signer, err = httpsig.NewSigner(s.KeyID, s.Algorithm, text); err != nil {
		return fmt.Errorf("sign_responses: key %s %s: %w", s.KeyID, material.Source(), err)
	}
	return nil
}

// asked is the request as it was signed, and where its signature stands: in which
// field, in lower case, and there under which label, if any.
type asked struct {
	message      *httpsig.Message
	field, label string
}

// newSigningWriter returns what signs the response to a request.
func newSigningWriter(w http.ResponseWriter, to *Responses, a *asked) *signingWriter {
	s := &signingWriter{w: w, to: to, asked: a, head: a.message.Method == http.MethodHead, max: to.MaxBody}
	if s.max == 0 {
		s.max = defaultMaxBody
	}
	return s
}

// signingWriter holds a response back until it can be signed. Of what a
// ResponseWriter can do besides, it has nothing that would go round it: neither
// Hijack nor ReadFrom nor Unwrap, and a Flush that waits. That is why it embeds
// no other writer.
type signingWriter struct {
	w     http.ResponseWriter
	to    *Responses
	asked *asked
	head  bool
	max   int64

	status int
	body   []byte
	fault  error
}

// errUnsignable is what the handlers inside are told.
var errUnsignable = errors.New("the response cannot be signed")

// Header returns the header of the response.
func (s *signingWriter) Header() http.Header { return s.w.Header() }

// WriteHeader notes the status. Informational responses pass.
func (s *signingWriter) WriteHeader(status int) {
	switch {
	case status == http.StatusSwitchingProtocols:
		s.fault = fmt.Errorf("%w: it upgrades the connection", errUnsignable)
	case status < 200:
		s.w.WriteHeader(status)
		return
	}
	if s.status == 0 {
		s.status = status
	}
}

func (s *signingWriter) Write(p []byte) (int, error) {
	if s.status == 0 {
		s.WriteHeader(http.StatusOK)
	}
	if int64(len(s.body)+len(p)) > s.max {
		s.fault = fmt.Errorf("%w: it is larger than max_body, %d bytes", errUnsignable, s.max)
		s.body = nil
	}
	if s.fault != nil {
		return 0, s.fault
	}
	s.body = append(s.body, p...)
	return len(p), nil
}

// WriteString is Write.
func (s *signingWriter) WriteString(text string) (int, error) { return s.Write([]byte(text)) }

// Flush does nothing: the response leaves when it is whole.
func (s *signingWriter) Flush() {}

// FlushError does the same for http.ResponseController.
func (s *signingWriter) FlushError() error { return nil }

// finish signs the response and lets it go.
func (s *signingWriter) finish(r *http.Request, err error) error {
	w := s.w
	if err != nil && s.fault == nil {
		return err // nothing has left: error routes decide the page
	}
	h := w.Header()
	if s.fault == nil && (len(h["Trailer"]) > 0 || hasTrailers(h)) {
		s.fault = fmt.Errorf("%w: it has trailers", errUnsignable)
	}
	if s.fault == nil {
		if s.status == 0 {
			s.status = http.StatusOK
		}
		s.fault = s.sign(h)
	}
	if s.fault != nil {
		for _, name := range []string{"Content-Type", "Content-Length", "Content-Encoding", "Content-Digest", "Trailer"} {
			h.Del(name)
		}
		return reqctx.Refuse(w, r, &problem.Problem{
			Status: http.StatusBadGateway, Code: CodeUnsignable, Detail: "The response cannot be signed.", Cause: s.fault,
		})
	}
	w.WriteHeader(s.status)
	if len(s.body) > 0 {
		_, _ = w.Write(s.body) // the client is gone if this fails
	}
	return nil
}

func hasTrailers(h http.Header) bool {
	for name := range h {
		if strings.HasPrefix(name, http.TrailerPrefix) {
			return true
		}
	}
	return false
}

// sign sets Content-Digest, Signature-Input and Signature.
func (s *signingWriter) sign(h http.Header) error {
	// What the application says of them would speak of something else.
	h.Del("Signature")
	h.Del("Signature-Input")
	withContent := !s.head && s.status != http.StatusNoContent && s.status != http.StatusNotModified
	if withContent {
		h.Set("Content-Digest", httpsig.ContentDigest(s.body))
	} else {
		h.Del("Content-Digest") // of what is not there
	}
	m := &httpsig.Message{Status: s.status, Header: h, Request: s.asked.message, HasContent: withContent}
	input, sig, err := s.to.signer.Sign(m, httpsig.Template{Label: s.to.Label, Components: s.components(m), Created: s.to.now()})
	if err != nil {
		return fmt.Errorf("%w: %w", errUnsignable, err)
	}
	h.Set("Signature-Input", input)
	h.Set("Signature", sig)
	return nil
}

// components are those that the response has, of all that are wanted.
func (s *signingWriter) components(m *httpsig.Message) []string {
	list := s.to.Components
	if len(list) == 0 {
		signature := s.asked.field + ";req"
		if s.asked.label != "" {
			signature += `;key="` + s.asked.label + `"`
		}
		list = []string{"@status", "content-type", "content-digest", "@method;req", "@target-uri;req", signature}
	}
	return slices.DeleteFunc(slices.Clone(list), func(c string) bool { return !m.Has(c) })
}

// Interface guards
var (
	_ http.ResponseWriter = (*signingWriter)(nil)
	_ http.Flusher        = (*signingWriter)(nil)
)
