package redact

import (
	"bytes"
	"errors"
	"strings"
)

// knownPrefixes are what some servers write before JSON, so that a page of
// another site which includes it as a script gets nothing (XSSI). Clients cut
// them off.
var knownPrefixes = []string{
	")]}',", ")]}'", "while(1);", "while (1);", "for(;;);", "for (;;);", "throw 1;", "{}&&", "{} &&", "&&&START&&&",
}

// maxPrefix is how long one may be, in bytes.
const maxPrefix = 64

// checkPrefixes reports what is wrong with those of the option xssi_prefix.
func checkPrefixes(list []string) error {
	for _, p := range list {
		if p == "" || len(p) > maxPrefix || strings.TrimSpace(p) != p {
			return errors.New("xssi_prefix: write texts of up to 64 bytes, without space around them, such as \")]}'\"")
		}
	}
	return nil
}

// cutPrefix returns how many bytes of a body are the longest of the prefixes it
// begins with, 0 for none. It reports open if more of the body could tell
// otherwise.
func cutPrefix(prefixes []string, body []byte) (n int, open bool) {
	for _, p := range prefixes {
		switch {
		case bytes.HasPrefix(body, []byte(p)):
			n = max(n, len(p))
		case len(body) < len(p) && strings.HasPrefix(p, string(body)):
			open = true
		}
	}
	return n, open
}

// hiddenJSON is the fault of JSON behind a prefix, where none is expected.
func hiddenJSON(first []byte) fault {
	if n, _ := cutPrefix(knownPrefixes, first); n > 0 && looksLikeJSON(first[n:]) {
		return fault{reason: "syntax", detail: "JSON behind a prefix against its inclusion as a script", hint: "write xssi_prefix to read what follows such a prefix"}
	}
	return fault{}
}
