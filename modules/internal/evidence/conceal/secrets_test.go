package conceal

import (
	"encoding/base64"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-moat/caddy-moat/modules/internal/keyform"
)

// marker stands in every text of these tests where a secret would.
const marker = "SECRET7x9Q"

func ownKey(prefix string) string {
	signed := prefix + "_0aB1cD2eF3gH_" + strings.Repeat("SeCr", 8)
	sum := keyform.Checksum(signed)
	return signed + string(sum[:])
}

const pemKey = "-----BEGIN EC PRIVATE KEY-----\\nMHcCAQEESECRET7x9Q\\n-----END EC PRIVATE KEY-----"

// recordedSecrets are bodies with a secret in them.
var recordedSecrets = []struct{ kind, body string }{
	// What curl -d calls a form.
	{"application/x-www-form-urlencoded", `{"password":"SECRET7x9Q"}`},
	{"application/x-www-form-urlencoded", ` [{"password":"SECRET7x9Q"}]`},
	{"application/x-www-form-urlencoded", `{"note":"a=b","password":"SECRET7x9Q"}`},
	{"application/x-www-form-urlencoded", `{"a":"x&y=z","password":"SECRET7x9Q&b"}`},
	{"application/x-www-form-urlencoded", `)]}',{"password":"SECRET7x9Q"}`},
	{"application/x-www-form-urlencoded", `"{\"password\":\"SECRET7x9Q\"}"`},
	{"application/x-www-form-urlencoded", `payload=%7B%22password%22%3A%22SECRET7x9Q%22%7D&b=c`},
	{"application/x-www-form-urlencoded", `payload={"password":"SECRET7x9Q"}`},
	{"application/x-www-form-urlencoded", `user%5Bpin%5D=SECRET7x9Q&device_code=SECRET7x9Q`},
	{"application/x-www-form-urlencoded", `password: SECRET7x9Q`},
	{"application/x-www-form-urlencoded", `<password>SECRET7x9Q</password>`},
	{"application/x-www-form-urlencoded", `a=b;password=SECRET7x9Q`},
	{"application/x-www-form-urlencoded", `name=password&value=SECRET7x9Q`},
	{"application/x-www-form-urlencoded", `fields[0][value]=SECRET7x9Q&fields[0][name]=api_token&fields[1][name]=color&fields[1][value]=red`},
	{"text/xml", `<a><pin>SECRET7x9Q</pin><ns:apiKey x="1">SECRET7x9Q</ns:apiKey><otp><![CDATA[SECRET7x9Q]]></otp></a>`},
	{"application/json", `{"Bearer SECRET7x9Qabcdefgh":1}`},
	{"application/json", `{"m":"login failed for bob pass=SECRET7x9Q pwd=SECRET7x9Q db_pass=SECRET7x9Q my_key=SECRET7x9Q sid=SECRET7x9Q"}`},
	{"application/json", `{"m":"jdbc:oracle:thin:scott/SECRET7x9Q@//h:1521/x"}`},
	{"multipart/form-data; boundary=x", `{"password":"SECRET7x9Q"}`},
	{"image/png", `{"password":"SECRET7x9Q"}`},
	{"application/octet-stream", "\ufeff{\"password\":\"SECRET7x9Q\"}"},
	// Objects, lists, numbers.
	{"application/json", `{"token":{"v":"SECRET7x9Q"}}`},
	{"application/json", `{"credentials":{"k":["SECRET7x9Q"]}}`},
	{"application/json", `{"api_keys":{"k":"SECRET7x9Q"}}`},
	{"application/json", `{"passwords":["SECRET7x9Q",["SECRET7x9Q"]]}`},
	{"application/json", `{"Cookie":"sid=SECRET7x9Q","Set-Cookie":["a=SECRET7x9Q"]}`},
	{"application/json", `{"headers":{"X-Api-Key":"SECRET7x9Q","Authorization":"SECRET7x9Q"}}`},
	{"application/json", `{"user":{"p\u0061ssword" : "SECRET7x9Q"}}`},
	{"application/json", `{"DB_PASSWORD":"SECRET7x9Q","apiToken":"SECRET7x9Q"}`},
	// Cut off.
	{"application/json", `{"a":1,"password":"SECRET7x9Q`},
	{"application/json", `{"a":1,"credentials":{"k":"SECRET7x9Q","l":[`},
	{"application/json", `{"name":"password","value":"SECRET7x9Q","b":{`},
	{"application/json", `[["password","SECRET7x9Q"`},
	{"application/json", `{"kty":"EC","d":"SECRET7x9Q","x":`},
	// Keys.
	{"application/json", `{"k":"` + pemKey + `"}`},
	{"application/json", `{"k":"-----BEGIN PRIVATE KEY-----\nSECRET7x9Q"}`},
	{"text/plain", "-----BEGIN RSA PRIVATE KEY-----\nSECRET7x9Q\n-----END RSA PRIVATE KEY-----\n"},
	{"application/json", `{"data":{"tls.key":"` + base64.StdEncoding.EncodeToString([]byte("-----BEGIN RSA PRIVATE KEY-----\nSECRET7x9Q")) + `"}}`},
	{"application/json", `{"kty":"RSA","n":"x","e":"AQAB","d":"SECRET7x9Q","p":"SECRET7x9Q","q":"SECRET7x9Q","dp":"SECRET7x9Q","dq":"SECRET7x9Q","qi":"SECRET7x9Q"}`},
	{"application/json", `{"keys":[{"d":"SECRET7x9Q","kty":"OKP","crv":"Ed25519","x":"y"}]}`},
	{"application/json", `{"keys":[{"k":"SECRET7x9Q","kty":"oct"}]}`},
	{"application/json", `{"kty":"RSA","oth":[{"r":"SECRET7x9Q"}]}`},
	// Names in values.
	{"application/json", `{"name":"password","value":"SECRET7x9Q"}`},
	{"application/json", `{"value":"SECRET7x9Q","name":"password"}`},
	{"application/json", `[{"key":"API_TOKEN","value":"SECRET7x9Q"},{"field":"pin","value":7,"content":"SECRET7x9Q"}]`},
	{"application/json", `{"env":[{"name":"DB_PASSWORD","value":{"x":"SECRET7x9Q"}}]}`},
	{"application/json", `{"headers":[{"name":"Cookie","value":"SECRET7x9Q"},{"name":"X-Registry-Auth","value":"SECRET7x9Q"}]}`},
	{"application/json", `{"Key":"client_secret","Value":"SECRET7x9Q"}`},
	{"application/json", `{"type":"password","value":"SECRET7x9Q","temporary":false}`},
	{"application/json-patch+json", `[{"op":"replace","path":"/user/password","value":"SECRET7x9Q"}]`},
	{"application/json", `[["user","ann"],["password","SECRET7x9Q"]]`},
	{"application/json", `["password","SECRET7x9Q"]`},
	{"application/json", `{"rawHeaders":["Accept","a","X-Api-Key","SECRET7x9Q","Host","b"]}`},
	{"application/json", `{"args":["login","--password","SECRET7x9Q","-v"]}`},
	{"application/json", `{"args":["login","--password=SECRET7x9Q"]}`},
	// Texts in texts.
	{"application/json", `{"m":"{\"credentials\":{\"k\":\"SECRET7x9Q\"}}"}`},
	{"application/json", `{"m":"got {\"password\":\"SECRET7x9Q\"} from x"}`},
	{"application/json", `{"m":"got {'password': 'SECRET7x9Q', 'token' => 'SECRET7x9Q'}"}`},
	{"application/json", `{"query":"mutation { login(user:\"a\", password: \"SECRET7x9Q\") }"}`},
	{"application/json", `{"m":"dial app:SECRET7x9Q@tcp(db:3306)/x and postgres://u:SECRET7x9Q@db/x"}`},
	{"application/json", `{"m":"password=\"SECRET7x9Q and more\""}`},
	{"application/json", `{"m":"GET / HTTP/1.1\r\nCookie: sid=SECRET7x9Q; b=SECRET7x9Q\r\nX-Api-Key: SECRET7x9Q\r\n"}`},
	{"application/json", `{"u":"https://api.telegram.org/bot123456:SECRET7x9Q/sendMessage"}`},
	{"application/json", `{"u":"https://x/?data=%7B%22password%22%3A%22SECRET7x9Q%22%7D"}`},
	{"application/json", `{"magic_link":"https://x/SECRET7x9Q","resetUrl":"https://x/SECRET7x9Q"}`},
	{"application/x-ndjson", "{\"a\":1}\n{\"password\":\"SECRET7x9Q\"}\n"},
	{"application/json-seq", "\x1e{\"password\":\"SECRET7x9Q\"}\n\x1e{\"b\":\"c\"}\n"},
	{"text/plain", "password: SECRET7x9Q"},
	{"text/plain", "login failed: user=bob password=SECRET7x9Q token=SECRET7x9Q dsn=postgres://u:SECRET7x9Q@db/x"},
}

