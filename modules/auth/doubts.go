package auth

import "github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"

// Doubts returns what is probably not meant in the configuration of the
// methods and in what is forwarded.
func (h *Handler) Doubts() []credential.Doubt {
	var all []credential.Doubt
	for _, m := range h.methods {
		if d, ok := m.Method.(credential.Doubter); ok {
			all = append(all, d.Doubts()...)
		}
	}
	for _, list := range [][]credential.Forward{h.Forward, h.AppForward} {
		for _, f := range list {
			if d, ok := credential.ClaimDoubt("forward", f.Claim); ok {
				all = append(all, d)
			}
		}
	}
	return all
}
