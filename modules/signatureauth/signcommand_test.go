package signatureauth

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// signRequest runs `caddy moat sign` with the key, and returns what it prints.
func signRequest(t *testing.T, p pair, args ...string) (string, error) {
	t.Helper()
	key := filepath.Join(t.TempDir(), "private.pem")
	if err := os.WriteFile(key, []byte(p.private), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := signCommand()
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetArgs(append([]string{"--keyid", p.ID, "--key", key}, args...))
	err := cmd.Execute()
	if strings.Contains(out.String(), "PRIVATE") {
		t.Errorf("the key is printed: %s", &out)
	}
	return out.String(), err
}

// TestSignedCommandsAreAccepted has curl send what is printed, in the cases in
// which curl does something of its own with a URL or a field.
func TestSignedCommandsAreAccepted(t *testing.T) {
	for _, program := range []string{"sh", "curl"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("no %s: the printed command cannot be run", program)
		}
	}
	acme := ed25519Pair(t, "acme-1")
	p := provide(t, "key acme-1 ed25519 `"+acme.public+"`\ncavage\nreplay off")
	p.now = time.Now
	answers := make(chan string, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, &caddyhttp.Server{})
		grant, err := p.Identify(r)
		who := grant.Principal
		answer := "refused: " + refusal(err)
		if err == nil && who != nil {
			answer = r.Method + " " + who.ID
		}
		answers <- answer
	}))
	defer server.Close()
	body := filepath.Join(t.TempDir(), "body")
	if err := os.WriteFile(body, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	const url = "http://api.example"
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"a name of a query parameter":   {[]string{"--cover", `@method,@target-uri,@query-param;name="id"`, url + "/?id=1"}, "GET acme-1"},
		"a comma in a name":             {[]string{"--cover", "@method", "--cover", `@target-uri,@query-param;name="a%2Cb"`, url + "/?a,b=1"}, "GET acme-1"},
		"a key with a comma":            {[]string{"-H", "X-Dict: a=1", "--cover", `@method,@target-uri,x-dict;key="a",x-dict`, url}, "GET acme-1"},
		"another Host":                  {[]string{"-H", "Host: Other.example", url + "/"}, "GET acme-1"},
		"the port that the scheme has":  {[]string{"--cover", "@method,@target-uri,host", url + ":80/"}, "GET acme-1"},
		"brackets and braces":           {[]string{url + "/{a,b}?filter[name]=x&n=[1-3]"}, "GET acme-1"},
		"dots in the path":              {[]string{url + "/a/../b/./c"}, "GET acme-1"},
		"an empty query":                {[]string{url + "/a?"}, "GET acme-1"},
		"a fragment":                    {[]string{url + "/a#b"}, "GET acme-1"},
		"an empty field":                {[]string{"-H", "X-Empty:", "--cover", "@method,@target-uri,x-empty", url}, "GET acme-1"},
		"HEAD":                          {[]string{"--method", "HEAD", url}, "HEAD acme-1"},
		"content":                       {[]string{"--body", body, "--nonce", "random", "--expires", "1m", url}, "POST acme-1"},
		"another digest of the caller":  {[]string{"--body", body, "-H", "content-digest: sha-512=:stacBqwGd+K3x+Dkkl/5ctv2rUjGSlbyr3pBFtEDSFq2v4p38OL06UKXajk8nZqTbG96bP8gWrZ5GngS/6BXSg==:", url}, "refused: content_digest_mismatch"},
		"the draft":                     {[]string{"--cavage", url + ":80/?a=1"}, "GET acme-1"},
		"the draft with content":        {[]string{"--cavage", "--body", body, "--method", "PUT", url}, "PUT acme-1"},
		"the draft with another Host":   {[]string{"--cavage", "-H", "Host: other.example", url}, "GET acme-1"},
		"the draft with the own Date":   {[]string{"--cavage", "-H", "Date: " + time.Now().UTC().Format(http.TimeFormat), url}, "GET acme-1"},
		"the draft with a Date of 1994": {[]string{"--cavage", "-H", "Date: Sun, 06 Nov 1994 08:49:37 GMT", url}, "refused: invalid_signature"},
	} {
		text, err := signRequest(t, acme, c.args...)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		curl := "curl -sS --noproxy '*' --connect-to ::" + strings.TrimPrefix(server.URL, "http://") + " "
		out, err := exec.Command("sh", "-c", strings.Replace(text, "curl ", curl, 1)).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v: %s; the command is\n%s", name, err, out, text)
			continue
		}
		if got := <-answers; got != c.want {
			t.Errorf("%s: got %q, want %q; the command is\n%s", name, got, c.want, text)
		}
	}
}

