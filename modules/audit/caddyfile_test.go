package audit

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

func TestCaddyfileReadsEveryOption(t *testing.T) {
	var h Handler
	err := h.UnmarshalCaddyfile(caddyfile.NewTestDispenser(`audit /var/log/x.audit {
		sync batch 50ms
		on_failure refuse
		site shop
		record headers Accept Referer
		record headers X-Y
		record query page size
		record request_body 4KiB
		record response_body 64KiB
		hash $..customer_id
		mask phone $.a.b
		remove password
		roll 64MiB
		roll 12h
		keep 200d
		sign /etc/k.pem
		checkpoint 5s
		deliver file /var/log/copy.jsonl
		deliver http https://siem.example.com/in {
			name siem
			format ocsf
			batch 100
			timeout 5s
			header Authorization "Bearer {env.X}"
			ca /etc/ca.pem
			from now
		}
		deliver syslog tls log.example.com:6514
	}`))
	if err != nil {
		t.Fatal(err)
	}
	want := Handler{
		Path: "/var/log/x.audit", Sync: "batch", Batch: caddy.Duration(50 * time.Millisecond), OnFailure: "refuse", Site: "shop",
		RecordHeaders: []string{"Accept", "Referer", "X-Y"}, RecordQuery: &[]string{"page", "size"}, RequestBody: 4096, ResponseBody: 65536,
		Hash: []string{"$..customer_id"}, Mask: []string{"phone", "$.a.b"}, Remove: []string{"password"},
		RollSize: 64 << 20, RollEvery: caddy.Duration(12 * time.Hour), Keep: caddy.Duration(200 * 24 * time.Hour), Sign: "/etc/k.pem", Checkpoint: caddy.Duration(5 * time.Second),
		Deliver: []Delivery{
			{Sink: "file", Target: "/var/log/copy.jsonl"},
			{
				Sink: "http", Target: "https://siem.example.com/in", Name: "siem", Format: "ocsf", Batch: 100, Timeout: caddy.Duration(5 * time.Second),
				Headers: map[string]string{"Authorization": "Bearer {env.X}"}, CA: "/etc/ca.pem", From: "now",
			},
			{Sink: "syslog", Network: "tls", Target: "log.example.com:6514"},
		},
	}
	raw, _ := json.Marshal(&h)
	expected, _ := json.Marshal(&want)
	if string(raw) != string(expected) {
		t.Errorf("got  %s\nwant %s", raw, expected)
	}
	var back Handler
	if err := json.Unmarshal(raw, &back); err != nil || !reflect.DeepEqual(back.RecordQuery, h.RecordQuery) {
		t.Errorf("as JSON and back: %v %v", back.RecordQuery, err)
	}
}

func TestRecordQueryWithoutNamesSurvivesJSON(t *testing.T) {
	var h, back Handler
	if err := h.UnmarshalCaddyfile(caddyfile.NewTestDispenser("audit x {\nrecord query\n}")); err != nil {
		t.Fatal(err)
	}
	raw, _ := json.Marshal(&h)
	if err := json.Unmarshal(raw, &back); err != nil || back.RecordQuery == nil || len(*back.RecordQuery) != 0 {
		t.Errorf("%s became %v", raw, back.RecordQuery)
	}
}

func TestCaddyfileMistakesAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"audit":                                                            "needs the directory",
		`audit ""`:                                                         "is empty",
		"audit a b":                                                        "unexpected argument 'b'",
		"audit a {\nfsync always\n}":                                       "unrecognized subdirective 'fsync'",
		"audit a {\nsync always\nsync off\n}":                              "sync already specified",
		"audit a {\nsync\n}":                                               "sync takes always",
		"audit a {\nsync always 5s\n}":                                     "sync takes always, batch",
		"audit a {\nsync batch 0s\n}":                                      "above 0",
		"audit a {\nsync batch 1s 2s\n}":                                   "sync takes always",
		"audit a {\non_failure ignore\n}":                                  "refuse or continue",
		"audit a {\nrecord\n}":                                             "takes",
		"audit a {\nrecord cookies\n}":                                     "headers <name>...",
		"audit a {\nrecord headers\n}":                                     "takes",
		"audit a {\nrecord headers Cookie\n}":                              "carries credentials",
		"audit a {\nrecord headers x_api.key\n}":                           "carries credentials",
		"audit a {\nrecord headers DPoP\n}":                                "carries credentials",
		"audit a {\nrecord query a access_token\n}":                        "carries credentials",
		"audit a {\nrecord query\nrecord query\n}":                         "already specified",
		"audit a {\nrecord request_body 65KiB\n}":                          "1B to 64KiB",
		"audit a {\nrecord request_body 1\nrecord request_body 2\n}":       "already specified",
		"audit a {\nmask\n}":                                               "one or more arguments",
		"audit a {\nroll 10\n}":                                            "at least 64KiB",
		"audit a {\nroll 1ms\n}":                                           "at least 1s",
		"audit a {\nroll 1h\nroll 2h\n}":                                   "already specified",
		"audit a {\nroll often\n}":                                         "64MiB",
		"audit a {\nkeep forever\n}":                                       "such as 24h",
		"audit a {\nkeep -1s\n}":                                           "above 0",
		"audit a {\nsign a b\n}":                                           "sign takes one key file",
		"audit a {\ncheckpoint\n}":                                         "checkpoint takes one argument",
		"audit a {\ndeliver\n}":                                            "deliver takes file <path>",
		"audit a {\ndeliver kafka x\n}":                                    "deliver takes file <path>",
		"audit a {\ndeliver syslog udp x\n}":                               "deliver takes file <path>",
		"audit a {\ndeliver file x {\nformat ecs\nformat cef\n}\n}":        "already specified",
		"audit a {\ndeliver file x {\nretry 5\n}\n}":                       "unrecognized subdirective 'retry'",
		"audit a {\ndeliver file x {\nbatch 0\n}\n}":                       "from 1 to",
		"audit a {\ndeliver http http://x {\nheader A b\nheader A c\n}\n}": "already specified",
	} {
		var h Handler
		err := h.UnmarshalCaddyfile(caddyfile.NewTestDispenser(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want …%s…", text, err, want)
		}
	}
}

func TestConfigurationsThatMakeNoSenseAreRefusedAtLoad(t *testing.T) {
	e := newEnv(t)
	for options, want := range map[string]string{
		``:                             "path is required",
		`,"path":"DIR","sync":"never"`: "write always, batch or off",
		`,"path":"DIR","record_headers":["cookie"]`:                                                     "never recorded",
		`,"path":"DIR","record_query":["token"]`:                                                        "never recorded",
		`,"path":"DIR","response_body":100000`:                                                          "from 1B to 64KiB",
		`,"path":"DIR","batch":1000`:                                                                    "batch is for sync batch",
		`,"path":"DIR","mask":["a"]`:                                                                    "nothing of the kind is",
		`,"path":"DIR","request_body":9,"mask":["$.["]`:                                                 "is not a JSONPath",
		`,"path":"DIR","request_body":9,"mask":["$[::-2]"]`:                                             "not supported",
		`,"path":"DIR","sign":"/does/not/exist"`:                                                        "no such file",
		`,"path":"DIR","deliver":[{"sink":"http","target":"ftp://x"}]`:                                  "not an http or https URL",
		`,"path":"DIR","deliver":[{"sink":"file","target":"{env.NO_SUCH_VARIABLE}"}]`:                   "{env.NO_SUCH_VARIABLE}",
		`,"path":"DIR","deliver":[{"sink":"file","target":"x","format":"xml"}]`:                         "write moat, ocsf, ecs or cef",
		`,"path":"DIR","deliver":[{"sink":"file","target":"/a/x"},{"sink":"file","target":"/b/x"}]`:     "give one of them a name",
		`,"path":"DIR","deliver":[{"sink":"syslog","network":"tcp","target":"x:1","ca":"f"}]`:           "over TLS",
		`,"path":"DIR","deliver":[{"sink":"syslog","network":"tls","target":"x:1","ca":"/no/such"}]`:    "no such file",
		`,"path":"DIR","deliver":[{"sink":"http","target":"http://x","headers":{"A":"{env.NO_SUCH}"}}]`: "{env.NO_SUCH}",
	} {
		err := e.load(text("ok"), strings.ReplaceAll(options, "DIR", e.dir))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want …%s…", options, err, want)
		}
	}
}
