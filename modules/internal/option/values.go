package option

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/dustin/go-humanize"
)

// Durations are the values of an option that takes a duration. Those of Sizes
// are sizes in bytes, those of Counts numbers. Each has one sentence for every
// value that is not among them, in a Caddyfile and in JSON.
type Durations struct {
	Min, Max time.Duration // Max 0: as long as one likes
	Example  string        // such as 30s
	Off      bool          // or off, which OrOff reads
}

// Sizes are the values of an option that takes a size. See Durations.
type Sizes struct {
	Min, Max int64 // Min 0: 1 byte; Max 0: as large as one likes
	Example  string
	Off      bool
}

// Counts are the values of an option that takes a number. See Durations.
type Counts struct {
	Min, Max int    // Max 0: as many as one likes
	Of       string // what is counted, such as entries; may be empty
	Off      bool
}

func (v Durations) String() string {
	least := ""
	if v.Min > time.Nanosecond {
		least = durationText(v.Min)
	} else if v.Max > 0 && v.Min == 0 {
		least = "0s"
	}
	most := ""
	if v.Max > 0 {
		most = durationText(v.Max)
	}
	return phrase("a duration", least, most, v.Example, v.Off)
}

func (v Sizes) String() string {
	most := ""
	if v.Max > 0 {
		most = sizeText(v.Max)
	}
	return phrase("a size", sizeText(max(v.Min, 1)), most, v.Example, v.Off)
}

func (v Counts) String() string {
	noun, most := "a number", ""
	if v.Of != "" {
		noun += " of " + v.Of
	}
	if v.Max > 0 {
		most = strconv.Itoa(v.Max)
	}
	return phrase(noun, strconv.Itoa(v.Min), most, "", v.Off)
}

func phrase(noun, least, most, example string, off bool) string {
	switch {
	case least != "" && most != "":
		noun += " from " + least + " to " + most
	case least != "":
		noun += " of at least " + least
	case most != "":
		noun += " above 0 and up to " + most
	default:
		noun += " above 0"
	}
	if example != "" {
		noun += ", such as " + example
	}
	if off {
		noun += ", or off"
	}
	return noun
}

