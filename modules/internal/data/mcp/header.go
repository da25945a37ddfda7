package mcp

import (
	"encoding/base64"
	"net/http"
	"strings"
	"unicode/utf8"
)

// Decode returns what a value of Mcp-Name stands for, and whether it was encoded:
// =?base64?…?= is for names that a header field cannot hold as they are. A value
// that looks so and is not stands for nothing.
func Decode(value string) (text string, encoded bool) {
	const prefix, suffix = "=?base64?", "?="
	if len(value) < len(prefix)+len(suffix) || !strings.EqualFold(value[:len(prefix)], prefix) || !strings.HasSuffix(value, suffix) {
		return value, false
	}
	// Strict: no line breaks and no spare bits, so that one name has one spelling.
	raw, err := base64.StdEncoding.Strict().DecodeString(value[len(prefix) : len(value)-len(suffix)])
	if err != nil || strings.ContainsAny(value, "\r\n") || !utf8.Valid(raw) {
		return "", true
	}
	return string(raw), true
}

// DropAliases removes header fields that some servers take for those of the
// protocol: Mcp_Name and mcp.name are the variable HTTP_MCP_NAME to CGI and its
// kin.
func DropAliases(h http.Header) {
	for name := range h {
		if len(name) < 5 || !strings.EqualFold(name[:3], "mcp") || !strings.ContainsAny(name, "_.") {
			continue
		}
		delete(h, name)
	}
}
