package guard

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	engine "github.com/caddy-moat/caddy-moat/modules/internal/access/guard"
	"github.com/caddy-moat/caddy-moat/modules/internal/lifecycle"
)

func init() {
	caddy.RegisterModule(Admin{})
}

// Admin adds endpoints to Caddy's admin API.
//
//   - GET /moat/bans lists the bans in force, an object a line: zone, subject, rule,
//     reason, evidence, since, until and level.
//   - POST /moat/bans bans a subject: {"subject":"203.0.113.7","duration":"1h","reason":"…","zone":"default"}. The
//     subject is an address, a network, caller:<caller> or key:<kind>|<key ID>. Without a zone it is banned in all.
//   - DELETE /moat/bans lifts the ban of the subject of the body, and forgets that there was one.
type Admin struct{}

// CaddyModule returns the Caddy module information.
func (Admin) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "admin.api.moat_bans",
		New: func() caddy.Module { return new(Admin) },
	}
}

// Routes returns the endpoints.
func (a *Admin) Routes() []caddy.AdminRoute {
	return []caddy.AdminRoute{{Pattern: "/moat/bans", Handler: caddy.AdminHandlerFunc(a.bans)}}
}

const bansPath = "/moat/bans"

func apiError(status int, err error) error { return caddy.APIError{HTTPStatus: status, Err: err} }

// asked is the body of a request.
type asked struct {
	Subject  string `json:"subject"`
	Duration string `json:"duration,omitempty"`
	Reason   string `json:"reason,omitempty"`
	Zone     string `json:"zone,omitempty"`
}

// shown is a ban as it is listed.
type shown struct {
	Zone     string    `json:"zone"`
	Subject  string    `json:"subject"`
	Rule     string    `json:"rule,omitempty"`
	Reason   string    `json:"reason,omitempty"`
	By       string    `json:"by,omitempty"`
	Evidence []string  `json:"evidence,omitempty"`
	Since    time.Time `json:"since"`
	Until    time.Time `json:"until"`
	Level    int       `json:"level"`
}

func (a *Admin) bans(w http.ResponseWriter, r *http.Request) error {
	open := lifecycle.Shared[*zone](zones)
	if len(open) == 0 {
		return apiError(http.StatusConflict, errors.New("no guard is running"))
	}
	slices.SortFunc(open, func(x, y *zone) int { return strings.Compare(x.name, y.name) })
	switch r.Method {
	case http.MethodGet:
		return list(w, open)
	case http.MethodPost, http.MethodDelete:
		return change(w, r, open)
	}
	w.Header().Set("Allow", "GET, POST, DELETE")
	return apiError(http.StatusMethodNotAllowed, errors.New("GET, POST or DELETE is expected"))
}

func list(w http.ResponseWriter, open []*zone) error {
	w.Header().Set("Content-Type", "application/jsonl")
	out, m := json.NewEncoder(w), now()
	out.SetEscapeHTML(false)
	for _, z := range open {
		for _, b := range z.bans.List(m) {
			if err := out.Encode(shown{
				z.name, b.Subject.String(), b.Rule, b.Reason, b.By, b.Evidence, b.Since,
				m.Wall.Add(b.Left(m)).Truncate(time.Second), b.Level,
			}); err != nil {
				return err
			}
		}
	}
	return nil
}

const (
	maxBody   = 64 << 10
	maxReason = 200
)

func change(w http.ResponseWriter, r *http.Request, open []*zone) error {
	in, subject, err := read(w, r)
	if err != nil {
		return apiError(http.StatusBadRequest, err)
	}
	if in.Zone != "" {
		if open = slices.DeleteFunc(open, func(z *zone) bool { return z.name != in.Zone }); len(open) == 0 {
			return apiError(http.StatusNotFound, fmt.Errorf("no guard has the zone %q", in.Zone))
		}
	}
	ban := engine.Ban{Subject: subject, Reason: in.Reason, By: r.RemoteAddr}
	if r.Method == http.MethodPost {
		if ban.For, err = caddy.ParseDuration(in.Duration); err != nil || banTimes.Check("duration", caddy.Duration(ban.For)) != nil || ban.For <= 0 {
			return apiError(http.StatusBadRequest, fmt.Errorf("duration '%s': write %s", in.Duration, banTimes))
		}
	}
	n := 0
	for _, z := range open {
		if r.Method == http.MethodPost {
			z.bans.Set(now(), ban)
			z.announce(changeOf("ban", "admin API", r.RemoteAddr, &ban))
			n++
		} else if old, was := z.bans.Lift(now(), subject); was {
			old.Reason = in.Reason
			z.announce(changeOf("unban", "admin API", r.RemoteAddr, &old))
			n++
		}
		if err := z.save(); err != nil {
			return apiError(http.StatusInternalServerError, fmt.Errorf("it is done, but the storage does not know of it: %w", err))
		}
	}
	w.Header().Set("Content-Type", "application/json")
	_, err = fmt.Fprintf(w, "{\"bans\":%d}\n", n)
	return err
}

// read reads who is to be banned, or not any more.
func read(w http.ResponseWriter, r *http.Request) (in asked, s engine.Subject, err error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return in, s, err
	}
	d := json.NewDecoder(strings.NewReader(string(body)))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil || d.More() {
		return in, s, errors.New(`an object such as {"subject":"203.0.113.7","duration":"1h"} is expected`)
	}
	if len(in.Reason) > maxReason || strings.ContainsFunc(in.Reason, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		return in, s, fmt.Errorf("reason: write at most %d characters on one line", maxReason)
	}
	s, err = engine.ParseSubject(in.Subject)
	if err != nil {
		err = fmt.Errorf("subject %q: %w", in.Subject, err)
	}
	return in, s, err
}

// changeOf is a ban, or the end of one, for the audit trail.
func changeOf(what, source, by string, b *engine.Ban) lifecycle.Change {
	detail := b.Subject.String()
	if what == "ban" {
		detail += " for " + b.For.String()
	}
	if b.Reason != "" {
		detail += ": " + b.Reason
	}
	if len(b.Evidence) > 0 {
		detail += "\nevidence: " + strings.Join(b.Evidence, " ")
	}
	return lifecycle.Change{What: what, Source: source, By: by, Detail: detail}
}

// Interface guard
var _ caddy.AdminRouter = (*Admin)(nil)
