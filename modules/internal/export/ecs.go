package export

import (
	"strings"

	"github.com/caddy-moat/caddy-moat/modules/internal/record"
)

// ecsVersion is the version of the Elastic Common Schema that appendECS
// follows.
const ecsVersion = "8.17.0"

func appendECS(dst []byte, log string, index int64, r *record.Record) []byte {
	o := begin(dst)
	o.text("@timestamp", r.Time.UTC().Format("2006-01-02T15:04:05.000000Z"))
	o.text("message", message(r))
	o.object("ecs", func(o *object) { o.text("version", ecsVersion) })
	o.object("event", func(o *object) { ecsEvent(o, log, index, r) })
	o.object("service", func(o *object) { o.text("name", r.Site) })
	o.object("trace", func(o *object) { o.text("id", r.Trace) })
	o.object("client", func(o *object) { o.text("ip", ipOnly(r.Client)); o.text("address", r.Client) })
	o.object("source", func(o *object) {
		ip, port := hostPort(r.Peer)
		o.text("ip", ipOnly(ip))
		o.text("address", ip)
		if port > 0 {
			o.number("port", port)
		}
	})
	o.object("user", func(o *object) {
		o.text("id", r.User.ID)
		o.text("name", r.User.ID)
		o.text("domain", r.User.Issuer)
		o.texts("roles", r.Roles)
	})
	o.object("url", func(o *object) {
		if r.Kind == record.Change {
			return
		}
		host, port := hostPort(r.Host)
		o.text("domain", host)
		if port > 0 {
			o.number("port", port)
		}
		o.text("path", r.Path)
		o.text("query", r.Query)
		o.text("scheme", scheme(r))
	})
	o.object("http", func(o *object) {
		o.text("version", strings.TrimPrefix(r.Proto, "HTTP/"))
		o.object("request", func(o *object) {
			o.text("method", r.Method)
			o.text("id", r.ID)
			if r.Received > 0 {
				o.object("body", func(o *object) { o.number("bytes", r.Received) })
			}
		})
		o.object("response", func(o *object) {
			if r.Status == 0 {
				return
			}
			o.number("status_code", int64(r.Status))
			o.object("body", func(o *object) { o.number("bytes", r.Sent) })
		})
	})
	o.object("tls", func(o *object) {
		o.text("version", r.TLS)
		if r.TLS != "" {
			o.text("version_protocol", "tls")
		}
	})
	if d, ok := rule(r); ok {
		o.object("rule", func(o *object) {
			o.text("name", d.Rule)
			o.text("category", d.Layer)
			o.text("ruleset", "caddy-moat")
		})
	}
	o.object("error", func(o *object) { o.text("code", r.Code) })
	o.object("moat", func(o *object) {
		unmapped(o, r)
		o.objects("decisions", len(r.Decisions), func(i int, o *object) {
			d := r.Decisions[i]
			o.text("layer", d.Layer)
			o.text("result", d.Result)
			o.text("rule", d.Rule)
			o.text("code", d.Code)
			o.text("policy", d.Policy)
		})
	})
	return o.end()
}

// ecsEvent writes the categorization fields.
func ecsEvent(o *object, log string, index int64, r *record.Record) {
	o.text("kind", "event")
	o.text("module", "caddy-moat")
	o.text("dataset", "moat.audit")
	o.text("provider", log)
	o.number("sequence", index)
	o.text("id", r.ID)
	if r.Kind == record.Change {
		o.texts("category", []string{"configuration"})
		o.texts("type", []string{"change"})
		o.text("action", r.What)
		return
	}
	o.text("action", activity(r))
	o.texts("category", []string{"api", "web"})
	types := []string{"access"}
	if d, ok := r.Refused(); ok {
		types = append(types, "denied")
		o.text("reason", d.Rule)
	} else if r.Kind == record.Outcome {
		types = append(types, "allowed")
	} else {
		types = append(types, "start")
	}
	o.texts("type", types)
	switch {
	case r.Kind == record.Intent:
		o.text("outcome", "unknown")
	case failed(r):
		o.text("outcome", "failure")
	default:
		o.text("outcome", "success")
	}
	if r.Micros > 0 {
		o.number("duration", r.Micros*1000) // nanoseconds
	}
}

// ipOnly returns s where it is an address, since the field's type is ip and
// anything else would make Elasticsearch refuse the document.
func ipOnly(s string) string {
	if isIP(s) {
		return s
	}
	return ""
}
