package main

import (
	"bytes"
	"encoding/json"
	"testing"
)

func TestRedactedNoticesWhatWasLeftOrChanged(t *testing.T) {
	const sent = `{"a":[{"phone":"18049531999","password":"hunter2","n":1.50,"papers":{"id_card":"51343620000320711X","internal":{"score":1}}}]}`
	for came, ok := range map[string]bool{
		`{"a":[{"phone":"180****1999","n":1.50,"papers":{"id_card":"5****X"}}]}`: true,
		sent: false,
		`{"a":[{"phone":"180****1999","n":1.50,"papers":{"id_card":"51343620000320711X"}}]}`:          false,
		`{"a":[{"n":1.50,"papers":{"id_card":"5****X"}}]}`:                                            false,
		`{"a":[{"phone":"180****1999","n":1.5,"papers":{"id_card":"5****X"}}]}`:                       false,
		`{"a":[{"phone":"180****1999","n":1.50,"papers":{"id_card":"5****X","internal":{}}}]}`:        false,
		`{"a":[{"phone":"180****1999","n":1.50,"papers":{"id_card":"5****X"},"x":{"score":1}}]}`:      false,
		`{"a":[{"phone":"180****1999","n":1.50,"papers":{"id_card":"5****X"}`:                         false,
		`{"a":[{"phone":"180****1999","password":"hunter2","n":1.50,"papers":{"id_card":"5****X"}}]}`: false,
	} {
		if err := redacted([]byte(sent), []byte(came)); (err == nil) != ok {
			t.Errorf("%s: %v", came, err)
		}
	}
}

func TestDocumentsHaveTheirSize(t *testing.T) {
	if len(small) != 140 || !json.Valid([]byte(small)) {
		t.Errorf("the small answer has %d bytes", len(small))
	}
	for _, size := range []int{1 << 10, 100 << 10, 1 << 20} {
		doc := document(size)
		if len(doc) > size || len(doc) < size-500 || !json.Valid(doc) {
			t.Errorf("document of %d bytes, want at most %d and valid JSON", len(doc), size)
		}
		if !bytes.Equal(doc, document(size)) {
			t.Error("two documents of one size differ")
		}
	}
}
