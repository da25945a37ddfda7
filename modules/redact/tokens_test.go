package redact

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

const (
	cardNumber = "4111111111111111"
	oldKey     = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
	newKey     = "ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
)

func TestDetokenizeUndoesTokenize(t *testing.T) {
	rules := `
		tokenize bank_card card
		tokenize mobile $..phones
		tokenize id_card key=old $.id
		detect pan tokenize bank_card_bin $.note
		hash $.hashed
		replace x $.replaced
		remove $.gone
		tokenize digits $.hashed $.replaced.n $.gone
		except role manager {
			tokenize alphanumeric serial
		}
		tokenize_key ` + newKey + ` new
		tokenize_key ` + oldKey + ` old
		hash_key 0123456789abcdef
	`
	config := configured(t, rules)
	const in = `{"card":4111111111111111,"list":[{"card":"4111 1111 1111 1111"}], "phones":["13812345678",{"home":"+86 13912345678"}],
		"id":"11010519491231002X","note":"pay with 4111111111111111 or \u0034111-1111-1111-1111","serial":"AB12cd","hashed":"1234567",
		"replaced":{"n":"1234567"},"gone":"1234567"}`
	const back = `{"card":4111111111111111,"list":[{"card":"4111 1111 1111 1111"}], "phones":["13812345678",{"home":"+86 13912345678"}],
		"id":"11010519491231002X","note":"pay with 4111111111111111 or 4111-1111-1111-1111","serial":"AB12cd","hashed":"HASH",
		"replaced":"x"}`
	for _, who := range [][]string{{}, {"--role", "manager"}, {"--user", "alice"}} {
		args := append([]string{"--config", config}, who...)
		sealed, err := command(t, redactCommand(), in, args...)
		if err != nil {
			t.Fatal(err)
		}
		for _, plain := range []string{cardNumber, "4111-1111-1111", "13812345678", "13912345678", "11010519491231002X"} {
			if strings.Contains(sealed, plain) {
				t.Errorf("%v: %s is in %s", who, plain, sealed)
			}
		}
		if manager := len(who) == 2 && who[1] == "manager"; manager != strings.Contains(sealed, "AB12cd") {
			t.Errorf("%v: serial in %s", who, sealed)
		}
		got, err := command(t, detokenizeCommand(), sealed, args...)
		_, hashed, _ := strings.Cut(sealed, `"hashed":"`)
		if want := strings.Replace(back, "HASH", hashed[:26], 1); err != nil || got != want {
			t.Errorf("%v: %s\nbecame %s (%v), want %s", who, sealed, got, err, want)
		}
	}
}

