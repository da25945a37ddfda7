package jwtauth

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/keyset"
)

// running is what the server that runs says of its keys of an internal issuer.
type running struct {
	address string // of its admin endpoint
	keys    []string
}

// askTimeout bounds the wait for a server that may not be there.
const askTimeout = 2 * time.Second

// askServer asks the server that responds at the admin endpoint of a
// configuration for its keys of an issuer. The second result is false where
// none responds, or it has no such issuer: then nothing is known.
func askServer(ctx context.Context, config []byte, file, issuer string) (running, bool) {
	address, err := caddycmd.DetermineAdminAPIAddress("", config, file, "")
	if err != nil {
		return running{}, false
	}
	status := make(chan []keyset.Status, 1)
	go func() {
		status <- keySetsAt(address)
	}()
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	select {
	case <-ctx.Done():
		return running{}, false
	case list := <-status:
		i := slices.IndexFunc(list, func(s keyset.Status) bool { return s.Source == "internal "+issuer })
		if i < 0 {
			return running{}, false
		}
		return running{address, list[i].Keys}, true
	}
}

// keySetsAt returns nothing where no server of ours responds.
func keySetsAt(address string) (list []keyset.Status) {
	resp, err := caddycmd.AdminAPIRequest(address, http.MethodGet, "/moat/keysets", nil, nil)
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	if json.NewDecoder(io.LimitReader(resp.Body, maxPost)).Decode(&list) != nil {
		return nil
	}
	return list
}

// rejects says that the server does not know a key, "" if it does.
func (r running) rejects(key string) string {
	if slices.Contains(r.keys, key) {
		return ""
	}
	return "warning: the server at " + r.address + " rejects this token: it has other keys of this issuer (" + strings.Join(r.keys, ", ") +
		"), in another storage; run this as the user whom the server runs as (sudo -u caddy …)"
}
