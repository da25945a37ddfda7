package redact

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"
)

// What looks like JSON is a document whatever its label; a part of one is
// refused, and so is one that only says to be a part.
func TestJSONThatIsCalledAPartIsRefused(t *testing.T) {
	body := `{"ssn":"` + secret + `"}`
	for _, options := range []string{"remove ssn\npass text/html", "remove ssn\nunreadable pass"} {
		h := provision(t, options)
		for _, label := range []string{"image/png", "video/mp4", "text/html", "text/plain"} {
			t.Run(label, func(t *testing.T) {
				for _, coded := range []string{"", "Content-Encoding: identity\r\n"} {
					answer := fmt.Sprintf("HTTP/1.1 206 Partial Content\r\nConnection: close\r\nContent-Type: %s\r\n%sContent-Range: bytes 0-%d/%d\r\nContent-Length: %d\r\n\r\n%s",
						label, coded, len(body)-1, len(body), len(body), body)
					serve(t, h, raw(t, answer)).get().refused(t, 502, "unreadable_response")
				}
			})
		}
	}
}

// A hash of the original in a 103 would let the values be found by trying.
func TestEarlyHintsSayNothingOfTheOriginal(t *testing.T) {
	for _, option := range []string{"", "\netag seal"} {
		h := provision(t, "remove ssn"+option)
		s := serve(t, h, proxy(t, upstream(t, func(c net.Conn, _ *http.Request) {
			_, _ = io.WriteString(c, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nETag: \""+secret+"\"\r\nRepr-Digest: sha-256=:"+secret+":\r\nContent-Length: 7\r\n\r\n"+
				"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{\"ssn\":1}")
		})))
		var got textproto.MIMEHeader
		r, err := http.NewRequest(http.MethodGet, s.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		r = r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
			Got1xxResponse: func(_ int, h textproto.MIMEHeader) error { got = h; return nil },
		}))
		res, err := s.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(bufio.NewReader(res.Body))
		res.Body.Close()
		if got.Get("Link") != "</a>" || strings.Contains(fmt.Sprint(got), secret) || got.Get("Content-Length") != "" || string(body) != "{}" {
			t.Errorf("%q: %v, then %s", option, got, body)
		}
	}
}
