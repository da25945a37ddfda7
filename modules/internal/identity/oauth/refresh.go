package oauth

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/revocation"
)

// ReuseWindow is how long after its use a refresh token gives the same successor
// again: for clients that refresh in several places at once, or have not got the
// response. After that, or once the successor was used, it was stolen.
const ReuseWindow = 10 * time.Second

// family is the refresh tokens of one login, each of which the one before gave.
type family struct {
	expiring
	Client    string    `json:"client"`
	User      string    `json:"user"`
	At        time.Time `json:"at"` // of the login
	ACR       string    `json:"acr"`
	Scopes    []string  `json:"scopes,omitempty"`
	Audiences []string  `json:"audiences"`

	// Key is what proofs must be made with, "*" where any key is good but one is
	// needed. Certificate is that of the connection.
	Key         string `json:"jkt,omitempty"`
	Certificate string `json:"x5t,omitempty"`

	Generation int       `json:"generation"` // of the token that is good
	Rotated    time.Time `json:"rotated"`

	// The access token that was issued last.
	Access string    `json:"access"`
	Until  time.Time `json:"until"`

	Ended bool `json:"ended"`
}

// begin issues the first tokens of a login.
func (s *Server) begin(ctx context.Context, r *Request, c *code, user *User, bound *Binding) (*Response, error) {
	f := &family{
		expiring: expiring{c.At.Add(s.RefreshLifetime)}, Client: r.Client.ID, User: user.ID, At: c.At, ACR: c.ACR,
		Scopes: c.Authorization.Scopes, Audiences: c.Authorization.Audiences, Generation: 1, Rotated: s.Now(),
	}
	if bound != nil {
		f.Key, f.Certificate = bound.Key, bound.Certificate
		if f.Key != "" && !r.Client.Public {
			f.Key = "*" // whoever is authenticated may change keys (RFC 9449 section 5)
		}
	}
	resp, err := s.forUser(r, f, user, f.Scopes, f.Audiences, bound)
	if err != nil {
		return nil, err
	}
	refresh := r.Client.Has(GrantRefresh)
	if !refresh {
		f.Expires = f.Until // it is kept for the code that may come again
	}
	if err := s.State.put(ctx, "families/"+c.Family, f); err != nil {
		return nil, err
	}
	if refresh {
		resp.RefreshToken = s.State.refreshText(c.Family, f.Generation)
	}
	return resp, nil
}

// forUser issues an access token for a user, and notes it in the family.
func (s *Server) forUser(r *Request, f *family, user *User, scopes, targets []string, bound *Binding) (*Response, error) {
	if s.Clients.Find(user.ID) != nil {
		// Nobody could tell their tokens apart (RFC 9700 section 4.15).
		return nil, refuse(CodeInvalidGrant, "a client has the name of the user")
	}
	resp, id, err := s.issue(access{
		subject: user.ID, client: r.Client, scopes: scopes, targets: targets, roles: user.Roles, bound: bound,
		extra: map[string]any{"auth_time": f.At.Unix(), "acr": f.ACR},
		until: f.Expires,
	})
	if err != nil {
		return nil, unavailable(err)
	}
	f.Access, f.Until = id, s.Now().Add(time.Duration(resp.ExpiresIn)*time.Second)
	return resp, nil
}

var errRefresh = refuse(CodeInvalidGrant, "the refresh token is not valid")

