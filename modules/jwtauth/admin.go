package jwtauth

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/keyset"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/revocation"
	"github.com/caddy-moat/caddy-moat/modules/internal/lifecycle"
	"github.com/caddy-moat/caddy-moat/modules/internal/ownissuer"
)

func init() {
	caddy.RegisterModule(Admin{})
}

// Admin adds endpoints to Caddy's admin API.
//
//   - POST /moat/revocations revokes tokens. The body is one JSON object, or
//     several, a line each, in the form of a revocation file. They are in force
//     at once and in every jwt_auth of the server, kept in Caddy's storage, and
//     survive reloads and restarts; servers that share the storage take them
//     in within 10 seconds. There is room for 100000 entries; give them
//     "expires" to have them forgotten in time.
//   - GET /moat/revocations lists them, an object a line.
//   - DELETE /moat/revocations takes those of the body back.
//   - GET /moat/keysets tells the state of the key sets, and the names of
//     their keys.
type Admin struct{}

// CaddyModule returns the Caddy module information.
func (Admin) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "admin.api.moat_tokens",
		New: func() caddy.Module { return new(Admin) },
	}
}

// Routes returns the endpoints.
func (a *Admin) Routes() []caddy.AdminRoute {
	return []caddy.AdminRoute{
		{Pattern: "/moat/revocations", Handler: caddy.AdminHandlerFunc(a.revocations)},
		{Pattern: "/moat/keysets", Handler: caddy.AdminHandlerFunc(a.keysets)},
	}
}

// maxPost bounds the body of a request.
const maxPost = 8 << 20

func apiError(status int, err error) error {
	return caddy.APIError{HTTPStatus: status, Err: err}
}

func (a *Admin) revocations(w http.ResponseWriter, r *http.Request) error {
	open := openStores()
	if len(open) == 0 {
		return apiError(http.StatusConflict, errors.New("no jwt_auth is running"))
	}
	var entries []revocation.Entry
	switch r.Method {
	case http.MethodGet:
		return listRevocations(w, open)
	case http.MethodPost, http.MethodDelete:
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxPost))
		if err != nil {
			return apiError(http.StatusRequestEntityTooLarge, err)
		}
		if entries, err = parseEntries(body); err != nil {
			return apiError(http.StatusBadRequest, err)
		}
	default:
		w.Header().Set("Allow", "GET, POST, DELETE")
		return apiError(http.StatusMethodNotAllowed, errors.New("GET, POST or DELETE is expected"))
	}
	return change(w, r, open, entries)
}

// parseEntries reads one object that may go over several lines, or several,
// each on its line.
func parseEntries(body []byte) ([]revocation.Entry, error) {
	var one bytes.Buffer
	if json.Compact(&one, body) == nil {
		body = one.Bytes()
	}
	l, err := revocation.Parse(body)
	if err != nil {
		return nil, err
	}
	if l.Len() == 0 {
		return nil, errors.New(`an object such as {"jti":"…"} is expected`)
	}
	return l.Entries(), nil
}

// change applies the request to all stores: usually there is one, and two
// while a reload moves to another storage.
func change(w http.ResponseWriter, r *http.Request, open []*revocation.Store, entries []revocation.Entry) error {
	// The request may end before the storage is written; the change goes on.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), 30*time.Second)
	defer cancel()
	n := 0
	for _, s := range open {
		var err error
		if r.Method == http.MethodPost {
			err = s.Add(ctx, entries...)
			n = len(entries)
		} else {
			n, err = s.Remove(ctx, entries...)
		}
		switch {
		case errors.Is(err, revocation.ErrFull):
			return apiError(http.StatusInsufficientStorage, err)
		case err != nil:
			return apiError(http.StatusInternalServerError, err)
		}
	}
	announceRequest(r, n, entries)
	w.Header().Set("Content-Type", "application/json")
	_, err := fmt.Fprintf(w, "{\"entries\":%d}\n", n)
	return err
}

// announceRequest tells the audit trails what an administrator has revoked, or
// that he has taken n revocations back.
func announceRequest(r *http.Request, n int, entries []revocation.Entry) {
	c := lifecycle.Change{What: ownissuer.WhatRevocations, Source: "admin API", By: administrator(r)}
	switch {
	case r.Method == http.MethodPost:
		c.Detail = "added: " + revocation.CountEntries(entries...).String()
	case n == 0:
		return
	default:
		c.Detail = fmt.Sprintf("removed: %d of %s", n, revocation.CountEntries(entries...))
	}
	ownissuer.Announce(c)
}

// administrator says whose request it is, as far as the connection tells.
func administrator(r *http.Request) string {
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		return ownissuer.Printable(r.TLS.PeerCertificates[0].Subject.String()) + " at " + r.RemoteAddr
	}
	return r.RemoteAddr
}

func listRevocations(w http.ResponseWriter, open []*revocation.Store) error {
	w.Header().Set("Content-Type", "application/jsonl")
	for _, s := range open {
		if _, err := w.Write(s.List().Append(nil)); err != nil {
			return err
		}
	}
	return nil
}

func openStores() []*revocation.Store { return ownissuer.Revocations() }

func (a *Admin) keysets(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", "GET")
		return apiError(http.StatusMethodNotAllowed, errors.New("GET is expected"))
	}
	list := append(keySets(), internalSets()...)
	slices.SortFunc(list, func(a, b keyset.Status) int { return strings.Compare(a.Source, b.Source) })
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(list)
}

// Interface guard
var _ caddy.AdminRouter = (*Admin)(nil)
