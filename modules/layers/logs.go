package layers

import (
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-moat/caddy-moat/modules/internal/routetree"
)

// logs warns where a credential stands where Caddy's logs show it, and
// the logs to which the errors of requests go do not hide it. A site's own log
// is that of access alone.
func (e *examination) logs(ctx caddy.Context, routes caddyhttp.RouteList) {
	places := exposed(routes)
	if len(places) == 0 || concealed(ctx.Logger(errorLog{}).Core()) {
		return
	}
	e.add(Finding{
		ID: "credentials_logged", Severity: Warning,
		Text: "a credential may stand in " + strings.Join(places, ", ") + ", which Caddy writes unmasked to its error log: write log { format moat } into the global block; the log of a site is its access log alone",
	})
}

// exposed returns the locations where credentials may stand that are neither
// Authorization nor a cookie.
func exposed(routes caddyhttp.RouteList) (places []string) {
	for h := range routetree.Way(routes) {
		if e, ok := h.(interface{ Exposed() []string }); ok {
			places = append(places, e.Exposed()...)
		}
	}
	slices.Sort(places)
	return slices.Compact(places)
}

// errorLog stands for the logger that errors of requests are written with, so
// that Caddy says where they go.
type errorLog struct{}

// CaddyModule returns the name of the logger.
func (errorLog) CaddyModule() caddy.ModuleInfo { return caddy.ModuleInfo{ID: "http.log.error"} }

// concealed reports whether all encoders behind core are format moat. A core
// shows its encoder to the fields that are added to it, and to nobody else.
func concealed(core zapcore.Core) bool {
	if !core.Enabled(zapcore.ErrorLevel) {
		return true // nothing is written
	}
	p := &probe{}
	core.With([]zap.Field{zap.Inline(p)})
	return p.others == 0
}

// probe looks at the encoder that it is to be written with, and writes nothing.
type probe struct{ others int }

// MarshalLogObject notes an encoder that is not format moat.
func (p *probe) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	if m, ok := enc.(caddy.Module); !ok || m.CaddyModule().ID != "caddy.logging.encoders.moat" {
		p.others++
	}
	return nil
}
