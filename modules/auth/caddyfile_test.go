package auth

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

func dispenser(input string) *caddyfile.Dispenser { return caddyfile.NewTestDispenser(input) }

func TestMistakesInTheAuthBlockAreRefused(t *testing.T) {
	basic := "\tbasic {\n\t\talice " + aliceHash + "\n\t}\n"
	for _, test := range []struct{ input, want string }{
		{"auth", "needs at least one method"},
		{"auth {\n}", "needs at least one method"},
		{"auth x {\n" + basic + "}", "takes no arguments"},
		{"auth {\n" + basic + "\toptional\n\toptional\n}", "already specified"},
		{"auth {\n" + basic + "\toptional yes\n}", "takes no arguments"},
		{"auth {\n" + basic + "\tpreflight\n\tpreflight\n}", "already specified"},
		{"auth {\n" + basic + "\tnonsense\n}", "unrecognized subdirective 'nonsense'"},
		{"auth {\n" + basic + "\tforward sub\n}", "forward takes a claim pointer"},
		{"auth {\n" + basic + "\tforward sub X-User more\n}", "forward takes a claim pointer"},
		{"auth {\n" + basic + "\tforward sub Host\n}", "HTTP itself needs"},
		{"auth {\n" + basic + "\tforward a X-User\n\tforward b X_User\n}", "set twice"},
		{"auth {\n\tbasic\n}", "at least one user"},
		{"auth {\n\tbasic md5 {\n\t\ta b\n\t}\n}", "unrecognized hash algorithm"},
		{"auth {\n\tbasic bcrypt realm extra {\n\t\ta b\n\t}\n}", "basic takes"},
		{"auth {\n\tbasic {\n\t\talice\n\t}\n}", "<username> <hashed password>"},
		{"auth {\n\tbasic {\n\t\talice x\n\t\talice y\n\t}\n}", "already specified"},
	} {
		err := new(Handler).UnmarshalCaddyfile(dispenser(test.input))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s\ngot:  %v\nwant: …%s…", test.input, err, test.want)
		}
	}
}

func TestAuthBlockAdaptsInOrder(t *testing.T) {
	var h Handler
	err := h.UnmarshalCaddyfile(dispenser("auth {\n\tbasic argon2id \"my realm\" {\n\t\ta b\n\t}\n\tbasic {\n\t\tc d\n\t}\n\tforward /sub X-User\n\toptional\n\tpreflight\n}"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"name":"auth","providers":[` +
		`{"accounts":[{"password":"b","username":"a"}],"hash":{"algorithm":"argon2id"},"hash_cache":{},"provider":"http_basic","realm":"my realm"},` +
		`{"accounts":[{"password":"d","username":"c"}],"hash":{"algorithm":"bcrypt"},"hash_cache":{},"provider":"http_basic"}],` +
		`"optional":true,"preflight":true,"forward":[{"claim":"/sub","header":"X-User"}]}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestHandlerWithoutMethodsIsRefused(t *testing.T) {
	for _, h := range []*Handler{{}, {Optional: true, StripHeaders: []string{"X-User"}}} {
		if h.Validate() == nil {
			t.Errorf("%+v was accepted", h)
		}
	}
	if err := (&Handler{StripHeaders: []string{"X-User"}}).Validate(); err != nil {
		t.Error(err)
	}
}
