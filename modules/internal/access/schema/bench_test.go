package schema

import (
	"math/big"
	"testing"

	"github.com/caddy-moat/caddy-moat/modules/internal/strictjson"
)

func rational(text string) *big.Rat {
	r, ok := new(big.Rat).SetString(text)
	if !ok {
		panic(text)
	}
	return r
}

const orderSchema = `{
	"type": "object", "required": ["customer", "items", "currency"], "additionalProperties": false,
	"properties": {
		"customer": {"type": "object", "required": ["id"], "properties": {"id": {"type": "string", "format": "uuid"}, "email": {"type": "string", "format": "email", "maxLength": 100}}},
		"items": {"type": "array", "minItems": 1, "maxItems": 50, "items": {"$ref": "#/$defs/item"}},
		"currency": {"enum": ["EUR", "USD", "CNY"]},
		"placed": {"type": "string", "format": "date-time"}
	},
	"$defs": {"item": {"type": "object", "required": ["sku", "quantity"], "properties": {
		"sku": {"type": "string", "pattern": "^[A-Z]{3}-[0-9]{4}$"}, "quantity": {"type": "integer", "minimum": 1, "maximum": 999}, "price": {"type": "number", "minimum": 0}
	}}}
}`

const order = `{"customer":{"id":"6fa459ea-ee8a-3ca4-894e-db77e160355e"},"items":[{"sku":"ABC-1234","quantity":2,"price":19.99},{"sku":"XYZ-0001","quantity":1,"price":5}],"currency":"EUR","placed":"2026-11-30T10:00:00Z"}`

// go test ./modules/internal/access/schema -run '^$' -bench . -benchmem
func BenchmarkOrder(b *testing.B) {
	s, slow, err := compile(b, []byte(orderSchema))
	if err != nil {
		b.Fatal(err)
	}
	text := []byte(order)
	b.Run("this", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(text)))
		var tape strictjson.Tape
		for b.Loop() {
			if err := tape.Read(text, strictjson.Limits{Depth: 32, Values: 1000}); err != nil {
				b.Fatal(err)
			}
			v := Get()
			if !v.Validate(s, &tape, 0, Request) || !v.Closed(0, false) {
				b.Fatal(v.Faults)
			}
			v.Put()
		}
	})
	b.Run("jsonschema", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(text)))
		for b.Loop() {
			if err := slow.Validate(decode(b, text)); err != nil {
				b.Fatal(err)
			}
		}
	})
}
