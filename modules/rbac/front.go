package rbac

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"

	"github.com/caddy-moat/caddy-moat/modules/internal/access/policy"
)

// front is the authenticator that has rejected the requests without a
// credential before they come to an rbac handler. The zero value stands for no such layer.
type front struct {
	name      string // as in the Caddyfile
	preflight bool   // CORS preflights pass it
}

// rejects reports whether an anonymous request with a method does not come to
// rbac. The zero value rejects none.
func (f front) rejects(method string) bool {
	return f.name != "" && (!f.preflight || method != http.MethodOptions)
}

func (f front) String() string {
	return f.name + ", which is not optional: it rejects requests without a credential before they come to rbac"
}

// hide takes what anonymous callers cannot do because of f out of the matrix.
func (f front) hide(m *policy.Matrix) *policy.Matrix {
	column := slices.Index(m.Subjects, "anyone")
	if column < 0 {
		return m
	}
	for _, row := range m.Rows {
		for i, method := range m.Methods {
			if f.rejects(method) {
				row.Cells[column][i] = policy.Never
			}
		}
	}
	for _, row := range m.Calls {
		if f.rejects(http.MethodPost) {
			row.Cells[column] = policy.Never
		}
	}
	return m
}

// fronts returns the authenticator before each rbac handler of a
// configuration, in the order of the document. What stands in routes of its
// own (named routes, error routes, responses) has none.
func fronts(config []byte) ([]front, error) {
	var w frontWalk
	_, err := w.value(config, front{})
	return w.found, err
}

type frontWalk struct{ found []front }

// member is one member of a JSON object.
type member struct {
	name  string
	value json.RawMessage
}

// members returns those of a JSON object in their order.
func members(raw []byte) ([]member, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return nil, err
	}
	var all []member
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, err
		}
		m := member{name: name.(string)}
		if err := d.Decode(&m.value); err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	return all, nil
}

// value looks into any value, behind an authenticator. It returns the one that
// requests have met which leave it: another only where it is a handler.
func (w *frontWalk) value(raw json.RawMessage, before front) (front, error) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 {
		return before, nil
	}
	switch raw[0] {
	case '[':
		var elems []json.RawMessage
		if err := json.Unmarshal(raw, &elems); err != nil {
			return before, err
		}
		for _, e := range elems {
			if _, err := w.value(e, before); err != nil {
				return before, err
			}
		}
	case '{':
		return w.object(raw, before)
	}
	return before, nil
}

func (w *frontWalk) object(raw json.RawMessage, before front) (front, error) {
	all, err := members(raw)
	if err != nil {
		return before, err
	}
	var h struct {
		Name      string            `json:"name"`
		Optional  bool              `json:"optional"`
		Preflight bool              `json:"preflight"`
		Providers []json.RawMessage `json:"providers"`
	}
	var module struct {
		Handler string `json:"handler"`
	}
	// What is not a handler may have a member of this name that is something else.
	_ = json.Unmarshal(raw, &module)
	switch module.Handler {
	case "rbac":
		w.found = append(w.found, before)
	case "auth":
		if err := json.Unmarshal(raw, &h); err != nil {
			return before, err
		}
	}
	after := before
	for _, m := range all {
		switch {
		case m.name == "routes" && module.Handler == "subroute":
			after, err = w.routes(m.value, before)
		case m.name == "routes":
			_, err = w.routes(m.value, front{})
		default:
			_, err = w.value(m.value, front{})
		}
		if err != nil {
			return before, err
		}
	}
	if after.name == "" {
		switch {
		case module.Handler == "authentication":
			after = front{name: "basic_auth"}
		case module.Handler == "auth" && len(h.Providers) > 0 && !h.Optional:
			if after = (front{name: h.Name, preflight: h.Preflight}); h.Name == "" {
				after.name = "auth"
			}
		}
	}
	return after, nil
}

// routes follows requests through a list of routes.
func (w *frontWalk) routes(raw json.RawMessage, before front) (front, error) {
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil {
		_, err := w.value(raw, front{}) // something else of this name
		return before, err
	}
	for _, route := range list {
		if r := bytes.TrimSpace(route); len(r) == 0 || r[0] != '{' {
			if _, err := w.value(route, front{}); err != nil {
				return before, err
			}
			continue
		}
		all, err := members(route)
		if err != nil {
			return before, err
		}
		all = slices.DeleteFunc(all, func(m member) bool { return string(m.value) == "null" })
		inner, some := before, false
		for _, m := range all {
			switch m.name {
			case "match", "group", "terminal":
				some = some || !slices.Contains([]string{"false", `""`, "[]"}, string(m.value))
			case "handle":
				if inner, err = w.handlers(m.value, before); err != nil {
					return before, err
				}
			default:
				if _, err := w.value(m.value, front{}); err != nil {
					return before, err
				}
			}
		}
		if !some {
			before = inner
		}
	}
	return before, nil
}

// handlers follows requests through the handlers of one route.
func (w *frontWalk) handlers(raw json.RawMessage, before front) (front, error) {
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil {
		return w.value(raw, before)
	}
	for _, h := range list {
		var err error
		if before, err = w.value(h, before); err != nil {
			return before, err
		}
	}
	return before, nil
}
