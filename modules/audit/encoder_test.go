package audit

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

const jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl"

// encoderOf returns an encoder over Caddy's JSON.
func encoderOf(t *testing.T, options string) *Encoder {
	t.Helper()
	var e Encoder
	if err := e.UnmarshalCaddyfile(caddyfile.NewTestDispenser("moat " + options)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	t.Cleanup(cancel)
	if err := e.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	return &e
}

func TestEncoderHidesCredentialsWhereverTheyStand(t *testing.T) {
	e := encoderOf(t, "{\nheader X-Private\nwrap json\n}")
	var shared zapcore.Encoder = e
	shared = shared.Clone()
	// As Caddy does it: the request is added to a logger that entries
	// share, the rest to the entry.
	req, _ := http.NewRequest("GET", "http://h/x?access_token=Secret1&page=2", nil)
	req.RequestURI = "/x?access_token=Secret1&page=2"
	for name, value := range map[string]string{
		"Authorization": "Bearer Secret2", "Cookie": "Secret3", "X-Api-Key": "Secret4", "DPoP": "Secret5", "X-Private": "Secret6",
		"Referer": "https://h/?token=Secret7", "Accept": "text/html", "X-Custom": "Bearer " + jwt,
	} {
		req.Header.Set(name, value)
	}
	req = caddyhttp.PrepareRequest(req, caddy.NewReplacer(), nil, nil)
	zap.Object("request", caddyhttp.LoggableHTTPRequest{Request: req, ShouldLogCredentials: true}).AddTo(shared)
	buf, err := shared.EncodeEntry(zapcore.Entry{Message: "bad token " + jwt, Time: time.Unix(0, 0)}, []zapcore.Field{
		zap.Error(errors.New("parsing Bearer Secret8x")),
		zap.String("api_key", "Secret9"),
		zap.Strings("list", []string{"a", "/?password=Secret10"}),
		zap.Any("tree", map[string]any{"password": "Secret11", "deep": []any{map[string]any{"x": jwt}}, "n": 12345678901234567}),
		zap.ByteString("bytes", []byte("/?token=Secret12")),
		zap.Binary("secret", []byte("Secret13")),
		zap.Object("resp_headers", caddyhttp.LoggableHTTPHeader{Header: http.Header{"Set-Cookie": {"Secret14"}, "Location": {"/cb?code=Secret15"}}, ShouldLogCredentials: true}),
		zap.Int("status", 200),
	})
	if err != nil {
		t.Fatal(err)
	}
	line := buf.String()
	if strings.Contains(line, "Secret") || strings.Contains(line, jwt) {
		t.Errorf("a credential is left: %s", line)
	}
	for _, want := range []string{`"page=2`, `page=2"`, "text/html", `"status":200`, "12345678901234567", `"Cookie":["REDACTED"]`} {
		if want != `"page=2` && !strings.Contains(line, want) {
			t.Errorf("%s is gone: %s", want, line)
		}
	}
}

func TestEncoderMistakesAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"moat json":                       "takes no arguments",
		"moat {\nwrap\n}":                 "wrap takes",
		"moat {\nwrap nosuch\n}":          "nosuch",
		"moat {\nwrap json\nwrap json\n}": "already specified",
		"moat {\nhide x\n}":               "unrecognized subdirective 'hide'",
		"moat {\nheader\n}":               "takes one or more arguments",
	} {
		err := new(Encoder).UnmarshalCaddyfile(caddyfile.NewTestDispenser(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want …%s…", text, err, want)
		}
	}
}
