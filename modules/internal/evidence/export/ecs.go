package export

import "github.com/caddy-moat/caddy-moat/modules/internal/evidence/record"

// ecsVersion is the version of the Elastic Common Schema that ecs follows.
const ecsVersion = "8.17.0"

var ecs = newDocument([]field{
	{"@timestamp", text(func(e *entry) string { return e.Time.UTC().Format("2006-01-02T15:04:05.000000Z") })},
	{"message", text(sentence)},
	{"ecs.version", constant(ecsVersion)},

	{"event.kind", constant("event")},
	{"event.module", constant("caddy-moat")},
	{"event.dataset", constant("moat.audit")},
	{"event.provider", text(logName)},
	{"event.sequence", number(indexNumber)},
	{"event.id", text(requestID)},
	{"event.action", requestText(operation)},
	{"event.category", texts(ecsCategory)},
	{"event.reason", text(func(e *entry) string {
		if isChange(e) || e.refused == nil {
			return ""
		}
		return e.refused.Rule
	})},
	{"event.type", texts(ecsType)},
	{"event.action", when(isChange, text(func(e *entry) string { return e.What }))},
	{"event.outcome", requestText(ecsOutcome)},
	{"event.duration", when(func(e *entry) bool { return isRequest(e) && hasDuration(e) }, number(func(e *entry) int64 { return e.Micros * 1000 }))}, // nanoseconds

	{"service.name", text(site)},
	{"trace.id", text(traceID)},
	{"client.ip", text(func(e *entry) string { return ipOnly(e.Client) })},
	{"client.address", text(func(e *entry) string { return e.Client })},
	{"source.ip", text(func(e *entry) string { return ipOnly(e.peer) })},
	{"source.address", text(func(e *entry) string { return e.peer })},
	{"source.port", positive(portOfPeer)},
	{"user.id", text(userID)},
	{"user.name", text(userID)},
	{"user.domain", text(userIssuer)},
	{"user.roles", texts(roles)},
	{"url.domain", requestText(host)},
	{"url.port", when(isRequest, positive(portOfHost))},
	{"url.path", requestText(path)},
	{"url.query", requestText(query)},
	{"url.scheme", requestText(schemeOf)},
	{"http.version", text(protocol)},
	{"http.request.method", text(method)},
	{"http.request.id", text(requestID)},
	{"http.request.body.bytes", positive(received)},
	{"http.response.status_code", when(hasStatus, number(status))},
	{"http.response.body.bytes", when(hasStatus, number(sent))},
	{"tls.version", text(tlsVersion)},
	{"tls.version_protocol", when(func(e *entry) bool { return e.TLS != "" }, constant("tls"))},
	{"rule.name", when(hasRule, text(ruleName))},
	{"rule.category", when(hasRule, text(ruleLayer))},
	{"rule.ruleset", when(hasRule, constant("caddy-moat"))},
	{"error.code", text(code)},
}, further("moat"), []field{
	{"moat.decisions", func(e *entry) any {
		list := make(objects, len(e.Decisions))
		for i, d := range e.Decisions {
			list[i] = []member{{"layer", d.Layer}, {"result", d.Result}, {"rule", d.Rule}, {"code", d.Code}, {"policy", d.Policy}}
		}
		return list
	}},
})

// The categorization fields.

func ecsCategory(e *entry) []string {
	if isChange(e) {
		return []string{"configuration"}
	}
	return []string{"api", "web"}
}

func ecsType(e *entry) []string {
	switch {
	case isChange(e):
		return []string{"change"}
	case e.refused != nil:
		return []string{"access", "denied"}
	case isOutcome(e):
		return []string{"access", "allowed"}
	}
	return []string{"access", "start"}
}

func ecsOutcome(e *entry) string {
	switch {
	case e.Kind == record.Intent:
		return "unknown"
	case e.failed:
		return "failure"
	}
	return "success"
}

// ipOnly returns s where it is an address, since the field's type is ip and
// anything else would make Elasticsearch refuse the document.
func ipOnly(s string) string {
	if isIP(s) {
		return s
	}
	return ""
}
