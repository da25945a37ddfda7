package contract

import (
	"encoding/json"
	"math"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// scalar takes over a scalar of YAML. Numbers stay as they are written.
func (n *node) scalar(y *yaml.Node) error {
	n.text = y.Value
	switch y.ShortTag() {
	case "!!null":
		n.value = nil
	case "!!bool":
		var b bool
		if err := y.Decode(&b); err != nil {
			return n.errorf("%s is no boolean", y.Value)
		}
		n.value = b
	case "!!int":
		if number(y.Value) {
			n.value = json.Number(y.Value)
			return nil
		}
		var i int64 // 0x1f, 0o17, 1_000
		if err := y.Decode(&i); err != nil {
			return n.errorf("%s is no integer", y.Value)
		}
		n.value = json.Number(strconv.FormatInt(i, 10))
	case "!!float":
		var f float64
		if err := y.Decode(&f); err != nil || math.IsInf(f, 0) || math.IsNaN(f) {
			return n.errorf("%s is not a number of JSON", y.Value)
		}
		n.value = json.Number(strconv.FormatFloat(f, 'g', -1, 64))
		if number(y.Value) {
			n.value = json.Number(y.Value)
		}
	case "!!binary":
		return n.errorf("binary values are not read")
	default: // texts, and times that are written without quotes
		n.value = y.Value
	}
	return nil
}

// number reports whether a text is a number of JSON.
func number(text string) bool {
	if text == "" || text[0] != '-' && (text[0] < '0' || text[0] > '9') {
		return false
	}
	return json.Valid([]byte(text))
}
