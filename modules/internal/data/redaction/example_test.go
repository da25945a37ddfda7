package redaction_test

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/caddy-moat/caddy-moat/modules/internal/data/redaction"
)

func ExampleRewriter() {
	mobile, err := redaction.Mask("mobile")
	if err != nil {
		panic(err)
	}
	p, err := redaction.Compile([]redaction.Rule{
		{Name: "remove password", Selector: "password", Action: redaction.Remove()},
		{Name: "mask mobile $..phone", Selector: "$..phone", Action: mobile},
		{Name: "round $.order.total", Selector: "$.order.total", Action: redaction.Round(-1)},
	}, redaction.Options{})
	if err != nil {
		panic(err)
	}

	w := p.NewRewriter(os.Stdout)
	if _, err := io.Copy(w, strings.NewReader(`{
  "order":    {"id": 9007199254740993, "total": 128.50},
  "customer": {"p\u0061ssword": "hunter2", "phone": 18049531999, "tags": []}
}
`)); err != nil {
		panic(err)
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	fmt.Println(w.Count(), w.Fired())
	// Output:
	// {
	//   "order":    {"id": 9007199254740993, "total": 130},
	//   "customer": { "phone": "180****1999", "tags": []}
	// }
	// 3 [remove password mask mobile $..phone round $.order.total]
}

func ExampleError() {
	p, err := redaction.Compile(nil, redaction.Options{})
	if err != nil {
		panic(err)
	}
	w := p.NewRewriter(os.Stdout)
	_, err = w.Write([]byte(`{"user":{"name":"\q"}}`))
	fmt.Println(err)
	if e, ok := err.(*redaction.Error); ok {
		fmt.Println(e.Pointer)
	}
	// Output:
	// malformed JSON: invalid escape in a string at byte 18
	// /user/name
}