// refresh issues tokens for a refresh token (RFC 6749 section 6). The token is
// replaced; its family ends where one that was replaced comes again (RFC 9700
// section 4.14.2). Requests for one family come one after the other.
func (s *Server) refresh(ctx context.Context, r *Request, bound *Binding) (*Response, error) {
	text, err := r.Form.Required("refresh_token")
	if err != nil {
		return nil, err
	}
	id, generation, ok := s.State.parseRefresh(text)
	if !ok {
		return nil, errRefresh.because(errors.New("not a refresh token of this server"))
	}
	var resp *Response
	stolen := false
	came := s.Now() // it may have to wait for others
	err = change(ctx, s.State, "families/"+id, func(f *family) error {
		if err := s.mayRefresh(r, f, bound); err != nil {
			return err
		}
		switch {
		case generation == f.Generation:
			f.Generation++
			f.Rotated = s.Now()
		case generation == f.Generation-1 && came.Before(f.Rotated.Add(ReuseWindow)):
			// The same successor again.
		default:
			f.Ended, stolen = true, true
			return nil
		}
		if resp, err = s.renew(r, f, bound); err != nil {
			return err
		}
		resp.RefreshToken = s.State.refreshText(id, f.Generation)
		return nil
	})
	switch {
	case errors.Is(err, errGone):
		return nil, errRefresh.because(errors.New("there is no such family"))
	case err != nil:
		return nil, err
	case stolen:
		if err := s.endFamily(ctx, id); err != nil {
			return nil, err
		}
		return nil, errRefresh.because(errors.New("the refresh token was used before: all of its family are revoked"))
	}
	return resp, nil
}

// mayRefresh checks that the client may use a family.
func (s *Server) mayRefresh(r *Request, f *family, bound *Binding) error {
	switch {
	case f.Client != r.Client.ID:
		return errRefresh.because(errors.New("the refresh token is of another client"))
	case f.Ended:
		return errRefresh.because(errors.New("the family was revoked"))
	case !s.Now().Before(f.Expires.Add(-time.Second)):
		return errRefresh.because(errors.New("the login is too long ago"))
	case f.Key != "" && (bound == nil || bound.Key == "" || f.Key != "*" && bound.Key != f.Key):
		return refuse(CodeInvalidProof, "the refresh token is bound to a key")
	case f.Certificate != "" && (bound == nil || bound.Certificate != f.Certificate):
		return errRefresh.because(errors.New("the refresh token is bound to another certificate"))
	}
	return nil
}

// renew issues an access token of a family, for all or less than it has.
func (s *Server) renew(r *Request, f *family, bound *Binding) (*Response, error) {
	user, err := s.user(f.User, f.At)
	if err != nil {
		return nil, err
	}
	// What the client may no longer have, the family has not either.
	without := func(has, may []string) []string {
		return slices.DeleteFunc(slices.Clone(has), func(v string) bool { return !slices.Contains(may, v) })
	}
	scopes, err := scopes(r, without(f.Scopes, r.Client.Scopes))
	if err != nil {
		return nil, err
	}
	allowed := without(f.Audiences, r.Client.Audiences)
	asked := allowed
	if len(r.Form.All("resource"))+len(r.Form.All("audience")) > 0 {
		if asked, err = targets(r, allowed); err != nil {
			return nil, err
		}
	}
	if len(asked) == 0 {
		return nil, refuse(CodeInvalidTarget, "the client may not have tokens for this resource any more")
	}
	return s.forUser(r, f, user, scopes, asked, bound)
}

// endFamily ends a family, and revokes the access token that it has issued last.
func (s *Server) endFamily(ctx context.Context, id string) error {
	var last family
	err := change(ctx, s.State, "families/"+id, func(f *family) error {
		f.Ended, last = true, *f
		return nil
	})
	if errors.Is(err, errGone) {
		return nil
	}
	if err == nil && last.Access != "" && s.Now().Before(last.Until) {
		return s.revoke(ctx, revocation.Entry{Issuer: s.Issuer.Name(), JTI: last.Access, Expires: last.Until})
	}
	return err
}

// revokeRefresh ends the family of a refresh token, where it is the client's.
func (s *Server) revokeRefresh(ctx context.Context, r *Request, id string) error {
	err := change(ctx, s.State, "families/"+id, func(f *family) error {
		if f.Client != r.Client.ID {
			return refuse(CodeUnauthorizedClient, "the token is of another client")
		}
		return nil
	})
	if errors.Is(err, errGone) {
		return nil
	}
	if err != nil {
		return err
	}
	return s.endFamily(ctx, id)
}
