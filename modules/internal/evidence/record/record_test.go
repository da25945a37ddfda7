package record

import (
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func full() *Record {
	return &Record{
		V: 1, Kind: Outcome, Time: time.Date(2026, 11, 22, 10, 0, 0, 123456000, time.UTC),
		ID: "6f1c", Trace: "4bf92f3577b34da6a3ce929d0e0e4736", Site: "api.example.com", Host: "api.example.com:8443",
		Proto: "HTTP/2.0", Method: "GET", Path: "/客户/1", Query: "a=1&token=****", Client: "192.0.2.7", Peer: "10.0.0.1:40000", TLS: "1.3",
		Headers: map[string][]string{"Accept": {"a", "b"}, "X-Y": {"c"}}, HeaderOrder: []string{"Accept", "X-Y", "X-Z"},
		Upstream: Upstream{Method: "POST", Path: "/v2"},
		User:     User{ID: "alice", Issuer: "https://id", Kind: "jwt", Key: "k1", Token: "t1"},
		App:      User{ID: "shop", Kind: "api_key", Key: "k2"},
		Roles:    []string{"clerk", "auditor"},
		Decisions: []Decision{
			{Layer: "jwt_auth", Result: "allow"},
			{Layer: "rbac", Result: "deny", Rule: `role clerk: deny DELETE "x"`, Code: "forbidden", Policy: "sha256:0a"},
		},
		MCP:    Call{Method: "tools/call", Name: "refund", Arguments: "sha256:00", Error: -32602, Hidden: 2},
		Status: 403, Code: "forbidden", End: EndAborted, Received: 7, Sent: 99, Micros: 1234, Redacted: 3, RedactedBy: []string{"mask $..phone"},
		RequestBody: `{"a":1}`, ResponseBody: "line\n",
	}
}

func TestAppendGolden(t *testing.T) {
	want := `{"v":1,"kind":"outcome","time":"2026-11-22T10:00:00.123456Z","id":"6f1c","trace":"4bf92f3577b34da6a3ce929d0e0e4736","site":"api.example.com",` +
		`"host":"api.example.com:8443","proto":"HTTP/2.0","method":"GET","path":"/客户/1","query":"a=1&token=****","client":"192.0.2.7","peer":"10.0.0.1:40000","tls":"1.3",` +
		`"headers":{"Accept":["a","b"],"X-Y":["c"]},"upstream":{"method":"POST","path":"/v2"},"user":{"id":"alice","issuer":"https://id","kind":"jwt","key":"k1","token":"t1"},"app":{"id":"shop","kind":"api_key","key":"k2"},` +
		`"roles":["clerk","auditor"],"decisions":[{"layer":"jwt_auth","result":"allow"},{"layer":"rbac","result":"deny","rule":"role clerk: deny DELETE \"x\"","code":"forbidden","policy":"sha256:0a"}],` +
		`"mcp":{"method":"tools/call","name":"refund","arguments":"sha256:00","error":-32602,"hidden":2},` +
		`"status":403,"code":"forbidden","end":"aborted","received":7,"sent":99,"us":1234,"redacted":3,"redacted_by":["mask $..phone"],"request_body":"{\"a\":1}","response_body":"line\n"}`
	if got := string(full().Append(nil)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	change := &Record{Kind: Change, Time: time.Unix(0, 0), Layer: "rbac", What: "policy loaded", Source: "/etc/p.yaml", Old: "a", New: "b", Detail: "+ x\n- y"}
	want = `{"v":1,"kind":"change","time":"1970-01-01T00:00:00.000000Z","layer":"rbac","what":"policy loaded","source":"/etc/p.yaml","old":"a","new":"b","detail":"+ x\n- y"}`
	if got := string(change.Append(nil)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestDecodeIsTheInverseOfAppend(t *testing.T) {
	want := full()
	var got Record
	if err := Decode(want.Append(nil), &got); err != nil {
		t.Fatal(err)
	}
	want.HeaderOrder = nil
	if !reflect.DeepEqual(&got, want) {
		t.Errorf("got  %+v\nwant %+v", got, *want)
	}
}

func TestLongTextIsCutAndSaidToBe(t *testing.T) {
	r := &Record{
		Kind: Outcome, Path: strings.Repeat("ä", maxPath), Host: strings.Repeat("h", 10_000),
		Roles: make([]string, 100), User: User{ID: strings.Repeat("u", 1<<20)},
	}
	line := r.Append(nil)
	var got Record
	if err := Decode(line, &got); err != nil {
		t.Fatal(err)
	}
	if len(line) > 10_000 || len(got.Path) != maxPath || !utf8.ValidString(got.Path) || len(got.Roles) != maxList {
		t.Errorf("%d bytes, path of %d, %d roles", len(line), len(got.Path), len(got.Roles))
	}
	if want := []string{"host", "path", "id", "roles"}; !reflect.DeepEqual(got.Cut, want) {
		t.Errorf("cut %v, want %v", got.Cut, want)
	}
}

func TestNoRecordIsTooLongToBeKept(t *testing.T) {
	const kept = 1 << 20 // what a trail accepts
	for _, text := range []string{"\x00", "\xff", "\u202e", "x", "ä", "\"", "\n"} {
		long := strings.Repeat(text, 1<<20)
		many := make([]string, 200)
		for i := range many {
			many[i] = long
		}
		r := &Record{Kind: Outcome, Headers: make(map[string][]string)}
		v := reflect.ValueOf(r).Elem()
		for i := range v.NumField() {
			switch f := v.Field(i); f.Interface().(type) {
			case string:
				if v.Type().Field(i).Name != "Kind" {
					f.SetString(long)
				}
			case []string:
				f.Set(reflect.ValueOf(many))
			}
		}
		r.Cut = nil
		r.HeaderOrder = nil
		for i := range 50 {
			name := "X-" + strconv.Itoa(i)
			r.Headers[name] = many
			r.HeaderOrder = append(r.HeaderOrder, name)
		}
		for range 200 {
			r.Decisions = append(r.Decisions, Decision{Layer: long, Result: long, Rule: long, Code: long, Policy: long})
		}
		line := r.Append(nil)
		var got Record
		if err := Decode(line, &got); err != nil || len(line) > kept {
			t.Errorf("%q: a record of %d bytes: %v", text, len(line), err)
		}
		if len(got.Cut) == 0 || !utf8.Valid(line) {
			t.Errorf("%q: nothing says what was cut", text)
		}
		if got.Status = 0; got.Detail == "" && got.Site == "" {
			t.Errorf("%q: nothing is left", text)
		}
	}
}

func TestTextIsCutWhereItFits(t *testing.T) {
	for _, tt := range []struct {
		s     string
		limit int
		want  string
	}{
		{"abc", 3, `"abc"`},
		{"abcd", 3, `"abc"`},
		{"aä", 2, `"a"`},
		{"aä", 3, `"aä"`},
		{"a\n", 2, `"a"`},
		{"a\nb", 3, `"a\n"`},
		{"\x01", 5, `""`},
		{"\x01", 6, `"\u0001"`},
		{"a\x01b", 7, `"a\u0001"`},
		{"a", 0, `""`},
		{"", 0, `""`},
	} {
		got, whole := appendString(nil, tt.s, tt.limit)
		full := AppendString(nil, tt.s)
		if string(got) != tt.want || whole != (string(got) == string(full)) {
			t.Errorf("%q in %d bytes: %s, whole %v, want %s", tt.s, tt.limit, got, whole, tt.want)
		}
	}
}

func TestAppendAllocatesNothing(t *testing.T) {
	r, buf := full(), make([]byte, 0, 4096)
	if n := testing.AllocsPerRun(100, func() { buf = r.Append(buf[:0]) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// The law: whatever a client sends stays one line of harmless JSON that says
// what was sent, but for bytes that are no UTF-8.
func FuzzAppendString(f *testing.F) {
	for _, s := range []string{"", "plain", "\r\n{\"v\":1}", "\x00\x1b[31m\x7f", "\xff\xc0\x80", "\u0085\u2028\u202e\u2066\ufeff", `"\`, "客户", "\xed\xa0\x80"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		out := AppendString(nil, s)
		for _, r := range string(out) {
			if r < ' ' || r == 0x7f || r >= 0x80 && unsafeRune(r) {
				t.Fatalf("%q has %U", out, r)
			}
		}
		var back string
		if err := json.Unmarshal(out, &back); err != nil {
			t.Fatalf("%q: %v", out, err)
		}
		if want := strings.ToValidUTF8(perByte(s), "\ufffd"); back != want {
			t.Fatalf("%q became %q, want %q", s, back, want)
		}
		for limit := range min(len(out), 40) {
			out, whole := appendString(nil, s, limit)
			var part string
			if err := json.Unmarshal(out, &part); err != nil || len(out) > limit+2 || !strings.HasPrefix(back, part) || whole != (part == back) {
				t.Fatalf("%q in %d bytes became %q, whole %v: %v", s, limit, out, whole, err)
			}
		}
	})
}

// perByte replaces each byte that is not UTF-8, one by one.
func perByte(s string) string {
	var b strings.Builder
	for _, r := range s {
		b.WriteRune(r)
	}
	return b.String()
}

func TestEightBytesAtOnceAgreeWithOneByOne(t *testing.T) {
	for c := range 256 {
		for at := range 8 {
			b := []byte("abcdefgh")
			b[at] = byte(c)
			// It may say no without need, where a byte before borrows.
			if got := allPlain(string(b)); got && !plain[c] {
				t.Errorf("%q is taken for plain", b)
			} else if !got && plain[c] {
				t.Errorf("%q is plain", b)
			}
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	r, buf := full(), make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		buf = r.Append(buf[:0])
	}
	b.SetBytes(int64(len(buf)))
}

// The law: the decoder gives what encoding/json gives, or nothing at all.
func FuzzDecode(f *testing.F) {
	f.Add(full().Append(nil))
	for _, s := range []string{
		`{"v":1}`, `{"v":1,"v":2}`, `{"V":1,"Kind":"x"}`, `{"v":1,"kind":null}`, `{"v":01}`, `{"v":-0}`, `{"v":1e3}`, `{"v":1,"x":[{}]}`, `{"v":1 }`, `{"v":1}{}`,
		`{"v":1,"path":"\u00e9\ud800\n"}`, "{\"v\":1,\"path\":\"\xff\xc3\xa4\"}", `{"v":1,"time":"2026-11-22T10:00:00,5Z"}`, `{"v":1,"time":"2026-11-22t10:00:00z"}`, `{"v":1,"time":"2026-11-22T24:00:00+99:99"}`,
		`{"v":1,"headers":{"A":["b"],"A":["c"]}}`, `{"v":1,"headers":{"A":null}}`, `{"v":1,"roles":[]}`, `{"v":1,"decisions":[{},{"layer":"x","layer":"y"}]}`, `{"v":1,"user":{"id":"a","ID":"b"}}`,
		`{"v":1,"status":99999999999999999999}`, `{"v":1,"decisions":[]}`, `{"v":1,"upstream":{}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		var fast, slow Record
		d := decoder{s: string(line)}
		if d.record(&fast); d.bad {
			return
		}
		if err := json.Unmarshal(line, &slow); err != nil {
			t.Fatalf("%q: encoding/json says %v", line, err)
		}
		if !reflect.DeepEqual(fast, slow) {
			t.Fatalf("%q\nfast %+v\nslow %+v", line, fast, slow)
		}
	})
}

func TestWhatAppendWritesIsReadInOnePass(t *testing.T) {
	d := decoder{s: string(full().Append(nil))}
	if d.record(new(Record)); d.bad {
		t.Error("it was left to encoding/json")
	}
}

func BenchmarkDecode(b *testing.B) {
	line := full().Append(nil)
	var r Record
	b.ReportAllocs()
	b.SetBytes(int64(len(line)))
	for b.Loop() {
		if err := Decode(line, &r); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeByEncodingJSON(b *testing.B) {
	line := full().Append(nil)
	b.ReportAllocs()
	b.SetBytes(int64(len(line)))
	for b.Loop() {
		var r Record
		if err := json.Unmarshal(line, &r); err != nil {
			b.Fatal(err)
		}
	}
}

func TestAppendTimeIsRFC3339(t *testing.T) {
	for _, at := range []time.Time{{}, time.Unix(0, 0), time.Unix(1<<31, 999_999_999), time.Date(9999, 12, 31, 23, 59, 59, 1000, time.UTC), time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 2, 28, 7, 8, 9, 10_203_040, time.UTC)} {
		at = at.UTC()
		if got, want := string(appendTime(nil, at)), at.Format("2006-01-02T15:04:05.000000Z07:00"); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// A member that the table of the decoder lacks would be read by encoding/json,
// slowly and without anybody noticing.
func TestDecoderKnowsEveryMember(t *testing.T) {
	table := func(names []string, of reflect.Type) {
		t.Helper()
		want := map[string]bool{}
		for i := range of.NumField() {
			name, _, _ := strings.Cut(of.Field(i).Tag.Get("json"), ",")
			if name == "" {
				name = strings.ToLower(of.Field(i).Name)
			}
			if name != "-" {
				want[name] = true
			}
		}
		for _, name := range names {
			if !want[name] {
				t.Errorf("%s has no member %s, or it is there twice", of, name)
			}
			delete(want, name)
		}
		for name := range want {
			t.Errorf("the member %s of %s is missing", name, of)
		}
	}
	table(namesOf(recordMembers), reflect.TypeFor[Record]())
	table(namesOf(upstreamMembers), reflect.TypeFor[Upstream]())
	table(namesOf(userMembers), reflect.TypeFor[User]())
	table(namesOf(decisionMembers), reflect.TypeFor[Decision]())
}

func namesOf[T any](members []member[T]) (names []string) {
	for _, m := range members {
		names = append(names, m.name)
	}
	return names
}
