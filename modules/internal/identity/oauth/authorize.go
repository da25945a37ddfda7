package oauth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"net/url"
	"slices"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/replay"
)

const (
	// codeLife is how long a code is valid (RFC 6749 section 4.1.2 allows 10
	// minutes), pushedLife how long a pushed request is, and loginLife how long a
	// login page.
	codeLife   = time.Minute
	pushedLife = time.Minute
	loginLife  = 10 * time.Minute

	requestPrefix = "urn:ietf:params:oauth:request_uri:" // RFC 9126 section 2.2
)

// Authorization is a request for authorization (RFC 6749 section 4.1.1) that was
// checked.
type Authorization struct {
	Client    string    `json:"client"`
	Redirect  string    `json:"redirect"`
	State     string    `json:"state,omitempty"`
	Challenge string    `json:"challenge"`
	Scopes    []string  `json:"scopes,omitempty"`
	Audiences []string  `json:"audiences"`
	Key       string    `json:"jkt,omitempty"` // dpop_jkt (RFC 9449 section 10)
	ID        string    `json:"id"`
	Cookie    string    `json:"cookie,omitempty"` // hash of the cookie that the login page goes with
	Expires   time.Time `json:"expires"`
}

// RedirectError is an error of a request for authorization that goes to the client:
// its redirect URI is known to be right.
type RedirectError struct {
	Why           *Error
	Authorization *Authorization
}

// Error returns what the client is told.
func (r *RedirectError) Error() string { return r.Why.Error() }

// Unwrap returns the error itself.
func (r *RedirectError) Unwrap() error { return r.Why }

// Codes of errors at the authorization endpoint: RFC 6749 section 4.1.2.1.
const (
	CodeUnsupportedResponseType = "unsupported_response_type"
	CodeAccessDenied            = "access_denied"
	CodeLoginRequired           = "login_required"    // OpenID Connect Core section 3.1.2.6
	CodeAttempts                = "too_many_attempts" // for the login page alone
)

// Authorize checks a request for authorization. An error that is no *RedirectError is
// for the user alone: who sends them to a redirect URI that is not registered must
// get nothing by it (RFC 9700 section 4.1).
func (s *Server) Authorize(form *Form) (*Authorization, *Client, error) {
	id, err := form.Required("client_id")
	if err != nil {
		return nil, nil, err
	}
	if uri := form.Get("request_uri"); uri != "" {
		return s.pushed(id, uri)
	}
	c := s.Clients.Find(id)
	if c == nil || c.State(s.Now()) != "active" || !c.Has(GrantCode) {
		return nil, nil, refuse(CodeUnauthorizedClient, "the application is not registered for logins here")
	}
	a, err := s.check(c, form)
	return a, c, err
}

// check checks the parameters of a request for authorization.
func (s *Server) check(c *Client, form *Form) (*Authorization, error) {
	redirect, err := form.Required("redirect_uri")
	if err != nil {
		return nil, err
	}
	// As texts: nobody agrees on which URIs are the same (RFC 9700 section 2.1).
	if !slices.Contains(c.Redirects, redirect) {
		return nil, refuse(CodeInvalidRequest, "redirect_uri is not one of the application's")
	}
	a := &Authorization{Client: c.ID, Redirect: redirect, State: form.Get("state"), ID: random(), Expires: s.Now().Add(loginLife)}
	back := func(code, description string) error { return &RedirectError{refuse(code, description), a} }
	r := &Request{Form: form}
	if a.Scopes, err = scopes(r, c.Scopes); err != nil {
		return nil, &RedirectError{asError(err), a}
	}
	if a.Audiences, err = targets(r, c.Audiences); err != nil {
		return nil, &RedirectError{asError(err), a}
	}
	challenge := form.Get("code_challenge")
	switch {
	case len(a.State) > 2048:
		return nil, refuse(CodeInvalidRequest, "state is too long")
	case form.Get("response_type") != "code":
		return nil, back(CodeUnsupportedResponseType, "response_type must be code")
	case form.Get("response_mode") != "" && form.Get("response_mode") != "query":
		return nil, back(CodeInvalidRequest, "response_mode must be query")
	case form.Get("request") != "":
		return nil, back(CodeInvalidRequest, "request objects are not supported")
	case challenge == "" || form.Get("code_challenge_method") != "S256":
		return nil, back(CodeInvalidRequest, "PKCE is required: code_challenge, and S256 as code_challenge_method")
	case !isHash(challenge):
		return nil, back(CodeInvalidRequest, "code_challenge is malformed")
	case form.Get("dpop_jkt") != "" && !isHash(form.Get("dpop_jkt")):
		return nil, back(CodeInvalidRequest, "dpop_jkt is malformed")
	case form.Get("prompt") == "none":
		return nil, back(CodeLoginRequired, "a login is always asked for")
	}
	a.Challenge, a.Key = challenge, form.Get("dpop_jkt")
	return a, nil
}