// durationText writes 10m for 10m0s, and 30d for 720h0m0s.
func durationText(v time.Duration) string {
	const day = 24 * time.Hour
	if v > day && v%day == 0 {
		return strconv.FormatInt(int64(v/day), 10) + "d"
	}
	text := v.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

func sizeText(n int64) string {
	if n > 0 && n%1024 == 0 {
		return strings.ReplaceAll(humanize.IBytes(uint64(n)), " ", "") //nolint:gosec // n is positive
	}
	return strconv.FormatInt(n, 10) + "B"
}

func (v Durations) has(n time.Duration) bool { return n >= v.Min && (v.Max == 0 || n <= v.Max) }
func (v Sizes) has(n int64) bool             { return n >= max(v.Min, 1) && (v.Max == 0 || n <= v.Max) }
func (v Counts) has(n int) bool              { return n >= v.Min && (v.Max == 0 || n <= v.Max) }

// Check checks a value that may have come as JSON. 0 is the default.
func (v Durations) Check(name string, n caddy.Duration) error {
	return check(name, durationText(time.Duration(n)), n == 0 || v.has(time.Duration(n)), v)
}

// Check checks a value that may have come as JSON. 0 is the default.
func (v Sizes) Check(name string, n int64) error {
	return check(name, sizeText(n), n == 0 || v.has(n), v)
}

// Check checks a value that may have come as JSON. 0 is the default.
func (v Counts) Check(name string, n int) error {
	return check(name, strconv.Itoa(n), n == 0 || v.has(n), v)
}

func check(name, text string, good bool, values fmt.Stringer) error {
	if good {
		return nil
	}
	return fmt.Errorf("%s '%s': write %s", name, text, values)
}

// CheckWord checks a value that may have come as JSON. None is the default.
func CheckWord(name, value string, words ...string) error {
	if value == "" || slices.Contains(words, value) {
		return nil
	}
	return fmt.Errorf("%s '%s': write %s", name, value, either(words))
}

// Duration reads an option that takes one of the durations.
func Duration(d *caddyfile.Dispenser, to *caddy.Duration, values Durations) error {
	return read(d, to, values, func(text string) (caddy.Duration, bool) {
		n, err := caddy.ParseDuration(text)
		return caddy.Duration(n), err == nil && values.has(n)
	})
}

// Size reads an option that takes one of the sizes.
func Size[N int | int64](d *caddyfile.Dispenser, to *N, values Sizes) error {
	return read(d, to, values, func(text string) (N, bool) {
		n, err := humanize.ParseBytes(text)
		return N(min(n, 1<<62)), err == nil && values.has(int64(min(n, 1<<62))) //nolint:gosec // bounded
	})
}

// Count reads an option that takes one of the numbers.
func Count(d *caddyfile.Dispenser, to *int, values Counts) error {
	return read(d, to, values, func(text string) (int, bool) {
		n, err := strconv.Atoi(text)
		return n, err == nil && values.has(n)
	})
}

// Word reads an option that takes one of the words.
func Word(d *caddyfile.Dispenser, to *string, words ...string) error {
	return read(d, to, either(words), func(text string) (string, bool) {
		return text, slices.Contains(words, text)
	})
}

// either is a list of words: "a, b or c".
type either []string

func (e either) String() string {
	last := len(e) - 1
	if last < 1 {
		return strings.Join(e, "")
	}
	return strings.Join(e[:last], ", ") + " or " + e[last]
}

// read reads an option that takes one argument and no block.
func read[T any](d *caddyfile.Dispenser, to *T, values fmt.Stringer, parse func(string) (T, bool)) error {
	name, args := d.Val(), d.RemainingArgs()
	if len(args) != 1 {
		return Takes(d, name, fmt.Sprintf("one argument: %s", values))
	}
	v, ok := parse(args[0])
	if !ok {
		return d.WrapErr(check(name, args[0], false, values))
	}
	*to = v
	return NoBlock(d)
}

// OrOff reports whether the rest of the line is off, or another word for it,
// which it then reads.
func OrOff(d *caddyfile.Dispenser, also ...string) bool {
	if d.CountRemainingArgs() != 1 || !d.NextArg() {
		return false
	}
	if d.Val() == "off" || slices.Contains(also, d.Val()) {
		return true
	}
	d.Prev()
	return false
}

// Flag sets an option that takes no arguments and may stand once.
func Flag(d *caddyfile.Dispenser, target *bool) error {
	if *target {
		return d.Errf("%s already specified", d.Val())
	}
	if err := NoArgs(d); err != nil {
		return err
	}
	*target = true
	return NoBlock(d)
}

// Arg reads the rest of the line of an option that takes one argument, which is
// not empty. Its block, if it has one, is for the caller to read.
func Arg(d *caddyfile.Dispenser, target *string) error {
	name, args := d.Val(), d.RemainingArgs()
	if len(args) != 1 || args[0] == "" {
		return Takes(d, name, "one argument, which must not be empty")
	}
	*target = args[0]
	return nil
}

// OneArg reads an option that takes one argument, which is not empty, and no
// block. That it stands once is for the caller to see to.
func OneArg(d *caddyfile.Dispenser, target *string) error {
	if err := Arg(d, target); err != nil {
		return err
	}
	return NoBlock(d)
}

// NoArgs rejects arguments behind an option that takes none.
func NoArgs(d *caddyfile.Dispenser) error {
	if d.CountRemainingArgs() > 0 {
		return Takes(d, d.Val(), "no arguments")
	}
	return nil
}

// List appends the arguments of an option that takes one or more, none of them
// empty, and no block.
func List(d *caddyfile.Dispenser, target *[]string) error {
	name, args := d.Val(), d.RemainingArgs()
	if len(args) == 0 || slices.Contains(args, "") {
		return Takes(d, name, "one or more arguments, which must not be empty")
	}
	*target = append(*target, args...)
	return NoBlock(d)
}

// Takes rejects the arguments of an option and says which it takes. The
// arguments are not shown: one may be a secret.
func Takes(d *caddyfile.Dispenser, name, what string) error {
	return d.Errf("%s takes %s", name, what)
}

// NoBlock rejects a block after an option that has none, an empty one too.
func NoBlock(d *caddyfile.Dispenser) error {
	line, val := d.Line(), d.Val()
	nesting := d.Nesting()
	if d.NextBlock(nesting) || d.Line() != line || d.Val() != val {
		return d.Errf("a block is not expected here: '%s'", d.Val())
	}
	return nil
}

// Once remembers which options of a block have been written.
type Once map[string]bool

// Check rejects an option that has been written before.
func (o Once) Check(d *caddyfile.Dispenser) error {
	if o[d.Val()] {
		return d.Errf("%s already specified", d.Val())
	}
	o[d.Val()] = true
	return nil
}

// Block reads the block that the dispenser stands before: each of its options
// with read, once unless it is repeatable, and without a block that read leaves
// unread.
func Block(d *caddyfile.Dispenser, repeatable []string, read func(*caddyfile.Dispenser) error) error {
	seen := make(Once)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if !slices.Contains(repeatable, d.Val()) {
			if err := seen.Check(d); err != nil {
				return err
			}
		}
		if err := read(d); err != nil {
			return err
		}
		if err := NoBlock(d); err != nil {
			return err
		}
	}
	return nil
}

// Holder is who holds a key or a secret, as its block says.
type Holder struct {
	User, Plan    *string
	Roles, Scopes *[]string
}

// Block reads the block of what:
//
//	user   <id>
//	roles  <role>...
//	scopes <scope>...
//	plan   <plan>
func (h Holder) Block(d *caddyfile.Dispenser, what string) error {
	return Block(d, nil, func(d *caddyfile.Dispenser) error {
		if known, err := h.Option(d); known || err != nil {
			return err
		}
		return Unrecognized(d, what, HolderOptions)
	})
}

// HolderOptions are the options of a holder.
var HolderOptions = []string{"user", "roles", "scopes", "plan"}

// Option reads an option of a block that has others besides; known is false where it
// is one of those.
func (h Holder) Option(d *caddyfile.Dispenser) (known bool, err error) {
	switch d.Val() {
	case "user":
		return true, OneArg(d, h.User)
	case "role", "roles":
		return true, once(d, len(*h.Roles) > 0, "roles", h.Roles)
	case "scope", "scopes":
		return true, once(d, len(*h.Scopes) > 0, "scopes", h.Scopes)
	case "plan":
		return true, OneArg(d, h.Plan)
	}
	return false, nil
}

// once reads a list that has two names.
func once(d *caddyfile.Dispenser, before bool, name string, to *[]string) error {
	if before {
		return d.Errf("%s already specified", name)
	}
	return List(d, to)
}
