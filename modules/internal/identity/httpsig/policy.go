package httpsig

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// of returns the component as a signature of that label has it: the parameter key
// without a value stands for the label.
func (i *item) of(label string) item {
	n := slices.IndexFunc(i.params, func(p param) bool { return p.name == "key" && p.value == true })
	if n < 0 {
		return *i
	}
	own := *i
	own.params = slices.Clone(i.params)
	own.params[n].value = label
	own.text = string(appendParams(appendString(nil, own.name), own.params))
	return own
}

// setParameters reads what a policy says of the parameters of a signature.
func (p *Policy) setParameters(required, prohibited []string) error {
	for _, text := range required {
		name, value, has := strings.Cut(text, "=")
		if err := checkParameter(name); err != nil {
			return err
		}
		if _, twice := find(p.required, name); twice {
			return fmt.Errorf("parameter %s already specified", name)
		}
		want := param{name: name}
		if has {
			want.value = strings.Trim(value, `"`)
		}
		p.required = append(p.required, want)
	}
	for _, name := range prohibited {
		if err := checkParameter(name); err != nil {
			return err
		}
		_, wanted := find(p.required, name)
		switch {
		case name == "created" || name == "keyid":
			return fmt.Errorf("parameter %s cannot be prohibited: it is always required", name)
		case wanted || name == "nonce" && p.requireNonce || name == "tag" && p.tag != "":
			return fmt.Errorf("parameter %s is required and prohibited", name)
		case slices.Contains(p.prohibited, name):
			return fmt.Errorf("parameter %s already specified", name)
		}
		p.prohibited = append(p.prohibited, name)
	}
	return nil
}

func checkParameter(name string) error {
	if c := (cursor{s: name}); c.key() != name || c.bad {
		return fmt.Errorf("%.40q is not the name of a signature parameter: lower case letters, digits, _, -, . and *", name)
	}
	return nil
}

// checkParameters refuses a signature that has a parameter it must not have, or
// lacks one that it must have.
func (p *Policy) checkParameters(params []param) *Error {
	for _, name := range p.prohibited {
		if _, has := find(params, name); has {
			return &Error{Class: ErrProhibited, Reason: "the parameter " + name + " is prohibited"}
		}
	}
	for _, want := range p.required {
		got, has := find(params, want.name)
		if !has {
			return refused("the parameter " + want.name + " is missing")
		}
		if want.value != nil && want.value != plain(got) {
			return refused("the parameter " + want.name + " does not have the value of the configuration")
		}
	}
	return nil
}

// plain is the value of a parameter without its quotes, for comparison.
func plain(v any) any {
	switch v := v.(type) {
	case string:
		return v
	case token:
		return string(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case other:
		return string(v)
	}
	return v
}
