package redact

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestCaddyfileBecomesConfiguration(t *testing.T) {
	h, err := parse(`redact {
		remove password $..internal
		null $.a
		replace "no more" $.b
		mask mobile $..phone
		mask keep 3 4 $..card
		keep 1 2 • $..code
		keep 1 2 x
		mask keep 0 0 char=x $..code
		hash $..id
		encrypt $..key
		truncate 8 $..street
		round -3 $..income
		shift_dates 30 $..born
		detect pan mobile mask last4
		detect jwt replace [token] $..note
		except role manager auditor {
			remove $..salary
		}
		only scope partner {
			null $..margin
			remove $..cost
		}
		requests {
			remove $..admin
			only user eve {
				null $
			}
			pass multipart/form-data
		}
		unreadable pass
		pass text/html Text/*
		pass application/pdf
		hold 1KiB
		max_depth 9
		max_value 2KiB
		max_event 3KiB
		hide_errors
		websocket allow
		etag seal
		hash_key {env.K}
		encrypt_key {file.k} 2026
		encrypt_key internal
	}`)
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"rules":[{"action":"remove","selectors":["password","$..internal"]},` +
		`{"action":"null","selectors":["$.a"]},` +
		`{"action":"replace","args":["no more"],"selectors":["$.b"]},` +
		`{"action":"mask","args":["mobile"],"selectors":["$..phone"]},` +
		`{"action":"keep","args":["3","4"],"selectors":["$..card"]},` +
		`{"action":"keep","args":["1","2","•"],"selectors":["$..code"]},` +
		`{"action":"keep","args":["1","2"],"selectors":["x"]},` +
		`{"action":"keep","args":["0","0","x"],"selectors":["$..code"]},` +
		`{"action":"hash","selectors":["$..id"]},{"action":"encrypt","selectors":["$..key"]},` +
		`{"action":"truncate","args":["8"],"selectors":["$..street"]},{"action":"round","args":["-3"],"selectors":["$..income"]},` +
		`{"action":"shift_dates","args":["30"],"selectors":["$..born"]},` +
		`{"action":"detect","kinds":["pan","mobile"],"then":{"action":"mask","args":["last4"]}},` +
		`{"action":"detect","kinds":["jwt"],"then":{"action":"replace","args":["[token]"]},"selectors":["$..note"]}],` +
		`"groups":[{"mode":"except","of":"role","names":["manager","auditor"],"rules":[{"action":"remove","selectors":["$..salary"]}]},` +
		`{"mode":"only","of":"scope","names":["partner"],"rules":[{"action":"null","selectors":["$..margin"]},{"action":"remove","selectors":["$..cost"]}]}],` +
		`"requests":{"rules":[{"action":"remove","selectors":["$..admin"]}],` +
		`"groups":[{"mode":"only","of":"user","names":["eve"],"rules":[{"action":"null","selectors":["$"]}]}],` +
		`"pass":["multipart/form-data"]},` +
		`"max_depth":9,"max_value":2048,"max_event":3072,"unreadable":"pass","pass":["text/html","Text/*","application/pdf"],` +
		`"hold":1024,"hide_errors":true,"websocket":"allow","etag":"seal","hash_key":"{env.K}","encrypt_keys":[{"id":"2026","key":"{file.k}"},{"key":"internal"}]}`
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestCaddyfileMistakesAreRefusedWithTheirLine(t *testing.T) {
	for _, c := range []struct{ block, want string }{
		{"redact", "at least one rule"},
		{"redact {\n}", "at least one rule"},
		{"redact password {\n remove a\n}", "takes no argument"},
		{"redact {\n remvoe a\n}", "unrecognized subdirective 'remvoe'"},
		{"redact {\n remove\n}", "write remove <selector>..."},
		{"redact {\n remove \"\"\n}", "empty selector"},
		{"redact {\n replace x\n}", "write replace <text> <selector>..."},
		{"redact {\n mask mobile\n}", "write mask <preset> <selector>..."},
		{"redact {\n mask mobil a\n}", "unknown mask"},
		{"redact {\n keep 1 a\n}", "write keep <first> <last>"},
		{"redact {\n keep 1 b a\n}", "'b' is not a number"},
		{"redact {\n mask keep 1 1 x $..k\n}", "write char=x for the character, or $..x"},
		{"redact {\n keep 1 1 \u540d \u59d3\n}", "may be a character or a selector"},
		{"redact {\n detect mobile keep 1 1 x\n}", "may be a character or a selector"},
		{"redact {\n keep 1 1 char=xy a\n}", "write one character"},
		{"redact {\n keep 1 1 char=x\n}", "keep needs a selector"},
		{"redact {\n keep -1 2 a\n}", "'-1' is not a number"},
		{"redact {\n remove $.a[\n}", "$.a["},
		{"redact {\n remove $[?@.a==1]\n}", "filter"},
		{"redact {\n detect pan\n}", "write detect <kind>... <action>"},
		{"redact {\n detect remove\n}", "write detect <kind>... <action>"},
		{"redact {\n detect pan detect pan remove\n}", "write detect <kind>... <action>"},
		{"redact {\n remove a\n hold 1KiB\n hold 2KiB\n}", "hold already specified"},
		{"redact {\n remove a\n hold\n}", "hold takes one argument"},
		{"redact {\n remove a\n hold much\n}", "hold 'much'"},
		{"redact {\n remove a\n hold 1GiB\n}", "64MiB"},
		{"redact {\n remove a\n max_depth 0\n}", "max_depth '0'"},
		{"redact {\n remove a\n unreadable maybe\n}", "write block or pass"},
		{"redact {\n remove a\n websocket yes\n}", "write block or allow"},
		{"redact {\n remove a\n etag keep\n}", "write drop or seal"},
		{"redact {\n remove a\n hide_errors on\n}", "hide_errors takes no argument"},
		{"redact {\n remove a\n hash_key\n}", "hash_key takes one argument"},
		{"redact {\n truncate $..street\n}", "write truncate <characters>"},
		{"redact {\n truncate x $..street\n}", "'x' is not a number"},
		{"redact {\n round x $..a\n}", "'x' is not a number"},
		{"redact {\n shift_dates 0 $..a\n}", "'0' is not a number from 1"},
		{"redact {\n detect passport remove\n}", "unknown kind"},
		{"redact {\n detect pan mask mobil\n}", "unknown mask"},
		{"redact {\n encrypt a\n encrypt_key\n}", "encrypt_key takes"},
		{"redact {\n encrypt a\n encrypt_key a b c\n}", "encrypt_key takes"},
		{"redact {\n encrypt a\n encrypt_key a\n encrypt_key b\n}", "two keys with the id 1"},
		{"redact {\n remove a\n pass\n}", "pass takes one or more arguments"},
		{"redact {\n remove a\n pass html\n}", "'html' is not a media type"},
		{"redact {\n remove a\n pass text/h*\n}", "'text/h*' is not a media type"},
		{"redact {\n remove a\n pass application/json\n}", "is what is redacted"},
		{"redact {\n except {\n remove a\n }\n}", "except takes role|scope|user|kind <name>..."},
		{"redact {\n except role {\n remove a\n }\n}", "except takes role|scope|user|kind <name>..."},
		{"redact {\n only group x {\n remove a\n }\n}", "only 'group'"},
		{"redact {\n only role x\n}", "only role x has no rules"},
		{"redact {\n only role x {\n }\n}", "only role x has no rules"},
		{"redact {\n only role x {\n hold 1\n }\n}", "unrecognized subdirective 'hold' in only"},
		{"redact {\n only role x {\n except role y {\n remove a\n }\n }\n}", "unrecognized subdirective 'except' in only"},
		{"redact {\n requests {\n }\n}", "requests has no rules"},
		{"redact {\n requests x {\n remove a\n }\n}", "takes no argument"},
		{"redact {\n requests {\n remove a\n hold 1\n }\n}", "unrecognized subdirective 'hold' in requests"},
		{"redact {\n requests {\n remove a\n }\n requests {\n remove a\n }\n}", "requests already specified"},
	} {
		_, err := parse(c.block)
		if err == nil {
			t.Errorf("%q: no error, want %q", c.block, c.want)
			continue
		}
		if !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "Testfile:") {
			t.Errorf("%q:\n got %q\nwant %q with file and line", c.block, err, c.want)
		}
	}
}