func TestDetokenizeOneToken(t *testing.T) {
	config := configured(t, "tokenize bank_card card\ntokenize digits n\ntokenize_key "+oldKey+" 1")
	sealed, err := command(t, redactCommand(), `{"a":{"card":"`+cardNumber+`"},"n":100000}`, "--config", config)
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		A struct{ Card string }
		N json.Number
	}
	if err := json.Unmarshal([]byte(sealed), &doc); err != nil {
		t.Fatal(err)
	}
	ask := func(want string, args ...string) {
		t.Helper()
		got, err := command(t, detokenizeCommand(), "", append([]string{"--config", config}, args...)...)
		if err != nil || got != want+"\n" {
			t.Errorf("%v: %q (%v), want %s", args, got, err, want)
		}
	}
	ask(cardNumber, "--format", "bank_card", "--path", "/a/card", doc.A.Card)
	ask("100000", "--format", "digits", "--path", "/n", "--json-number", doc.N.String())
	// After a rotation the ID of the old key is needed.
	config = configured(t, "tokenize bank_card card\ntokenize_key "+newKey+" 2\ntokenize_key "+oldKey+" 1")
	ask(cardNumber, "--format", "bank_card", "--path", "/card", "--key", "1", doc.A.Card)
	other, err := command(t, detokenizeCommand(), "", "--config", config, "--format", "bank_card", "--path", "/card", doc.A.Card)
	if err != nil || other == cardNumber+"\n" {
		t.Errorf("with the new key: %q (%v)", other, err)
	}
	whole, err := command(t, detokenizeCommand(), `{"card":"`+doc.A.Card+`"}`, "--config", config, "--key", "1")
	if err != nil || whole != `{"card":"`+cardNumber+`"}` {
		t.Errorf("a document with the old key: %q (%v)", whole, err)
	}
	for _, c := range []struct{ args, in, says string }{
		{"--key 3", `{"card":"` + doc.A.Card + `"}`, "ID 3: there is 2, 1"},
		{"", `{"card":"4111"}`, `"/card"`},
		{"", `{"card":"` + doc.A.Card + `"}}`, "JSON"},
		{"", ``, "JSON"},
		{"--request", `{}`, "no requests"},
		{"--path /card", `{}`, "given as an argument"},
		{"4111111111111111", "", "--format"},
		{"--format card 4111111111111111", "", "unknown format"},
		{"--format bank_card 4111111111111112", "", "not of the format"},
		{"--format digits --json-number x", "", "not a JSON number"},
	} {
		got, err := command(t, detokenizeCommand(), c.in, append([]string{"--config", config}, strings.Fields(c.args)...)...)
		if err == nil || got != "" || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s of %s: %q (%v), want an error with %s", c.args, c.in, got, err, c.says)
		}
	}
	if got, err := command(t, detokenizeCommand(), `{"a":1}`, "--config", configured(t, "remove a")); err == nil || got != "" {
		t.Errorf("without tokens: %q (%v)", got, err)
	}
}

func TestSealedWithSM4IsDecrypted(t *testing.T) {
	config := configured(t, "encrypt sm4 $.a\nencrypt $.b\nencrypt aes $.c\nhash sm3 $.d\nhash $.e\nsm4_key 00112233445566778899aabbccddeeff 1\nencrypt_key "+oldKey)
	const in = `{"a":"x","b":[1.50],"c":null,"d":"x","e":"x"}`
	sealed, err := command(t, redactCommand(), in, "--config", config, "--user", "alice")
	if err != nil || !strings.HasPrefix(sealed, `{"a":"moat:sm4:v1:1:`) || !strings.Contains(sealed, `"b":["moat:v1:1:`) || !strings.Contains(sealed, `"c":"moat:v1:1:`) {
		t.Fatalf("%s (%v)", sealed, err)
	}
	opened, err := command(t, decryptCommand(), sealed, "--config", config, "--user", "alice")
	if err != nil || !strings.HasPrefix(opened, `{"a":"x","b":[1.50],"c":null,`) {
		t.Errorf("decrypted %s (%v)", opened, err)
	}
	if got, err := command(t, decryptCommand(), sealed, "--config", config, "--user", "bob"); err == nil || got != "" {
		t.Errorf("for bob: %s (%v)", got, err)
	}
	// The keys of the old configuration still open, if they stand behind the new.
	rotated := configured(t, "encrypt sm4 $.a\nsm4_key ffeeddccbbaa99887766554433221100 2\nsm4_key 00112233445566778899aabbccddeeff 1\nencrypt_key "+oldKey)
	if opened, err = command(t, decryptCommand(), sealed, "--config", rotated, "--user", "alice"); err != nil || !strings.HasPrefix(opened, `{"a":"x"`) {
		t.Errorf("after a rotation: %s (%v)", opened, err)
	}
	var doc map[string]any
	if err := json.Unmarshal([]byte(sealed), &doc); err != nil || doc["d"] == doc["e"] || len(doc["d"].(string)) != 26 {
		t.Errorf("pseudonyms: %v (%v)", doc, err)
	}
}

