package identity

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

// TestBotIsKnownByItsDirectory: Web Bot Auth, and a signed GET without content, over
// every version of HTTP.
func TestBotIsKnownByItsDirectory(t *testing.T) {
	bot := harness.NewSender(t, "")
	x := base64.RawURLEncoding.EncodeToString(bot.Key.Public().(ed25519.PublicKey))
	sum := sha256.Sum256([]byte(`{"crv":"Ed25519","kty":"OKP","x":"` + x + `"}`)) // RFC 7638
	bot.ID = base64.RawURLEncoding.EncodeToString(sum[:])
	directory := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/http-message-signatures-directory+json")
		fmt.Fprintf(w, `{"keys":[{"kty":"OKP","crv":"Ed25519","x":"%s","alg":"ed25519"}]}`, x)
	}))
	t.Cleanup(directory.Close)
	harness.OverEachProtocol(t, func(t *testing.T, protocol string) {
		s := harness.StartOver(t, protocol, `:{$PORT} {
	signature_auth {
		directory {$DIRECTORY} {
			user crawler
		}
		components @method @target-uri content-digest
	}
	respond "{http.auth.user.id}"
}`, "DIRECTORY="+directory.URL)
		for agent, want := range map[string]int{directory.URL: http.StatusOK, directory.URL + "/other": http.StatusUnauthorized} {
			a := s.Get("PORT", "/page", append(bot.Sign(harness.Delivery{
				URI:     s.Origin("PORT") + "/page",
				Covered: [][2]string{{`"signature-agent";key="sig1"`, `"` + agent + `"`}},
				Params:  fmt.Sprintf(`;expires=%d;nonce="%d";tag="web-bot-auth";x-more=?0`, time.Now().Add(time.Minute).Unix(), time.Now().UnixNano()),
			}), `Signature-Agent: sig1="`+agent+`"`)...)
			if a.StatusCode != want || want == http.StatusOK && a.Body != "crawler" {
				t.Errorf("%s: got %d %s", agent, a.StatusCode, a.Body)
			}
		}
	})
}
