package data

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

const tokenized = `{"card":4111111111111111,"list":[{"card":"4111 1111 1111 1111"},{"card":"4111111111111112"}],"phone":"13812345678",` +
	`"id":"11010519491231002X","age":37,"born":"1987-05-17","from":"192.0.2.77","salary":50000,"note":"card 4111111111111111","owner":"Wang Xiaoming","sm":"x"}`

const tokensSite = `
http://localhost:{$PORT} {
	redact {
		tokenize bank_card card
		tokenize mobile phone
		tokenize id_card id
		bucket 10 age
		generalize year born
		generalize ip24 from
		noise 1000 salary
		detect pan tokenize bank_card_bin note
		fake name_en owner
		encrypt sm4 sm
	}
	header Content-Type application/json
	header Query {query}
	respond ` + "`" + tokenized + "`" + `
}
`

// TestTokensComeBack: what the server tokenizes with the keys it made is turned
// back by the command, and a value that is not of its format comes back to
// nobody.
func TestTokensComeBack(t *testing.T) {
	s := harness.Start(t, tokensSite)
	first := s.Get("PORT", "/?card=4111111111111111")
	if first.StatusCode != 200 || first.Header.Get("Query") != "card=4111111111111111" {
		t.Fatalf("got %d, with the query %q", first.StatusCode, first.Header.Get("Query"))
	}
	for _, plain := range []string{"4111111111111111", "4111 1111", "4111111111111112", "13812345678", "11010519491231002X", ":37", "1987-05", "2.77", ":50000,", "Xiaoming"} {
		if strings.Contains(first.Body, plain) {
			t.Errorf("%s is in %s", plain, first.Body)
		}
	}
	for _, want := range []string{`"age":"[30,40)"`, `"born":"1987"`, `"from":"192.0.2.0/24"`, `{"card":"****"}`, `"phone":"138`, `"sm":"moat:sm4:v1:`} {
		if !strings.Contains(first.Body, want) {
			t.Errorf("%s is not in %s", want, first.Body)
		}
	}
	if got := first.Header.Get("Cache-Control"); !strings.Contains(got, "private") {
		t.Errorf("Cache-Control: %q", got)
	}
	config := []string{"--config", s.Config}
	back, err := feed(s, first.Body, append([]string{"moat", "detokenize"}, config...)...)
	if err != nil {
		t.Fatal(err)
	}
	var was, is map[string]any
	for text, into := range map[string]*map[string]any{tokenized: &was, back: &is} {
		if err := json.Unmarshal([]byte(text), into); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"card", "phone", "id", "note"} {
		if fmt.Sprint(was[name]) != fmt.Sprint(is[name]) {
			t.Errorf("%s: %v, not %v", name, is[name], was[name])
		}
	}
	if !strings.Contains(back, `[{"card":"4111 1111 1111 1111"},{"card":"****"}]`) {
		t.Errorf("detokenized: %s", back)
	}
	sm, err := feed(s, first.Body, append([]string{"moat", "decrypt"}, config...)...)
	if err != nil || !strings.HasSuffix(sm, `"sm":"x"}`) {
		t.Errorf("decrypted: %s (%v)", sm, err)
	}

	// A reload changes nothing of it, and to ask again tells nothing more.
	if err := s.Reload(strings.Replace(tokensSite, "bucket 10", "bucket 20", 1)); err != nil {
		t.Fatal(err)
	}
	second := s.Get("PORT", "/")
	_, sealed, _ := strings.Cut(first.Body, `"sm"`)
	want := strings.Replace(strings.TrimSuffix(first.Body, sealed), "[30,40)", "[20,40)", 1)
	if !strings.HasPrefix(second.Body, want) {
		t.Errorf("after a reload: %s, want %s…", second.Body, want)
	}
}

// TestUpstreamGetsTokens: in requests, what is not of its format goes no
// further either, and the query is left alone.
func TestUpstreamGetsTokens(t *testing.T) {
	got := make(chan string, 1)
	up := harness.Upstream(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got <- r.URL.RawQuery + " " + string(b)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, "{}")
	})
	s := harness.Start(t, `
http://localhost:{$PORT} {
	redact {
		requests {
			tokenize bank_card card
		}
	}
	reverse_proxy {env.UPSTREAM}
}
`, "UPSTREAM="+up)
	for _, c := range []struct{ label, body, hidden string }{
		{"application/json", `{"card":"4111111111111111"}`, ""},
		{"application/json", `{"c\u0061rd":4111111111111111}`, ""},
		{"application/json", `{"Card":"4111111111111112"}`, `{"Card":"****"}`},
		{"application/json", `{"card":"\uff14111111111111111"}`, `{"card":"****"}`},
		{"application/json", `{"card":""}`, `{"card":"****"}`},
		{"application/x-www-form-urlencoded", "card=4111111111111111", ""},
	} {
		s.Do("PORT", "POST", "/?card=4111111111111111", c.body, "Content-Type: "+c.label).Want(t, 200)
		query, body, _ := strings.Cut(<-got, " ")
		if query != "card=4111111111111111" || strings.Contains(body, "111111111111111") || c.hidden != "" && body != c.hidden {
			t.Errorf("%s: the upstream got %s with %s", c.body, body, query)
		}
		if c.hidden != "" || c.label != "application/json" {
			continue
		}
		back, err := feed(s, body, "moat", "detokenize", "--request", "--config", s.Config)
		if err != nil || !strings.Contains(back, "4111111111111111") {
			t.Errorf("%s: detokenized %s (%v)", body, back, err)
		}
	}
}
