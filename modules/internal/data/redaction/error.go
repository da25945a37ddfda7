package redaction

import "fmt"

// Reason says what is wrong with a text.
type Reason string

// The reasons of an Error. Each is fit to be logged: none quotes the text.
const (
	ReasonSyntax     Reason = "unexpected character"
	ReasonTruncated  Reason = "the text ends too early"
	ReasonTrailing   Reason = "more text after the value"
	ReasonUTF8       Reason = "invalid UTF-8"
	ReasonSurrogate  Reason = "half of a surrogate pair in a name"
	ReasonEscape     Reason = "invalid escape in a string"
	ReasonControl    Reason = "control character in a string"
	ReasonNumber     Reason = "malformed number"
	ReasonDepth      Reason = "nested too deeply"
	ReasonHeldSpace  Reason = "too much space before a member that may be removed"
	ReasonHeldWindow Reason = "elements too large to be held until the end of their array is known"
)

// Error is a text that cannot be redacted, because it is not JSON as RFC 8259
// and RFC 3629 define it or is beyond a limit of Options.
type Error struct {
	Offset  int64  // of the first byte that is wrong, from the start of the text
	Pointer string // RFC 6901, of the innermost value that was begun; long names are cut short
	Reason  Reason
}

func (e *Error) Error() string {
	return fmt.Sprintf("malformed JSON: %s at byte %d", e.Reason, e.Offset)
}