func asError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return unavailable(err)
}

// isHash reports whether a text is the base64url of a SHA-256.
func isHash(text string) bool {
	b, err := base64url.DecodeString(text)
	return err == nil && len(b) == sha256.Size
}

// Push takes a request for authorization from the client itself (RFC 9126), and
// returns the request_uri that stands for it.
func (s *Server) Push(ctx context.Context, r *Request) (uri string, expiresIn int64, err error) {
	if err := s.authenticate(ctx, r); err != nil {
		return "", 0, err
	}
	if !r.Client.Has(GrantCode) {
		return "", 0, refuse(CodeUnauthorizedClient, "the client may not use this grant_type")
	}
	if r.Form.Get("request_uri") != "" {
		return "", 0, refuse(CodeInvalidRequest, "request_uri must not be pushed") // RFC 9126 section 2.1
	}
	a, err := s.check(r.Client, r.Form)
	if err != nil {
		return "", 0, asError(err)
	}
	a.Expires = s.Now().Add(pushedLife)
	sealed, err := s.State.Seal("pushed request", a)
	return requestPrefix + sealed, int64(pushedLife / time.Second), err
}

// pushed returns the request that was pushed under a URI.
func (s *Server) pushed(id, uri string) (*Authorization, *Client, error) {
	a := new(Authorization)
	expired := refuse(CodeInvalidRequest, "request_uri is unknown or has expired")
	if len(uri) < len(requestPrefix) || uri[:len(requestPrefix)] != requestPrefix || s.State.Open("pushed request", uri[len(requestPrefix):], a) != nil {
		return nil, nil, expired
	}
	c := s.Clients.Find(id)
	if a.Client != id || !s.Now().Before(a.Expires) || c == nil || c.State(s.Now()) != "active" || !slices.Contains(c.Redirects, a.Redirect) {
		return nil, nil, expired
	}
	a.Expires = s.Now().Add(loginLife)
	return a, c, nil
}

// Location is where the browser goes with the outcome of a request: a code or an
// error, the state and the issuer (RFC 9207).
func (s *Server) Location(a *Authorization, outcome map[string]string) string {
	u, err := url.Parse(a.Redirect)
	if err != nil {
		return a.Redirect // registered, so it was read before
	}
	q := u.Query()
	for name, value := range outcome {
		q.Set(name, value)
	}
	if a.State != "" {
		q.Set("state", a.State)
	}
	q.Set("iss", s.Issuer.Name())
	u.RawQuery = q.Encode()
	return u.String()
}

// CookieHash is what a login page keeps of the cookie that it goes with.
func CookieHash(cookie string) string {
	sum := sha256.Sum256([]byte("login page\x00" + cookie))
	return hex.EncodeToString(sum[:])
}

// SealLogin makes what a login page sends back: the request, good for one browser
// and one login.
func (s *Server) SealLogin(a *Authorization, cookie string) (string, error) {
	a.Cookie = CookieHash(cookie)
	return s.State.Seal("login page", a)
}

// OpenLogin returns the request that a login page has sent back with the cookie
// of the same browser.
func (s *Server) OpenLogin(sealed, cookie string) (*Authorization, *Client, error) {
	a := new(Authorization)
	gone := refuse(CodeInvalidRequest, "the login page is too old: go back to the application and begin again")
	if cookie == "" || s.State.Open("login page", sealed, a) != nil || !s.Now().Before(a.Expires) ||
		subtle.ConstantTimeCompare([]byte(a.Cookie), []byte(CookieHash(cookie))) != 1 {
		return nil, nil, gone
	}
	c := s.Clients.Find(a.Client)
	if c == nil || c.State(s.Now()) != "active" || !slices.Contains(c.Redirects, a.Redirect) {
		return nil, nil, gone
	}
	return a, c, nil
}

