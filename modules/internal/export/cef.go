package export

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/caddy-moat/caddy-moat/modules/internal/record"
)

func isIP(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}

// appendCEF writes the Common Event Format, version 0 (ArcSight), without the
// syslog header that a sink adds.
func appendCEF(dst []byte, log string, index int64, r *record.Record) []byte {
	class, severity := "request", 1
	switch d, refused := r.Refused(); {
	case r.Kind == record.Change:
		class, severity = "change", 4
	case r.Kind == record.Intent:
		class = "intent"
	case refused:
		class, severity = "refused:"+d.Layer, 5
	case r.Status >= 500 || r.End == record.EndPanic:
		class, severity = "error", 6
	}
	dst = append(dst, "CEF:0|caddy-moat|caddy-moat|1|"...)
	dst = fmt.Appendf(dst, "%s|%s|%d|", cefHeader.Replace(clean(class)), cefHeader.Replace(clean(message(r))), severity)
	first := true
	add := func(key, value string) {
		if value == "" {
			return
		}
		if !first {
			dst = append(dst, ' ')
		}
		first = false
		dst = append(append(append(dst, key...), '='), cefExtension.Replace(clean(value))...)
	}
	add("rt", strconv.FormatInt(r.Time.UnixMilli(), 10))
	add("externalId", strconv.FormatInt(index, 10))
	add("deviceExternalId", log)
	if isIP(r.Client) {
		add("src", r.Client)
	}
	if _, port := hostPort(r.Peer); port > 0 {
		add("spt", strconv.FormatInt(port, 10))
	}
	host, port := hostPort(r.Host)
	add("dhost", host)
	if port > 0 {
		add("dpt", strconv.FormatInt(port, 10))
	}
	add("suser", r.User.ID)
	add("spriv", strings.Join(r.Roles, ","))
	add("requestMethod", r.Method)
	request := r.Path
	if r.Query != "" {
		request += "?" + r.Query
	}
	add("request", request)
	add("app", r.Proto)
	if r.Status != 0 {
		add("cn1Label", "status")
		add("cn1", strconv.Itoa(r.Status))
	}
	if r.Redacted > 0 {
		add("cn2Label", "redacted")
		add("cn2", strconv.Itoa(r.Redacted))
	}
	if r.Kind == record.Outcome {
		add("in", strconv.FormatInt(r.Received, 10))
		add("out", strconv.FormatInt(r.Sent, 10))
		if failed(r) {
			add("outcome", "failure")
		} else {
			add("outcome", "success")
		}
	}
	if d, ok := rule(r); ok {
		add("act", d.Result)
		add("cs1Label", "layer")
		add("cs1", d.Layer)
		if d.Rule != "" {
			add("cs2Label", "rule")
			add("cs2", d.Rule)
		}
	}
	add("reason", r.Code)
	for i, kv := range [][2]string{{"requestId", r.ID}, {"trace", r.Trace}, {"site", r.Site}} {
		if kv[1] != "" {
			add(fmt.Sprintf("cs%dLabel", i+3), kv[0])
			add(fmt.Sprintf("cs%d", i+3), kv[1])
		}
	}
	if r.Kind == record.Change {
		add("fname", r.Source)
		add("cs6Label", "detail")
		add("cs6", r.Detail)
	}
	return dst
}

// In the header, backslash and bar are escaped; in the extension, backslash
// and the equals sign, and line ends are written as \n.
var (
	cefHeader    = strings.NewReplacer(`\`, `\\`, `|`, `\|`, "\n", " ", "\r", " ")
	cefExtension = strings.NewReplacer(`\`, `\\`, `=`, `\=`, "\n", `\n`, "\r", `\r`)
)

// clean replaces what would not be seen or would be obeyed.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\r' || r >= 0x7f && r < 0xa0 || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return '\ufffd'
		}
		return r
	}, s)
}
