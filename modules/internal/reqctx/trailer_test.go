package reqctx

import (
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// late is a body at whose end the trailer section becomes known.
type late struct {
	io.Reader
	trailer http.Header
	fields  []string
}

func (l *late) Read(p []byte) (int, error) {
	n, err := l.Reader.Read(p)
	if err == io.EOF {
		for _, name := range l.fields {
			l.trailer[name] = []string{"x"}
		}
	}
	return n, err
}

func (*late) Close() error { return nil }

// TestFieldsThatWereDecidedOnAreNoTrailers has fields that were announced, and
// others that were not.
func TestFieldsThatWereDecidedOnAreNoTrailers(t *testing.T) {
	trailer := http.Header{"X-Sum": nil, "Authorization": nil, "X-Tenant": nil}
	r := &http.Request{Header: http.Header{"X-Tenant": {"a"}}, Trailer: trailer}
	r.Body = &late{strings.NewReader("content"), trailer, []string{
		"X-Sum", "Authorization", "X-Tenant", "X_tenant", "x.tenant", "Cookie", "X-Role", "X-Http_Method-Override", "Host", "X-Forwarded-For", "X-Api-Key", "Grpc-Status",
	}}
	DropTrailers(r, func(name string) bool { return name == "X-Role" })
	if got := slices.Sorted(maps.Keys(r.Trailer)); !slices.Equal(got, []string{"X-Sum"}) {
		t.Errorf("announced: %v", got)
	}
	if text, err := io.ReadAll(r.Body); string(text) != "content" || err != nil {
		t.Fatalf("%q, %v", text, err)
	}
	if got := slices.Sorted(maps.Keys(r.Trailer)); !slices.Equal(got, []string{"Grpc-Status", "X-Sum"}) {
		t.Errorf("sent: %v", got)
	}
}
