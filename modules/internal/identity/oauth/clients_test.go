package oauth

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/filewatch"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/apikey"
)

const header = `{"moat_clients":1,"pepper_check":"0123456789abcdef"}` + "\n"

// whole is a client with every member that goes with a secret.
const whole = `{"id":"billing","name":"Billing","created":"2026-11-22T10:00:00Z","expires":"2027-11-22T10:00:00Z","disabled":true,"grants":["client_credentials"],` +
	`"scopes":["orders:read"],"audiences":["https://orders.example.com"],"roles":["clerk"],"introspects":["https://stock.example.com"],"lifetime":"5m0s","bound":"dpop",` +
	`"secrets":[{"hmac":"0000000000000000000000000000000000000000000000000000000000000001","created":"2026-11-22T10:00:00Z"}]}` + "\n"

const secretPart = `"secrets":[{"hmac":"0000000000000000000000000000000000000000000000000000000000000001","created":"2026-11-22T10:00:00Z"}]`

func TestFileOfClientsIsWrittenAsItIsRead(t *testing.T) {
	f, err := ParseClients([]byte(header + whole))
	if err != nil {
		t.Fatal(err)
	}
	if got := string(f.Append(nil)); got != header+whole {
		t.Errorf("got\n%s\nwant\n%s", got, header+whole)
	}
}

func TestClientsThatAreNotUnderstoodAreErrors(t *testing.T) {
	line := func(members string) string {
		return header + `{"id":"a","created":"2026-11-22T10:00:00Z","grants":["client_credentials"],"audiences":["x"],` + members + "}\n"
	}
	for what, text := range map[string]string{
		"empty":                    "",
		"no header":                whole,
		"another version":          strings.Replace(header, ":1,", ":2,", 1),
		"unknown member":           line(secretPart + `,"scope":["a"]`),
		"member twice":             line(secretPart + `,"id":"b"`),
		"null":                     line(secretPart + `,"bound":null`),
		"no credential":            header + `{"id":"a","created":"2026-11-22T10:00:00Z","grants":["client_credentials"],"audiences":["x"]}`,
		"two credentials":          line(secretPart + `,"certificate":"dns:a.example"`),
		"no audience":              header + `{"id":"a","created":"2026-11-22T10:00:00Z","grants":["client_credentials"],` + secretPart + `}`,
		"no purpose":               header + `{"id":"a","created":"2026-11-22T10:00:00Z",` + secretPart + `}`,
		"unknown grant":            header + `{"id":"a","created":"2026-11-22T10:00:00Z","grants":["password"],"audiences":["x"],` + secretPart + `}`,
		"twice":                    line(secretPart) + line(secretPart)[len(header):],
		"an ID with a space":       header + `{"id":"a b","created":"2026-11-22T10:00:00Z","introspects":["x"],` + secretPart + `}`,
		"any audience":             header + `{"id":"a","created":"2026-11-22T10:00:00Z","grants":["client_credentials"],"audiences":["*"],` + secretPart + `}`,
		"an audience fragment":     header + `{"id":"a","created":"2026-11-22T10:00:00Z","grants":["client_credentials"],"audiences":["https://a/#b"],` + secretPart + `}`,
		"a scope with a space":     line(secretPart + `,"scopes":["a b"]`),
		"no scopes":                line(secretPart + `,"scopes":[]`),
		"a lifetime of a year":     line(secretPart + `,"lifetime":"8760h"`),
		"a lifetime of nothing":    line(secretPart + `,"lifetime":"0s"`),
		"a lifetime in seconds":    line(secretPart + `,"lifetime":300`),
		"bound to anything":        line(secretPart + `,"bound":"yes"`),
		"no keys":                  line(`"jwks":{"keys":[]}`),
		"a private key":            line(`"jwks":{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}]}`),
		"a shared key":             line(`"jwks":{"keys":[{"kty":"oct","k":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}]}`),
		"a certificate by nothing": line(`"certificate":"sha256:AAAA"`),
		"three secrets":            line(strings.Replace(secretPart, "}]", `},{"hmac":"0000000000000000000000000000000000000000000000000000000000000002","created":"2026-11-22T10:00:00Z"},{"hmac":"0000000000000000000000000000000000000000000000000000000000000003","created":"2026-11-22T10:00:00Z"}]`, 1)),
	} {
		if _, err := ParseClients([]byte(text)); err == nil {
			t.Errorf("%s: accepted", what)
		} else if strings.Contains(err.Error(), "nWGxne") {
			t.Errorf("%s: the error shows a key: %v", what, err)
		}
	}
}

func TestFileOfAnotherPepperIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clients")
	if err := os.WriteFile(path, []byte(header+whole), 0o600); err != nil {
		t.Fatal(err)
	}
	pepper, err := apikey.NewPepper([]byte(strings.Repeat("p", 32)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenClients(path, pepper, nil, func(filewatch.Event) {}); !errors.Is(err, ErrPepper) {
		t.Errorf("got %v", err)
	}
}

// FuzzClients holds that what is read is printed so that it reads the same.
func FuzzClients(f *testing.F) {
	f.Add([]byte(header + whole))
	f.Add([]byte(header + `{"id":"a","created":"2026-11-22T10:00:00Z","introspects":["x"],"certificate":"dns:a.example"}`))
	f.Add([]byte(header + `{"id":"a","created":"2026-11-22T10:00:00Z","introspects":["x"],"jwks":{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		file, err := ParseClients(text)
		if err != nil {
			return
		}
		printed := file.Append(nil)
		again, err := ParseClients(printed)
		if err != nil {
			t.Fatalf("%v\n%s", err, printed)
		}
		if string(again.Append(nil)) != string(printed) {
			t.Errorf("%s\nbecomes %s", printed, again.Append(nil))
		}
	})
}

// FuzzForm holds that a form has one value for a name, whoever reads it.
func FuzzForm(f *testing.F) {
	f.Add("grant_type=client_credentials&scope=a+b")
	f.Add("a=1&%61=2")
	f.Fuzz(func(t *testing.T, text string) {
		form, err := ParseQuery(text)
		if err != nil {
			return
		}
		for name, values := range form.values {
			if len(values) > 1 && name != "resource" && name != "audience" {
				t.Errorf("%q has %d values", name, len(values))
			}
		}
	})
}

func BenchmarkClientCredentials(b *testing.B) {
	f, secrets := fix(b, billing())
	b.Run("whole", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := f.Token(b.Context(), request(b, "grant_type", "client_credentials").as("billing", secrets["billing"])); err != nil {
				b.Fatal(err)
			}
		}
	})
	// Of that, what the signature costs.
	b.Run("signature", func(b *testing.B) {
		for b.Loop() {
			if _, err := f.Issuer.Mint(map[string]any{"sub": "billing"}, accessType, time.Minute); err != nil {
				b.Fatal(err)
			}
		}
	})
}
