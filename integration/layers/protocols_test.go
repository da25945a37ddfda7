package layers

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

// TestRequestsWithoutContentOverEachProtocol: quic-go gives a request without
// content the length -1.
func TestRequestsWithoutContentOverEachProtocol(t *testing.T) {
	harness.OverEachProtocol(t, func(t *testing.T, protocol string) {
		s := harness.StartOver(t, protocol, `:{$PORT} {
	jwt_auth {
		key HS256 {env.SECRET}
		preflight
	}
	respond "served"
}`, "SECRET="+strings.Repeat("s", 32))
		preflight := []string{"Origin: https://app.example", "Access-Control-Request-Method: PUT"}
		if a := s.Do("PORT", "OPTIONS", "/", "", preflight...); a.StatusCode != http.StatusOK {
			t.Errorf("a preflight: got %d %s", a.StatusCode, a.Body)
		}
		if a := s.Do("PORT", "OPTIONS", "/", "content", preflight...); a.StatusCode != http.StatusUnauthorized {
			t.Errorf("a preflight with content: got %d %s", a.StatusCode, a.Body)
		}
		if a := s.Get("PORT", "/"); a.StatusCode != http.StatusUnauthorized {
			t.Errorf("got %d %s", a.StatusCode, a.Body)
		}
	})
}

// early sends a request in TLS early data and returns the answer. It returns
// an error if the server did not accept the early data.
func early(ctx context.Context, s *harness.Server, config *tls.Config, r *http.Request) (*http.Response, error) {
	conn, err := quic.DialAddrEarly(ctx, s.Addr("PORT"), config, &quic.Config{Allow0RTT: true})
	if err != nil {
		return nil, err
	}
	s.T.Cleanup(func() { _ = conn.CloseWithError(0, "") })
	stream, err := new(http3.Transport).NewClientConn(conn).OpenRequestStream(ctx)
	if err != nil {
		return nil, err
	}
	// The methods of Transport wait for the handshake where they are not safe.
	if err := stream.SendRequestHeader(r); err != nil {
		return nil, err
	}
	if err := stream.Close(); err != nil {
		return nil, err
	}
	resp, err := stream.ReadResponse()
	if err == nil && !conn.ConnectionState().Used0RTT {
		err = errors.New("no early data was used")
	}
	return resp, err
}

// TestEarlyDataIsNotActedOn sends requests in 0-RTT, which the network can send
// once more and from any address.
func TestEarlyDataIsNotActedOn(t *testing.T) {
	const site = `
https://localhost:{$PORT} {
	tls internal
	audit trail
	LIMIT
	jwt_auth {
		key HS256 {env.SECRET}
		audience *
		optional
	}
	rbac {
		authenticated {
			allow GET,POST /pay
		}
		anyone {
			allow GET,POST /open
			allow GET /lan when ` + "`in_cidr(client_ip, \"127.0.0.0/8\")`" + `
		}
	}
	respond "served"
}`
	secret := strings.Repeat("s", 32)
	bearer := "Bearer " + harness.HS256(t, secret, map[string]any{"sub": "alice", "aud": "a", "exp": time.Now().Add(time.Hour).Unix()})
	for name, test := range map[string]struct {
		limit string
		want  map[string]int
	}{
		"without a flood limit": {"", map[string]int{
			"GET /open": 200, "GET /open Authorization": 425, "GET /open Cookie": 425, "POST /open": 425, "POST /pay Authorization": 425,
			"GET /pay Authorization": 425, "GET /lan": 425, "GET /pay": 401,
		}},
		"behind one": {"flood_limit {\nzone a {\nkey {client_ip}\nevents 100\nwindow 1m\n}\n}", map[string]int{"GET /open": 425}},
	} {
		t.Run(name, func(t *testing.T) {
			s := harness.Start(t, "{\nskip_install_trust\nauto_https disable_redirects\n}\n"+strings.Replace(site, "LIMIT", test.limit, 1), "SECRET="+secret)
			s.Ready("PORT", "localhost")
			config := s.TLS()
			config.NextProtos, config.ClientSessionCache = []string{"h3"}, tls.NewLRUClientSessionCache(100)
			// The first connection gets the session that the others resume.
			first := &http3.Transport{TLSClientConfig: config}
			t.Cleanup(func() { first.Close() })
			for request, want := range test.want {
				resp, err := (&http.Client{Transport: first, Timeout: harness.Patience}).Get("https://localhost:" + s.Ports["PORT"] + "/open")
				if err != nil || resp.StatusCode != http.StatusOK {
					t.Fatalf("%v %v", resp, err)
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				parts := strings.Fields(request)
				harness.Eventually(t, func() error {
					ctx, cancel := context.WithTimeout(t.Context(), harness.Patience)
					defer cancel()
					r, err := http.NewRequestWithContext(ctx, parts[0], "https://localhost:"+s.Ports["PORT"]+parts[1], http.NoBody)
					if err != nil {
						t.Fatal(err)
					}
					switch {
					case len(parts) < 3:
					case parts[2] == "Cookie":
						r.Header.Set("Cookie", "a=b")
					default:
						r.Header.Set("Authorization", bearer)
					}
					resp, err := early(ctx, s, config, r)
					if err != nil {
						return err
					}
					body, _ := io.ReadAll(resp.Body)
					if resp.StatusCode != want || want == 425 && !strings.Contains(string(body), `"code":"too_early"`) {
						// On a fast network the handshake may be complete before the
						// server looks at the request: it then is no early data.
						return fmt.Errorf("%s: got %d %s, want %d", request, resp.StatusCode, body, want)
					}
					return nil
				})
			}
			harness.Eventually(t, func() error {
				out, err := s.Caddy("moat", "audit", "search", "trail")
				if err != nil || !strings.Contains(out, `"early_data":true`) || !strings.Contains(out, `"code":"too_early"`) {
					return errors.New("the trail does not say early data: " + out)
				}
				return nil
			})
		})
	}
	t.Run("that a gateway tells of", func(t *testing.T) {
		s := harness.Start(t, strings.Replace(strings.Replace(site, "LIMIT", "", 1), "https://localhost:{$PORT} {\n\ttls internal", ":{$PORT} {", 1), "SECRET="+secret)
		for request, want := range map[string]int{"GET /open": 200, "POST /open": 425, "GET /pay": 425} {
			method, path, _ := strings.Cut(request, " ")
			header := []string{"Early-Data: 1"}
			if path == "/pay" {
				header = append(header, "Authorization: "+bearer)
			}
			if a := s.Do("PORT", method, path, "", header...); a.StatusCode != want || want == 425 && a.Code() != "too_early" {
				t.Errorf("%s: got %d %s", request, a.StatusCode, a.Body)
			}
		}
	})
}
