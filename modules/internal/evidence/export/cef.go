package export

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/record"
)

func isIP(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}

// cefField is one field of the extension. A custom one has a label, which
// stands before it under its name and "Label".
type cefField struct {
	key   string
	label string
	value value
}

// cef is the extension of the Common Event Format.
var cef = []cefField{
	{"rt", "", number(timeMillis)},
	{"externalId", "", number(indexNumber)},
	{"deviceExternalId", "", text(logName)},
	{"src", "", text(func(e *entry) string { return ipOnly(e.Client) })},
	{"spt", "", positive(portOfPeer)},
	{"dhost", "", text(host)},
	{"dpt", "", positive(portOfHost)},
	{"suser", "", text(userID)},
	{"spriv", "", text(func(e *entry) string { return strings.Join(e.Roles, ",") })},
	{"flexString1", "issuer", text(userIssuer)},
	{"flexString2", "application", text(appID)},
	{"requestMethod", "", text(method)},
	{"request", "", text(func(e *entry) string {
		if e.Query == "" {
			return e.Path
		}
		return e.Path + "?" + e.Query
	})},
	{"app", "", text(func(e *entry) string { return e.Proto })},
	{"cn1", "status", when(hasStatus, number(status))},
	{"cn2", "redacted", positive(redactedFields)},
	{"in", "", when(isOutcome, number(received))},
	{"out", "", when(isOutcome, number(sent))},
	{"outcome", "", when(isOutcome, text(ecsOutcome))},
	{"act", "", when(hasRule, text(func(e *entry) string { return e.rule.Result }))},
	{"cs1", "layer", when(hasRule, text(ruleLayer))},
	{"cs2", "rule", when(hasRule, text(ruleName))},
	{"reason", "", text(code)},
	{"cs3", "requestId", text(requestID)},
	{"cs4", "trace", text(traceID)},
	{"cs5", "site", text(site)},
	{"fname", "", when(isChange, text(func(e *entry) string { return e.Source }))},
	{"cs6", "detail", when(isChange, text(func(e *entry) string { return e.Detail }))},
	// Keys of our own, in the form that the format has for them: all of its are taken.
	{"CaddyMoatMcpMethod", "", text(calledMethod)},
	{"CaddyMoatMcpName", "", text(calledName)},
	{"CaddyMoatMcpError", "", when(hasCallError, number(callError))},
}

// cefClass returns the class of an event and its severity, of 10.
func cefClass(e *entry) (class string, severity int) {
	switch {
	case isChange(e):
		return "change", 4
	case e.Kind == record.Intent:
		return "intent", 1
	case e.refused != nil:
		return "refused:" + e.refused.Layer, 5
	case e.Status >= 500 || e.End == record.EndPanic:
		return "error", 6
	}
	return "request", 1
}

// appendCEF writes the Common Event Format, version 0 (ArcSight), without the
// syslog header that a sink adds.
func appendCEF(dst []byte, e *entry) []byte {
	class, severity := cefClass(e)
	dst = append(dst, "CEF:0|caddy-moat|caddy-moat|1|"...)
	dst = fmt.Appendf(dst, "%s|%s|%d|", cefHeader.Replace(clean(class)), cefHeader.Replace(clean(sentence(e))), severity)
	begun := len(dst)
	add := func(key, value string) {
		if len(dst) > begun {
			dst = append(dst, ' ')
		}
		dst = append(append(append(dst, key...), '='), cefExtension.Replace(clean(value))...)
	}
	for _, f := range cef {
		v := f.value(e)
		if empty(v) {
			continue
		}
		if f.label != "" {
			add(f.key+"Label", f.label)
		}
		if n, ok := v.(int64); ok {
			v = strconv.FormatInt(n, 10)
		}
		add(f.key, v.(string))
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