// code is what is kept of a code.
type code struct {
	expiring
	Authorization *Authorization `json:"authorization"`
	User          string         `json:"user"`
	At            time.Time      `json:"at"` // of the login
	ACR           string         `json:"acr"`
	Family        string         `json:"family"` // of the tokens that it is exchanged for
	Used          bool           `json:"used"`
}

func codeKey(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "codes/" + hex.EncodeToString(sum[:])
}

// Approve makes the code for a request that a user has approved by logging in.
// One login page makes one code.
func (s *Server) Approve(ctx context.Context, a *Authorization, user *User, acr string) (text string, err error) {
	now := s.Now()
	err = s.Used.Use(ctx, replay.Entry{Scope: "login page", Value: a.ID, Until: a.Expires}, now)
	if errors.Is(err, replay.ErrReplayed) {
		return "", refuse(CodeInvalidRequest, "this login page was used: go back to the application and begin again")
	}
	if err != nil {
		return "", unavailable(err)
	}
	text = "moatac_" + random() + random()
	// What is used is remembered for longer than it is valid: a second use within
	// that time gives the theft away.
	return text, s.State.put(ctx, codeKey(text), &code{
		expiring: expiring{now.Add(10 * codeLife)}, Authorization: a, User: user.ID, At: now, ACR: acr, Family: random(),
	})
}

var errCode = refuse(CodeInvalidGrant, "the code is not valid")

// exchangeCode issues tokens for a code (RFC 6749 section 4.1.3). All of it
// happens under the lock of the code: whoever comes second finds it used, and
// the tokens that it was exchanged for.
func (s *Server) exchangeCode(ctx context.Context, r *Request, bound *Binding) (*Response, error) {
	text, err := r.Form.Required("code")
	if err != nil {
		return nil, err
	}
	var resp *Response
	var rejected error
	stolen := ""
	err = change(ctx, s.State, codeKey(text), func(c *code) (err error) {
		switch {
		case c.Authorization.Client != r.Client.ID:
			// It stays good: who has stolen it must not be able to spoil it.
			return errCode.because(errors.New("the code is of another client"))
		case c.Used:
			stolen = c.Family
			return nil
		}
		if rejected = s.checkCode(r, c, bound); rejected == nil {
			var user *User
			if user, rejected = s.user(c.User, c.At); rejected == nil {
				resp, err = s.begin(ctx, r, c, user, bound)
			}
		}
		c.Used = true
		return err
	})
	switch {
	case errors.Is(err, errGone):
		return nil, errCode.because(errors.New("there is no such code"))
	case err != nil:
		return nil, err
	case stolen != "":
		// RFC 6749 section 4.1.2: somebody else has it too.
		if err := s.endFamily(ctx, stolen); err != nil {
			return nil, err
		}
		return nil, errCode.because(errors.New("the code was used before: its tokens are revoked"))
	}
	return resp, rejected
}

// checkCode checks what a client shows with its code.
func (s *Server) checkCode(r *Request, c *code, bound *Binding) error {
	a := c.Authorization
	verifier := r.Form.Get("code_verifier")
	sum := sha256.Sum256([]byte(verifier))
	switch {
	case !s.Now().Before(c.At.Add(codeLife)):
		return errCode.because(errors.New("the code has expired"))
	case len(verifier) < 43 || len(verifier) > 128 || subtle.ConstantTimeCompare([]byte(base64url.EncodeToString(sum[:])), []byte(a.Challenge)) != 1:
		return errCode.because(errors.New("code_verifier is not that of code_challenge"))
	case r.Form.Get("redirect_uri") != a.Redirect:
		return errCode.because(errors.New("redirect_uri is another"))
	case a.Key != "" && (bound == nil || bound.Key != a.Key):
		return errCode.because(errors.New("the code is bound to another key"))
	}
	return nil
}

// user returns a user who may still have tokens of a login at that time.
func (s *Server) user(id string, login time.Time) (*User, error) {
	u := s.Users.Find(id)
	if u == nil || u.Disabled || login.Before(u.Changed) {
		return nil, refuse(CodeInvalidGrant, "the user must log in again").because(errors.New("the user is gone or disabled, or has another password since"))
	}
	return u, nil
}
