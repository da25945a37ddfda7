package data

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

// feed runs the binary with standard input and returns its standard output.
func feed(s *harness.Server, in string, args ...string) (string, error) {
	s.T.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), harness.Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.Binary, args...)
	cmd.Dir, cmd.Env, cmd.Stdin = s.WorkDir, s.Env, strings.NewReader(in)
	var out, errors bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errors
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%w: %s", err, &errors)
	}
	return out.String(), nil
}

// TestRedactCommandsAgreeWithTheServer: what `caddy moat redact` shows is what
// the server answers, and `caddy moat decrypt` opens what the server sealed,
// with the keys that the server made.
func TestRedactCommandsAgreeWithTheServer(t *testing.T) {
	s := harness.Start(t, `
http://localhost:{$PORT} {
	redact {
		remove ssn
		hash phone
		encrypt $.id
		except role manager {
			null items
		}
	}
	header Content-Type application/json
	respond `+"`"+order+"`"+`
}
`)
	answered := s.Get("PORT", "/").Body
	config := []string{"--config", s.Config}
	shown, err := feed(s, order, append([]string{"moat", "redact"}, config...)...)
	if err != nil || strings.Contains(shown, hidden) {
		t.Fatalf("got %q (%v)", shown, err)
	}
	// They differ in the nonce of what is encrypted.
	_, want, _ := strings.Cut(answered, `",`)
	if _, got, _ := strings.Cut(shown, `",`); got != want || !strings.Contains(want, `"items":null`) {
		t.Errorf("shown %q, answered %q", shown, answered)
	}
	opened, err := feed(s, answered, append([]string{"moat", "decrypt"}, config...)...)
	if err != nil || !strings.HasPrefix(opened, `{"id":7,`) {
		t.Errorf("decrypted: %q (%v)", opened, err)
	}
	explained, err := feed(s, order, append([]string{"moat", "redact", "--role", "manager", "--explain"}, config...)...)
	if want := "/id           encrypt $.id\n/ssn          remove ssn\n/items/0/ssn  remove ssn\n/phone        hash phone\n"; err != nil || explained != want {
		t.Errorf("explained: %q (%v), want %q", explained, err, want)
	}
	if out, err := feed(s, order+"}", append([]string{"moat", "redact"}, config...)...); err == nil || out != "" {
		t.Errorf("broken JSON: %q (%v)", out, err)
	}
}

// TestRedactedStreamOutlivesReload: a stream goes on under the rules it began
// with.
func TestRedactedStreamOutlivesReload(t *testing.T) {
	gate := make(chan bool)
	up := harness.RawUpstream(t, func(c net.Conn, _ *http.Request) {
		_, _ = io.WriteString(c, head("200 OK", "Content-Type: text/event-stream", framed))
		for range gate {
			_, _ = io.WriteString(c, inChunks("data: "+order+"\n\n"))
		}
		_, _ = io.WriteString(c, inChunks(""))
	})
	site := `
http://localhost:{$PORT} {
	redact {
		remove ssn
		mask mobile phone
	}
	reverse_proxy {env.UPSTREAM} {
		stream_close_delay 1m
	}
}
`
	s := harness.Start(t, site, "UPSTREAM="+up)
	go func() { gate <- true }()
	res, err := http.Get("http://localhost:" + s.Ports["PORT"])
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	want := "data: " + redacted + "\n\n"
	for i := range 4 {
		if i > 0 {
			if err := s.Reload(strings.Replace(site, "remove ssn", fmt.Sprintf("remove other%d", i), 1)); err != nil {
				t.Fatal(err)
			}
			gate <- true
		}
		got := make([]byte, len(want))
		if _, err := io.ReadFull(res.Body, got); err != nil || string(got) != want {
			t.Fatalf("event %d: %q (%v)", i, got, err)
		}
	}
	close(gate)
	if rest, err := io.ReadAll(res.Body); err != nil || len(rest) > 0 {
		t.Errorf("then %q (%v)", rest, err)
	}
}
