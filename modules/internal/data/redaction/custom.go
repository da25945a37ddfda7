package redaction

// Scalar puts what f makes of the text of a scalar in its place, as a string.
// Strings are given decoded, everything else as it is written. Among other
// actions it ranks with Hash.
func Scalar(f func(text []byte) string) Action {
	return Action{kind: actHash, scalar: func(dst []byte, v *value) ([]byte, bool) {
		return appendQuoted(dst, []byte(f(v.text))), true
	}}
}

// Rewrite puts what f makes of the text of a string in its place, decoded on
// either side, in every string that the selector names or that is inside what it
// names. f reports whether there is anything to change. It comes after every
// other action, as Detect does, and gets a string whole: Options.MaxValue must
// be as long as the longest text.
func Rewrite(f func(text []byte) (out []byte, changed bool)) Action {
	return Action{kind: actDetect, detect: &detector{rewrite: f}}
}

// RemoveChosen takes away those of the elements it names that Rewriter.Choose
// says to. The elements are held one by one, Options.MaxValue at most, and no
// other rule applies to those that stay. Its selector must end in a wildcard; a
// member that it names goes whatever is chosen.
func RemoveChosen() Action {
	return Action{kind: actRemove, literal: []byte("null"), chosen: true}
}

// Spare keeps every other rule from the values it names and from all that is inside
// them, whatever they are.
func Spare() Action { return Action{kind: actTruncate, spare: true} }

// Watch shows the scalars it names to the function given to Rewriter.Observe, and
// changes nothing.
func Watch() Action {
	return Action{kind: actTruncate, scalar: func(dst []byte, v *value) ([]byte, bool) {
		if v.w != nil && v.w.watch != nil {
			v.w.watch(v.w.program.rules[v.w.acting.rule].Name, v.text)
		}
		return dst, false
	}}
}
