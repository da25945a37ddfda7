package redact

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// configured writes a configuration with one redact in it for each block of
// options, and a storage of its own.
func configured(t *testing.T, options ...string) string {
	t.Helper()
	dir := t.TempDir()
	var handlers []json.RawMessage
	for _, o := range options {
		h, err := parse("redact {\n" + o + "\n}")
		if err != nil {
			t.Fatal(err)
		}
		raw, err := json.Marshal(h)
		if err != nil {
			t.Fatal(err)
		}
		handlers = append(handlers, append([]byte(`{"handler":"redact",`), raw[1:]...))
	}
	list, _ := json.Marshal(handlers)
	config := fmt.Sprintf(`{"storage":{"module":"file_system","root":%q},"apps":{"http":{"servers":{"s":{"routes":[{"handle":%s}]}}}}}`,
		filepath.ToSlash(filepath.Join(dir, "data")), list)
	path := filepath.Join(dir, "caddy.json")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// command runs a command and returns what it printed.
func command(t *testing.T, cmd *cobra.Command, in string, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	cmd.SetArgs(append([]string{}, args...)) // nil would be those of the test
	cmd.SetIn(strings.NewReader(in))
	cmd.SetOut(&out)
	cmd.SetErr(&bytes.Buffer{})
	err := cmd.ExecuteContext(context.Background())
	return out.String(), err
}

func TestCommandsTakeSeveralTexts(t *testing.T) {
	config := configured(t, "mask mobile $..phone\nencrypt $.id\nencrypt_key "+strings.Repeat("00", 32))
	const in = "{\"phone\":\"13812345678\"}\n\n{\"id\":1, \"phone\":\"1\"}{\"id\":2}\n"
	sealed, err := command(t, redactCommand(), in, "--config", config)
	if err != nil || !strings.HasPrefix(sealed, "{\"phone\":\"138****5678\"}\n\n{\"id\":\"") {
		t.Fatalf("shown %q (%v)", sealed, err)
	}
	opened, err := command(t, decryptCommand(), sealed, "--config", config)
	if want := strings.NewReplacer("13812345678", "138****5678", `:"1"`, `:"*"`).Replace(in); err != nil || opened != want {
		t.Errorf("decrypted %q (%v), want %q", opened, err, want)
	}
	explained, err := command(t, redactCommand(), in, "--config", config, "--explain")
	if want := "1  /phone  mask mobile $..phone\n2  /id     encrypt $.id\n2  /phone  mask mobile $..phone\n3  /id     encrypt $.id\n"; err != nil || explained != want {
		t.Errorf("explained %q (%v)", explained, err)
	}
	for _, args := range [][]string{{}, {"--explain"}} {
		if out, err := command(t, redactCommand(), in+"}", append(args, "--config", config)...); err == nil || out != "" {
			t.Errorf("%v of broken JSON: %q (%v)", args, out, err)
		}
	}
	for _, empty := range []string{"", " \n"} {
		if out, err := command(t, decryptCommand(), empty, "--config", config); err == nil {
			t.Errorf("decrypting %q gave %q", empty, out)
		}
	}
}

func TestCommandShowsWhatACallerSees(t *testing.T) {
	config := configured(t, "remove ssn\nexcept role manager {\n remove salary\n}\nonly scope partner {\n null margin\n}\nrequests {\n remove admin\n}")
	const in = `{"ssn":1,"salary":2,"margin":3,"admin":4}`
	for _, c := range []struct {
		args string
		want string
	}{
		{"", `{"margin":null,"admin":4}`},
		{"--user alice", `{"margin":3,"admin":4}`},
		{"--role clerk --role manager", `{"salary":2,"margin":3,"admin":4}`},
		{"--role manager --scope partner", `{"salary":2,"margin":null,"admin":4}`},
		{"--request", `{"ssn":1,"salary":2,"margin":3}`},
	} {
		got, err := command(t, redactCommand(), in, append([]string{"--config", config}, strings.Fields(c.args)...)...)
		if err != nil || got != c.want {
			t.Errorf("%s: got %q (%v), want %q", c.args, got, err, c.want)
		}
	}
	got, err := command(t, redactCommand(), "data: "+in+"\n\n", "--config", config, "--content-type", "text/event-stream", "--user", "a")
	if err != nil || got != "data: {\"margin\":3,\"admin\":4}\n\n" {
		t.Errorf("events: %q (%v)", got, err)
	}
	for _, c := range []struct{ args, in, want string }{
		{"--request --content-type application/x-www-form-urlencoded", "ADMIN=1&a=2", "a=2"},
		{"--content-type multipart/mixed;boundary=b --user a", "--b\r\n\r\n" + in + "\r\n--b--", "--b\r\n\r\n{\"margin\":3,\"admin\":4}\r\n--b--"},
	} {
		if got, err := command(t, redactCommand(), c.in, append([]string{"--config", config}, strings.Fields(c.args)...)...); err != nil || got != c.want {
			t.Errorf("%s: %q (%v)", c.args, got, err)
		}
	}
	for _, bad := range []string{in + "}", "<ssn>1</ssn>", "\ufeff\ufeff" + in} {
		if got, err := command(t, redactCommand(), bad, "--config", config); err == nil || got != "" {
			t.Errorf("%q: got %q (%v), want an error and nothing", bad, got, err)
		}
	}
	if _, err := command(t, redactCommand(), in, "--config", configured(t, "remove a", "remove b")); err == nil || !strings.Contains(err.Error(), "--number") {
		t.Errorf("two handlers: %v", err)
	}
	got, err = command(t, redactCommand(), `{"a":1,"b":2}`, "--config", configured(t, "remove a", "remove b"), "--number", "2")
	if err != nil || got != `{"a":1}` {
		t.Errorf("number 2: %q (%v)", got, err)
	}
}

func TestCommandExplains(t *testing.T) {
	config := configured(t, `
		remove secret $..list[1]
		null $..off
		mask last4 card $..person
		keep 1 0 name
		truncate 3 text
		detect email replace [e] $..text
		hash $..card
		except role manager {
			remove $..person.salary
		}
	`)
	const in = `{"secret":{"card":"1"},"list":[1,2,{"off":true}],"a/b":{"card":"12345678"},"text":"a@example.com and more",
		"person":{"name":"Bo","tags":["abcdef","****"],"salary":5},"text":"ab"}`
	got, err := command(t, redactCommand(), in, "--config", config, "--explain")
	if err != nil {
		t.Fatal(err)
	}
	const want = `/secret         remove secret
/list/1         remove $..list[1]
/list/2/off     null $..off
/a~1b/card      hash $..card
/text           truncate 3 text
/text           detect email replace [e] $..text
/person/name    mask last4 $..person
/person/tags/0  mask last4 $..person
/person/salary  except role manager: remove $..person.salary
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	got, err = command(t, redactCommand(), `{"person":{"salary":12345}}`, "--config", config, "--explain", "--role", "manager")
	if want := "/person/salary  mask last4 $..person\n"; err != nil || got != want {
		t.Errorf("for a manager: %q (%v), want %q", got, err, want)
	}
}

func TestCommandDecrypts(t *testing.T) {
	config := configured(t, "encrypt $..ssn $..n")
	const in = `{"list":[ {"ssn":"` + secret + `"},{"n":1.50} ] ,"other":"x"}`
	sealed, err := command(t, redactCommand(), in, "--config", config, "--user", "alice")
	if err != nil || strings.Contains(sealed, secret) || strings.Contains(sealed, "1.50") {
		t.Fatalf("got %q (%v)", sealed, err)
	}
	got, err := command(t, decryptCommand(), sealed, "--config", config, "--user", "alice")
	if err != nil || got != in {
		t.Errorf("got %q (%v), want %q", got, err, in)
	}
	if got, err := command(t, decryptCommand(), sealed, "--config", config, "--user", "bob"); err == nil || got != "" {
		t.Errorf("for another caller: %q (%v)", got, err)
	}
	moved := strings.Replace(sealed, `"n"`, `"m"`, 1)
	if got, err := command(t, decryptCommand(), moved, "--config", config, "--user", "alice"); err == nil || got != "" {
		t.Errorf("at another place: %q (%v)", got, err)
	}
	other := configured(t, "encrypt $..ssn")
	if got, err := command(t, decryptCommand(), sealed, "--config", other, "--user", "alice"); err == nil || got != "" {
		t.Errorf("with another key: %q (%v)", got, err)
	}
	var doc struct {
		List []struct {
			SSN string `json:"ssn"`
		} `json:"list"`
	}
	if err := json.Unmarshal([]byte(sealed), &doc); err != nil {
		t.Fatal(err)
	}
	got, err = command(t, decryptCommand(), "", "--config", config, "--user", "alice", "--path", "/list/0/ssn", doc.List[0].SSN)
	if want := `"` + secret + `"` + "\n"; err != nil || got != want {
		t.Errorf("one value: %q (%v), want %q", got, err, want)
	}
}
