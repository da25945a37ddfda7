package auth

import (
	"net/http"
	"strings"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/conceal"
	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/decision"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
	"github.com/caddy-moat/caddy-moat/modules/internal/problem"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

// refuse sends the rejection of the method won, or of nobody if won is
// negative.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, won int, err *credential.Error) error {
	p := &problem.Problem{Status: err.Status(), Code: err.Code, Detail: err.Detail, Cause: err.Cause}
	result := decision.Deny
	switch err.Kind {
	case credential.Unavailable:
		result = decision.Error
		p.RetryAfter = err.RetryAfter
		if p.RetryAfter <= 0 {
			p.RetryAfter = defaultRetryAfter
		}
	case credential.Conflict, credential.TooLarge: // another credential would not help
	case credential.Missing, credential.Bad, credential.Insufficient, credential.Malformed:
		p.Challenges = h.challenges(r, won, err)
		if p.Status == http.StatusUnauthorized {
			p.Challenges = reqctx.WithParameter(p.Challenges, "scope", strings.Join(h.firstScopes(r), " "))
		}
	}
	rule := err.Rule
	if rule == "" && won >= 0 {
		rule = h.methods[won].name
	}
	// The client is told as little as its standard asks for. The record has
	// the reason, without what may be a credential in it.
	why := err.Detail
	if err.Cause != nil {
		why = err.Cause.Error()
	}
	h.decideBecause(r, result, rule, err.Code, conceal.Tokens(why))
	if err.Caller != nil {
		reqctx.Decisions(r).SetCaller(err.Caller)
	}
	if err.Kind == credential.Bad {
		reqctx.Of(r).SetRejected(r, h.placesOf(r, won))
	}
	h.logRejection(err, rule, conceal.Tokens(why))
	if err.Kind == credential.Missing || err.Kind == credential.Bad {
		for i := range h.methods {
			for name, values := range h.methods[i].traits.Unauthorized {
				w.Header()[name] = append(w.Header()[name], values...)
			}
		}
	}
	for name, values := range err.Header {
		w.Header()[name] = append([]string(nil), values...)
	}
	return reqctx.Refuse(w, r, p)
}

// logRejection tells the administrator why a credential was rejected: each
// rejection at level debug, and each cause once a minute as a warning. What is
// not the client's fault, such as a provider that is down, is logged by the one
// that notices.
func (h *Handler) logRejection(err *credential.Error, rule, why string) {
	level := zapcore.DebugLevel
	if err.Kind != credential.Missing && err.Kind != credential.Unavailable &&
		warned.due(h.Name+"\x00"+rule+"\x00"+err.Code+"\x00"+err.Detail, time.Now()) {
		level = zapcore.WarnLevel
	}
	if c := h.logger.Check(level, "credential rejected"); c != nil {
		c.Write(
			zap.String("layer", h.Name),
			zap.String("code", err.Code),
			zap.String("detail", err.Detail),
			zap.String("rule", rule),
			zap.String("cause", why),
		)
	}
}

// defaultRetryAfter is said where nobody knows better. The life of a key set
// tries again within this time.
const defaultRetryAfter = 10 * time.Second

// challenges collects what each method would ask for. The method that
// refused says why; for a malformed or insufficient credential it alone
// speaks, since offering others would not help.
func (h *Handler) challenges(r *http.Request, won int, err *credential.Error) []string {
	var all []string
	for i := range h.methods {
		var why *credential.Error
		if i == won {
			why = err
		} else if err.Kind == credential.Insufficient || err.Kind == credential.Malformed {
			continue
		}
		m := &h.methods[i]
		if m.foreign == nil {
			all = append(all, m.Challenges(why)...)
			continue
		}
		all = append(all, m.foreign.challenges(r)...)
	}
	return all
}

// placesOf returns where the credentials of the method won stand, none where that is not
// known.
func (h *Handler) placesOf(r *http.Request, won int) []credential.Place {
	if won < 0 || h.methods[won].Method == nil {
		return nil
	}
	return h.methods[won].Places(r)
}
