package redact

import (
	"strings"
	"testing"
)

func TestJSONBehindAPrefixIsReadIfAsked(t *testing.T) {
	h := provision(t, "remove ssn\nxssi_prefix")
	own := provision(t, "remove ssn\nxssi_prefix \"/*x*/\" \"/*x*/ y\"")
	for _, label := range []string{"Content-Type: application/json", "Content-Type: text/plain", "X: y"} {
		for _, prefix := range []string{")]}'\n", ")]}',\n\n", ")]}' ", "while(1);", "for (;;); ", "{}&&", ""} {
			serve(t, h, raw(t, lengthed(label, prefix+body))).get().is(t, 200, prefix+masked)
			serve(t, h, raw(t, chunked(label, strings.Split(prefix+body, "")...))).get().is(t, 200, prefix+masked)
		}
		for _, prefix := range []string{"/*x*/", "/*x*/ y\n", "", "\n"} {
			serve(t, own, raw(t, chunked(label, strings.Split(prefix+body, "")...))).get().is(t, 200, prefix+masked)
		}
		for _, bad := range []string{")]}'" + body + "}", ")]}'" + secret, ")]}'", "while(1);<" + secret, ")]}')]}'" + body} {
			serve(t, h, raw(t, lengthed(label, bad))).get().refused(t, 502, "unreadable_response")
		}
		serve(t, own, raw(t, lengthed(label, ")]}'"+body))).get().refused(t, 502, "unreadable_response")
	}
}

// Behind a prefix it looks like JSON too, and so it never passes unread.
func TestJSONBehindAPrefixDoesNotPass(t *testing.T) {
	h := provision(t, "remove ssn\nunreadable pass\npass text/javascript")
	for _, label := range []string{"text/plain", "text/javascript", "application/x"} {
		serve(t, h, raw(t, lengthed("Content-Type: "+label, ")]}',\n"+body))).get().refused(t, 502, "unreadable_response")
		serve(t, h, raw(t, lengthed("Content-Type: "+label, "while(1);poll()"))).get().is(t, 200, "while(1);poll()")
	}
}