func TestRecordedBodiesHaveNoCredentials(t *testing.T) {
	for _, rules := range []bool{false, true} {
		s := NewBody(NewText(nil, nil), []byte("k"))
		if rules {
			for _, r := range []string{"ssn", "$..phone", "$.a.token"} {
				if err := s.Add(Hash, r); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, c := range recordedSecrets {
			for cut := len(c.body); cut > len(c.body)-14 && cut > 0; cut-- {
				out, _ := s.Clean([]byte(c.body[:cut]), c.kind, "", cut < len(c.body))
				if strings.Contains(string(out), marker) {
					t.Errorf("%s %s\nbecame %s", c.kind, c.body[:cut], out)
				}
			}
		}
	}
}

func TestOwnKeysAreKnownWhereverTheyStand(t *testing.T) {
	m := NewText(nil, nil)
	b := NewBody(m, nil)
	for _, prefix := range []string{"moat", "acme_live", "k1"} {
		key := ownKey(prefix)
		for _, text := range []string{
			key, "/me/" + key, "/me/" + key + "/orders", "/x?x=" + key + "&y=1", "/x?" + key, "got " + key + ", refused", "(" + key + ")",
			"/x?x=" + url.QueryEscape("a "+key), "/me/" + strings.ReplaceAll(key, "_", "%5F"), "/me/" + strings.ReplaceAll(key, "_", "%255f"),
			`{"d":"` + key + `"}`, `["X-Api-Key","` + key + `"]`, `{"` + key + `":{"a":1}}`, "x=" + key, "key_" + key,
		} {
			if out := m.Clean(text); strings.Contains(out, "SeCrSeCr") {
				t.Errorf("%s became %s", text, out)
			}
			for _, kind := range []string{"application/json", "text/plain", "application/x-www-form-urlencoded"} {
				if out, _ := b.Clean([]byte(text), kind, "", false); strings.Contains(string(out), "SeCrSeCr") {
					t.Errorf("%s %s became %s", kind, text, out)
				}
			}
		}
	}
}

func TestWhatIsNoCredentialIsRecorded(t *testing.T) {
	s := NewBody(NewText(nil, nil), []byte("k"))
	for _, body := range []string{
		`{"id":7,"name":"Ann","email":"a@b.c","state":"CA","code":5,"postal_code":"1234"}`,
		`{"page_token":"abc","next_page_token":"def","sort_key":"name","primary_key":"id","idempotency_key":"1-2-3","public_key":"x"}`,
		`{"usage":{"prompt_tokens":12,"completion_tokens":3,"total_tokens":15,"tokens":9},"max_tokens":100,"token_type":"Bearer"}`,
		`{"password_required":true,"has_password":false,"reset_token":null}`,
		`{"kty":"EC","crv":"P-256","x":"a","y":"b","kid":"c"}`,
		`{"d":"2026-11-30","p":1,"q":"search","k":"v"}`,
		`{"name":"color","value":"red"}`,
		`{"key":"color","value":"red"}`,
		`[{"key":"sort","value":"asc"},{"field":"postal_code","value":"1234"}]`,
		`{"fields":["name","email","phone"],"pair":["a","b"]}`,
		`{"type":"password","label":"Your password","required":true}`,
		`[{"op":"replace","path":"/user/name","value":"Ann"}]`,
		`{"secretary":"Bob","author":"Ann","passenger":"Eve","tokenizer":"bpe"}`,
		`{"m":"unknown key: 'x' in session: y, see /docs/reset-password and /services/list"}`,
		`{"u":"https://x.example/orders/12345?page=2&sort_key=a"}`,
		`{"activation":"relu","magic":42,"invite":"party"}`,
	} {
		out, cut := s.Clean([]byte(body), "application/json", "", false)
		if string(out) != body || cut {
			t.Errorf("%s\nbecame %s", body, out)
		}
	}
}

func TestPathsThatAreKnownToHaveSecrets(t *testing.T) {
	m := NewText(nil, nil)
	for _, pattern := range []string{"/share/{token}", "/v1/*/by-key/{key}/*", "/dl-{key}", "/s/*", "/t/*/x"} {
		p, err := ParsePathPattern(pattern)
		if err != nil {
			t.Fatal(err)
		}
		m.AddPath(p)
	}
	for _, path := range []string{
		"/bot123456:SECRET7x9Q/sendMessage", "/bot123456%3ASECRET7x9Q/getMe", "/file/bot1:SECRET7x9Q/a.jpg",
		"/services/T0AB/B0CD/SECRET7x9Q", "/services/T0/B0/SECRET7x9Q", "/workflows/T0AB/A0CD/1234/SECRET7x9Q", "/triggers/E0AB/123/SECRET7x9Q",
		"/api/webhooks/1/SECRET7x9Q", "/api/v10/webhooks/123/SECRET7x9Q/messages/1", "/webhookb2/g@h/IncomingWebhook/SECRET7x9Q/SECRET7x9Q",
		"/reset-password/SECRET7x9Q", "/users/password/reset/SECRET7x9Q/", "/accounts/reset/MQ/SECRET7x9Q/", "/activate/SECRET7x9Q", "/verify-email/SECRET7x9Q",
		"/invitations/SECRET7x9Q", "/magic-link/SECRET7x9Q", "/confirm/SECRET7x9Q", "/hooks/SECRET7x9Q", "/hooks/catch/123/SECRET7x9Q/", "/api/webhook/SECRET7x9Q",
		"/trigger/e/with/key/SECRET7x9Q", "/password_resets/SECRET7x9Q/edit", "/account_activations/SECRET7x9Q", "/reset/password/SECRET7x9Q", "/verify/email/SECRET7x9Q",
		"/open-apis/bot/v2/hook/SECRET7x9Q", "/webhook-test/SECRET7x9Q", "/auth/reset-password/confirm/SECRET7x9Q", "/share/SECRET7x9Q", "/v1/a/by-key/SECRET7x9Q/b/c", "/dl-SECRET7x9Q", "/s/SECRET7x9Q", "/s/SECRET7x9Q/SECRET7x9Q", "/t/SECRET7x9Q/x",
	} {
		for _, text := range []string{path, "https://api.example.com" + path, "Post \"https://api.example.com:8080" + path + "\": EOF", path + "?a=b", "/x?next=" + url.QueryEscape("https://h"+path)} {
			if out := m.Clean(text); strings.Contains(out, marker) || !strings.Contains(out, Redacted) {
				t.Errorf("%s became %s", text, out)
			}
		}
	}
	for _, path := range []string{
		"/orders/17", "/services/list/all/of", "/services/TAX/BILLS/17", "/api/v1/users/12345678/orders/ABC-123", "/v2/library/nginx/manifests/sha256:0a1b2c3d4e5f6a7b8c9d", "/webhooks/17/edit", "/webhooks/17", "/reset-password", "/reset-password/done", "/password/reset/confirm",
		"/bot", "/bots/17", "/bottle:x", "/users/activate", "/invites/17", "/invitations/123456789", "/confirm/orders", "/hooks/list", "/with/keys/abc",
		"/share", "/share/a/b", "/v1/a/by-key", "/robots.txt", "/verify/12345678901", "/docs/webhook/getting-started", "/share/", "/s", "/s/", "/t/a/y",
	} {
		if out := m.Clean(path); out != path {
			t.Errorf("%s became %s", path, out)
		}
	}
	for _, bad := range []string{"", "x", "/x", "/x/{", "/{}", "/a{b}c", "/a*", "/{a}{b}"} {
		if _, err := ParsePathPattern(bad); err == nil {
			t.Errorf("pattern %q was taken", bad)
		}
	}
}

func TestTextsHaveNoCredentials(t *testing.T) {
	m := NewText(nil, nil)
	for _, s := range []string{
		`/x?data={"password":"SECRET7x9Q"}`, `/x?data=%7B%22a%22:%5B%7B%22token%22:%22SECRET7x9Q%22%7D%5D%7D`, `/x?filter[password]=SECRET7x9Q`,
		`user:SECRET7x9Q@tcp(10.0.0.1:3306)/db`, `root:SECRET7x9Q@unix(/var/run/x.sock)/db`, `redis://:SECRET7x9Q@h:6379/0`, `amqp://u:SECRET7x9Q@h`,
		`Server=h;Database=d;User Id=u;Password=SECRET7x9Q;`, `AccountName=a;AccountKey=SECRET7x9Q==;`, `SharedAccessKeyName=n;SharedAccessKey=SECRET7x9Q=`,
		`jdbc:mysql://h/d?user=u&password=SECRET7x9Q`, `mongodb+srv://u:SECRET7x9Q@h/d`, `authorization: ApiKey SECRET7x9Q`, `Cookie: a=b; sid=SECRET7x9Q`,
		`{"password":"SECRET7x9Q`, `{\"password\":\"SECRET7x9Q\"}`, `{\\\"password\\\":\\\"a\\\\\\\"SECRET7x9Q\\\"}`, `{"password" : {"a":"}SECRET7x9Q"}}`, `{'secret': SECRET7x9Q}`,
		`"password":"a\"SECRET7x9Q"`, `:api_key => "SECRET7x9Q"`, `password='SECRET7x9Q'`, `password=\"SECRET7x9Q\"`, `psql: password: "SECRET7x9Q"`,
	} {
		if out := m.Clean(s); strings.Contains(out, marker) {
			t.Errorf("%s became %s", s, out)
		} else if again := m.Clean(out); again != out {
			t.Errorf("%s became %s, and then %s", s, out, again)
		}
	}
	for _, s := range []string{
		`invalid token: expired`, `json: unexpected token: x`, `no such key: abc`, `session: 5 active`, `time: 10:30, level: "info"`, `/a/b?page_token=abc&sort_key=d`,
		`x@y(z)`, `user@host:22`, `tcp 10.0.0.1:80->10.0.0.2:5432`, `{"level":"info","msg":"it's 'fine': \"yes\""}`, `text/plain; charset=utf-8`,
	} {
		if out := m.Clean(s); out != s {
			t.Errorf("%s became %s", s, out)
		}
	}
}