// TestWhatCannotBeSignedIsRefused holds that no option goes without effect and
// that nothing is printed that could not be accepted.
func TestWhatCannotBeSignedIsRefused(t *testing.T) {
	acme := ed25519Pair(t, "acme-1")
	const url = "http://api.example/"
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"no URL":                   {nil, "accepts 1 arg"},
		"no scheme":                {[]string{"api.example/"}, "must begin with https://"},
		"another scheme":           {[]string{"ftp://api.example/"}, "must begin with https://"},
		"no host":                  {[]string{"https:///a"}, "must begin with https://"},
		"a user in the URL":        {[]string{"https://a:b@api.example/"}, "user in it"},
		"a space in the query":     {[]string{url + "?a=b c"}, "percent-encoded"},
		"letters in the query":     {[]string{url + "?a=é"}, "percent-encoded"},
		"a method of two words":    {[]string{"--method", "GET /", url}, "--method"},
		"a field without a colon":  {[]string{"-H", "X", url}, "--header takes"},
		"a field of two lines":     {[]string{"-H", "X: a\nY: b", url}, "--header takes"},
		"a field that is not sent": {[]string{"--cover", "x-a", url}, "not there"},
		"a component twice":        {[]string{"--cover", "@method,@method", url}, "already specified"},
		"an empty component":       {[]string{"--cover", "@method,", url}, "field"},
		"a quote that is open":     {[]string{"--cover", `@query-param;name="a`, url}, "not a component"},
		"a past expiry":            {[]string{"--expires", "-1s", url}, "in the past"},
		"an algorithm of another":  {[]string{"--alg", "rsa-pss-sha512", url}, "key"},
		"no such algorithm":        {[]string{"--alg", "none", url}, "not supported"},
		"a signature in a field":   {[]string{"-H", "signature: x", url}, "the signature is made here"},
		"the same for the draft":   {[]string{"--cavage", "-H", "authorization: Bearer x", url}, "the signature is made here"},
		"a nonce for the draft":    {[]string{"--cavage", "--nonce", "random", url}, "RFC 9421"},
		"a tag for the draft":      {[]string{"--cavage", "--tag", "a", url}, "RFC 9421"},
		"a label for the draft":    {[]string{"--cavage", "--label", "sig1", url}, "RFC 9421"},
		"an expiry for the draft":  {[]string{"--cavage", "--expires", "1m", url}, "RFC 9421"},
		"no such file":             {[]string{"--body", filepath.Join(t.TempDir(), "none"), url}, "no such file"},
	} {
		text, err := signRequest(t, acme, c.args...)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(text, "curl -") {
			t.Errorf("%s: got %v, %s, want %q", name, err, text, c.want)
		}
	}
}

func TestSplitKeepsStringsWhole(t *testing.T) {
	for text, want := range map[string][]string{
		`@method,@path`:                 {"@method", "@path"},
		`@query-param;name="a,b",@path`: {`@query-param;name="a,b"`, "@path"},
		`x;key="\",",@path`:             {`x;key="\","`, "@path"},
		`x;key="\\",@path`:              {`x;key="\\"`, "@path"},
		``:                              {""},
		`,`:                             {"", ""},
		`"a,b`:                          {`"a,b`},
		`a,"\`:                          {"a", `"\`},
	} {
		if got := split([]string{text}); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
}
