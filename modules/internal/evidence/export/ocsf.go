package export

import (
	"strconv"

	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/decision"
	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/record"
)

// ocsfVersion is the version of the Open Cybersecurity Schema Framework that
// ocsf follows.
const ocsfVersion = "1.3.0"

// ocsf is class API Activity (6003) of category Application Activity (6).
// Changes of policy are of the class too: an update made to the gateway's own
// resource.
var ocsf = newDocument([]field{
	{"category_uid", constant(int64(6))},
	{"category_name", constant("Application Activity")},
	{"class_uid", constant(int64(6003))},
	{"class_name", constant("API Activity")},
	{"activity_id", number(func(e *entry) int64 { return ocsfActivity(e).id })},
	{"activity_name", text(func(e *entry) string { return ocsfActivity(e).name })},
	{"type_uid", number(func(e *entry) int64 { return 600300 + ocsfActivity(e).id })},
	{"time", number(timeMillis)},
	{"message", text(sentence)},
	{"severity_id", number(func(e *entry) int64 { return ocsfSeverity(e).id })},
	{"severity", text(func(e *entry) string { return ocsfSeverity(e).name })},
	{"status_id", number(func(e *entry) int64 { return ocsfStatus(e).id })},
	{"status", text(func(e *entry) string { return ocsfStatus(e).name })},
	{"status_code", when(hasStatus, text(func(e *entry) string { return strconv.Itoa(e.Status) }))},
	{"status_detail", text(code)},
	{"duration", when(hasDuration, number(millis))},

	{"metadata.version", constant(ocsfVersion)},
	{"metadata.uid", text(indexText)},
	{"metadata.correlation_uid", text(requestID)},
	{"metadata.log_name", text(logName)},
	{"metadata.sequence", number(indexNumber)},
	{"metadata.product.name", constant("caddy-moat")},
	{"metadata.product.vendor_name", constant("caddy-moat")},
	{"metadata.profiles", constant([]string{"security_control"})},

	{"actor.user.name", text(userID)},
	{"actor.user.uid", text(userID)},
	{"actor.user.groups", func(e *entry) any {
		list := make(objects, len(e.Roles))
		for i, role := range e.Roles {
			list[i] = []member{{"name", role}}
		}
		return list
	}},
	{"actor.session.uid", text(func(e *entry) string { return e.User.Token })},
	{"actor.session.issuer", text(userIssuer)},
	{"actor.session.credential_uid", text(func(e *entry) string { return e.User.Key })},
	{"actor.process.name", text(func(e *entry) string { return e.By })},
	// One member at least is required.
	{"actor.app_name", text(func(e *entry) string {
		if e.App.ID == "" && e.User.ID == "" && e.By == "" {
			return "anonymous"
		}
		return e.App.ID
	})},
	{"actor.app_uid", text(appID)},

	{"api.operation", text(func(e *entry) string {
		if isChange(e) {
			return e.What
		}
		return operation(e)
	})},
	{"api.service.name", text(func(e *entry) string {
		if isChange(e) {
			return e.Layer
		}
		return e.Site
	})},
	{"api.request.uid", requestText(requestID)},
	{"api.response.code", when(func(e *entry) bool { return isRequest(e) && hasStatus(e) }, number(status))},
	{"api.response.error", requestText(code)},

	{"src_endpoint.ip", text(func(e *entry) string { return e.Client })},
	{"src_endpoint.port", when(func(e *entry) bool { return e.peer == e.Client }, positive(portOfPeer))},
	{"src_endpoint.name", when(isChange, constant("localhost"))},

	{"http_request.http_method", requestText(method)},
	{"http_request.version", requestText(protocol)},
	{"http_request.uid", requestText(requestID)},
	{"http_request.length", when(isRequest, positive(received))},
	{"http_request.url.hostname", requestText(host)},
	{"http_request.url.port", when(isRequest, positive(portOfHost))},
	{"http_request.url.path", requestText(path)},
	{"http_request.url.query_string", requestText(query)},
	{"http_request.url.scheme", requestText(schemeOf)},
	{"http_response.code", when(hasResponse, number(status))},
	{"http_response.length", when(hasResponse, number(sent))},
	{"http_response.latency", when(func(e *entry) bool { return hasResponse(e) && hasDuration(e) }, number(millis))},

	// Profile security_control: what the gateway did about it.
	{"action_id", when(hasRule, number(func(e *entry) int64 { return ocsfAction(e).id }))},
	{"action", when(hasRule, text(func(e *entry) string { return ocsfAction(e).name }))},
	{"disposition_id", when(hasRule, number(func(e *entry) int64 { return ocsfDisposition(e).id }))},
	{"disposition", when(hasRule, text(func(e *entry) string { return ocsfDisposition(e).name }))},
	{"firewall_rule.name", when(hasRule, text(ruleName))},
	{"firewall_rule.category", when(hasRule, text(ruleLayer))},
}, further("unmapped"))

// enum is a value of an enumeration of OCSF.
type enum struct {
	id   int64
	name string
}

// ocsfActivities are the activities of the class, by method.
var ocsfActivities = map[string]enum{
	"POST": {1, "Create"}, "GET": {2, "Read"}, "HEAD": {2, "Read"}, "OPTIONS": {2, "Read"}, "QUERY": {2, "Read"},
	"PUT": {3, "Update"}, "PATCH": {3, "Update"}, "DELETE": {4, "Delete"},
}

func ocsfActivity(e *entry) enum {
	if isChange(e) {
		return enum{3, "Update"}
	}
	if a, ok := ocsfActivities[e.Method]; ok {
		return a
	}
	return enum{99, "Other"}
}

func ocsfSeverity(e *entry) enum {
	if e.failed {
		return enum{2, "Low"}
	}
	return enum{1, "Informational"}
}

func ocsfStatus(e *entry) enum {
	switch {
	case e.Kind == record.Intent:
		return enum{0, "Unknown"}
	case e.failed:
		return enum{2, "Failure"}
	}
	return enum{1, "Success"}
}

func blocked(e *entry) bool {
	return e.rule.Result == decision.Deny || e.rule.Result == decision.Error
}

func ocsfAction(e *entry) enum {
	if blocked(e) {
		return enum{2, "Denied"}
	}
	return enum{1, "Allowed"}
}

func ocsfDisposition(e *entry) enum {
	if blocked(e) {
		return enum{2, "Blocked"}
	}
	return enum{1, "Allowed"}
}