func TestKeysOfTokensThatCannotBeUsedAreRefusedAtLoad(t *testing.T) {
	t.Setenv("MOAT_TEST_SHORT", "0011")
	for _, c := range []struct{ options, says string }{
		{"tokenize digits a\ntokenize_key {env.MOAT_TEST_NONE}", "tokenize_key"},
		{"tokenize digits a\ntokenize_key {env.MOAT_TEST_SHORT}", "32 bytes"},
		{"tokenize digits key=2 a\ntokenize_key internal", "ID 2: there is internal"},
		{"requests {\n detect pan tokenize digits key=2\n}", "ID 2"},
		{"encrypt sm4 a\nsm4_key {env.MOAT_TEST_SHORT}", "16 bytes"},
		{"encrypt sm4 a\nsm4_key " + oldKey, "16 bytes"},
		{"encrypt sm4 a\nsm4_key internal a/b", "a/b"},
		{"fake name a\nhash_key {env.MOAT_TEST_SHORT}", "hash_key"},
		{"noise 3 a\nhash_key {env.MOAT_TEST_SHORT}", "hash_key"},
	} {
		if _, err := provisioned(t, c.options); err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), oldKey) {
			t.Errorf("%s: %v", c.options, err)
		}
	}
	h, ctx := provisionIn(t, "tokenize digits a\nencrypt sm4 b")
	_ = h
	for name, size := range map[string]int{"tokenize_key": 32, "sm4_key": 16} {
		if key, err := ctx.Storage().Load(ctx, "moat/redact/"+name); err != nil || len(key) != size {
			t.Errorf("%s: %d bytes (%v)", name, len(key), err)
		}
	}
	if _, err := ctx.Storage().Load(ctx, "moat/redact/encrypt_key"); err == nil {
		t.Error("a key was made that nobody uses")
	}
}

func TestNoiseMakesResponsesPrivate(t *testing.T) {
	h := provision(t, "noise 1000 salary\netag seal")
	s := serve(t, h, caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("ETag", `"1"`)
		return answers(200, "application/json", `{"salary":50000}`).(caddyhttp.HandlerFunc)(w, r)
	}))
	see := func(who string) (string, http.Header) {
		r := s.get(as(who))
		return string(r.body), r.header
	}
	alice, header := see("alice")
	again, _ := see("alice")
	bob, _ := see("bob")
	if alice != again || alice == bob || strings.Contains(alice, ":50000}") {
		t.Errorf("alice saw %s and %s, bob %s", alice, again, bob)
	}
	if got := header.Get("Cache-Control"); !strings.Contains(got, "private") {
		t.Errorf("Cache-Control: %q", got)
	}
	if got := header.Get("ETag"); got != "" && !strings.HasPrefix(got, "W/") {
		t.Errorf("ETag: %q", got)
	}
}

// What is in the request besides its body is not touched, and fields of forms are
// values like others.
func TestTokensInRequests(t *testing.T) {
	next, got := echoes(t)
	h := provision(t, "requests {\n tokenize bank_card card\n tokenize mobile $.user.phone\n}")
	s := serve(t, h, next)
	for _, c := range []struct{ contentType, body string }{
		{"application/json", `{"card":"` + cardNumber + `","user":{"phone":"13812345678"}}`},
		{"application/json", `{"CARD":` + cardNumber + `}`},
		{"application/x-www-form-urlencoded", "card=" + cardNumber + "&user[phone]=13812345678"},
		{"application/x-www-form-urlencoded", "card=4111+1111+1111+1111"},
		{"application/x-www-form-urlencoded", "card[]=" + cardNumber + "&card[]=4222222222222220"},
		{"application/json-patch+json", `[{"op":"add","path":"/card","value":"` + cardNumber + `"}]`},
		{"multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"card\"\r\n\r\n" + cardNumber + "\r\n--b--\r\n"},
	} {
		r := s.get(as("alice"), post(c.contentType, c.body), func(r *http.Request) { r.URL.RawQuery = "card=" + cardNumber })
		if r.status != 200 {
			t.Errorf("%s: %d %s", c.body, r.status, r.body)
			continue
		}
		up := <-got
		if up.err != nil || strings.Contains(up.body, cardNumber) || strings.Contains(up.body, "13812345678") || strings.Contains(up.body, "4111+1111") {
			t.Errorf("%s: the upstream got %s (%v)", c.body, up.body, up.err)
		}
		if strings.Contains(up.body, "****") || len(up.body) < len(c.body)-20 {
			t.Errorf("%s: the upstream got %s", c.body, up.body)
		}
	}
}
