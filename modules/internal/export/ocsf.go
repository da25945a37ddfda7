package export

import (
	"strconv"
	"strings"

	"github.com/caddy-moat/caddy-moat/modules/internal/decision"
	"github.com/caddy-moat/caddy-moat/modules/internal/record"
)

// ocsfVersion is the version of the Open Cybersecurity Schema Framework that
// appendOCSF follows.
const ocsfVersion = "1.3.0"

// appendOCSF writes class API Activity (6003) of category Application
// Activity (6). Changes of policy are of the class too: an update made to the
// gateway's own resource.
func appendOCSF(dst []byte, log string, index int64, r *record.Record) []byte {
	id, name := ocsfActivity(r)
	o := begin(dst)
	o.number("category_uid", 6)
	o.text("category_name", "Application Activity")
	o.number("class_uid", 6003)
	o.text("class_name", "API Activity")
	o.number("activity_id", id)
	o.text("activity_name", name)
	o.number("type_uid", 600300+id)
	o.number("time", r.Time.UnixMilli())
	o.text("message", message(r))
	severity, sname := int64(1), "Informational"
	if failed(r) {
		severity, sname = 2, "Low"
	}
	o.number("severity_id", severity)
	o.text("severity", sname)
	switch {
	case r.Kind == record.Intent:
		o.number("status_id", 0)
		o.text("status", "Unknown")
	case failed(r):
		o.number("status_id", 2)
		o.text("status", "Failure")
	default:
		o.number("status_id", 1)
		o.text("status", "Success")
	}
	if r.Status != 0 {
		o.text("status_code", strconv.Itoa(r.Status))
	}
	o.text("status_detail", r.Code)
	if r.Micros > 0 {
		o.number("duration", r.Micros/1000)
	}
	o.object("metadata", func(o *object) {
		o.text("version", ocsfVersion)
		o.text("uid", strconv.FormatInt(index, 10))
		o.text("correlation_uid", r.ID)
		o.text("log_name", log)
		o.number("sequence", index)
		o.object("product", func(o *object) {
			o.text("name", "caddy-moat")
			o.text("vendor_name", "caddy-moat")
		})
		o.texts("profiles", []string{"security_control"})
	})
	o.object("actor", func(o *object) {
		o.object("user", func(o *object) {
			o.text("name", r.User.ID)
			o.text("uid", r.User.ID)
			o.objects("groups", len(r.Roles), func(i int, o *object) { o.text("name", r.Roles[i]) })
		})
		o.object("session", func(o *object) {
			o.text("uid", r.User.Token)
			o.text("issuer", r.User.Issuer)
			o.text("credential_uid", r.User.Key)
		})
		o.object("process", func(o *object) { o.text("name", r.By) })
		if r.User.ID == "" && r.By == "" {
			o.text("app_name", "anonymous") // one member at least is required
		}
	})
	o.object("api", func(o *object) {
		if r.Kind == record.Change {
			o.text("operation", r.What)
			o.object("service", func(o *object) { o.text("name", r.Layer) })
			return
		}
		o.text("operation", activity(r))
		o.object("service", func(o *object) { o.text("name", r.Site) })
		o.object("request", func(o *object) { o.text("uid", r.ID) })
		o.object("response", func(o *object) {
			if r.Status != 0 {
				o.number("code", int64(r.Status))
			}
			o.text("error", r.Code)
		})
	})
	o.object("src_endpoint", func(o *object) {
		o.text("ip", r.Client)
		if ip, port := hostPort(r.Peer); ip == r.Client && port > 0 {
			o.number("port", port)
		}
		if r.Kind == record.Change {
			o.text("name", "localhost")
		}
	})
	if r.Kind != record.Change {
		o.object("http_request", func(o *object) {
			o.text("http_method", r.Method)
			o.text("version", strings.TrimPrefix(r.Proto, "HTTP/"))
			o.text("uid", r.ID)
			if r.Received > 0 {
				o.number("length", r.Received)
			}
			o.object("url", func(o *object) {
				host, port := hostPort(r.Host)
				o.text("hostname", host)
				if port > 0 {
					o.number("port", port)
				}
				o.text("path", r.Path)
				o.text("query_string", r.Query)
				o.text("scheme", scheme(r))
			})
		})
	}
	if r.Kind == record.Outcome && r.Status != 0 {
		o.object("http_response", func(o *object) {
			o.number("code", int64(r.Status))
			o.number("length", r.Sent)
			if r.Micros > 0 {
				o.number("latency", r.Micros/1000)
			}
		})
	}
	if d, ok := rule(r); ok {
		// Profile security_control: what the gateway did about it.
		if d.Result == decision.Deny || d.Result == decision.Error {
			o.number("action_id", 2)
			o.text("action", "Denied")
			o.number("disposition_id", 2)
			o.text("disposition", "Blocked")
		} else {
			o.number("action_id", 1)
			o.text("action", "Allowed")
			o.number("disposition_id", 1)
			o.text("disposition", "Allowed")
		}
		o.object("firewall_rule", func(o *object) {
			o.text("name", d.Rule)
			o.text("category", d.Layer)
		})
	}
	o.object("unmapped", func(o *object) { unmapped(o, r) })
	return o.end()
}

// unmapped keeps what the schema has no place for.
func unmapped(o *object, r *record.Record) {
	o.text("kind", r.Kind)
	o.text("trace", r.Trace)
	o.text("end", r.End)
	o.text("tls", r.TLS)
	o.text("credential", r.User.Kind)
	if r.Redacted > 0 {
		o.number("redacted", int64(r.Redacted))
	}
	o.texts("redacted_by", r.RedactedBy)
	o.text("source", r.Source)
	o.text("old", r.Old)
	o.text("new", r.New)
	o.text("detail", r.Detail)
}

// ocsfActivity maps methods to the activities of the class.
func ocsfActivity(r *record.Record) (int64, string) {
	if r.Kind == record.Change {
		return 3, "Update"
	}
	switch r.Method {
	case "POST":
		return 1, "Create"
	case "GET", "HEAD", "OPTIONS", "QUERY":
		return 2, "Read"
	case "PUT", "PATCH":
		return 3, "Update"
	case "DELETE":
		return 4, "Delete"
	}
	return 99, "Other"
}
