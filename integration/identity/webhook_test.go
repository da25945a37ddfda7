package identity

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

func webhookMAC(secret, text string) []byte {
	m := hmac.New(sha256.New, []byte(secret))
	m.Write([]byte(text))
	return m.Sum(nil)
}

const (
	githubSecret   = "a secret of a webhook of GitHub"
	stripeSecret   = "whsec_an endpoint of Stripe"
	stripeNext     = "whsec_the next one of Stripe"
	slackSecret    = "8f742231b10e8888abcd99yyyzzz85a5"
	shopifySecret  = "hush, a secret of an app at Shopify"
	standardSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
)

func signGitHub(body string) []string {
	return []string{"X-Hub-Signature-256: sha256=" + hex.EncodeToString(webhookMAC(githubSecret, body))}
}

func signStripe(at time.Time, body string, secrets ...string) []string {
	line := fmt.Sprintf("Stripe-Signature: t=%d", at.Unix())
	for _, s := range secrets {
		line += ",v1=" + hex.EncodeToString(webhookMAC(s, fmt.Sprintf("%d.%s", at.Unix(), body)))
	}
	return []string{line + ",v0=00"}
}

func signSlack(at time.Time, body string) []string {
	return []string{
		fmt.Sprintf("X-Slack-Request-Timestamp: %d", at.Unix()),
		"X-Slack-Signature: v0=" + hex.EncodeToString(webhookMAC(slackSecret, fmt.Sprintf("v0:%d:%s", at.Unix(), body))),
	}
}

func signShopify(body string) []string {
	return []string{"X-Shopify-Hmac-Sha256: " + base64.StdEncoding.EncodeToString(webhookMAC(shopifySecret, body))}
}

func signStandard(t *testing.T, at time.Time, id, body string) []string {
	t.Helper()
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(standardSecret, "whsec_"))
	if err != nil {
		t.Fatal(err)
	}
	sig := base64.StdEncoding.EncodeToString(webhookMAC(string(key), fmt.Sprintf("%s.%d.%s", id, at.Unix(), body)))
	return []string{"webhook-id: " + id, fmt.Sprintf("webhook-timestamp: %d", at.Unix()), "webhook-signature: v1,AAAA v1," + sig}
}

const webhookSiteFile = `
{
	skip_install_trust
}
(site) {
	audit {args[0]}
	webhook_auth {
		github {env.GITHUB} {
			roles ci
		}
		stripe {env.STRIPE} {env.STRIPE_NEXT}
		slack {env.SLACK}
		shopify {env.SHOPIFY}
		standard {env.STANDARD}
		max_body 64KiB
		forward sub X-Sender
	}
	reverse_proxy {env.UPSTREAM}
}
:{$PORT} {
	import site trail
}
https://localhost:{$PORT2} {
	import site trail2
}
`

// TestWebhooksAreVerifiedAsTheirSendersSign drives the binary with what five
// senders send, and with what somebody else would make of it.
func TestWebhooksAreVerifiedAsTheirSendersSign(t *testing.T) {
	var reached atomic.Int64
	var status atomic.Int64
	up := harness.Upstream(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		reached.Add(1)
		if n := status.Load(); n != 0 {
			w.WriteHeader(int(n))
		}
		fmt.Fprintf(w, "%s sent %s", r.Header.Get("X-Sender"), body)
	})
	s := harness.Start(t, webhookSiteFile, "UPSTREAM="+up, "GITHUB="+githubSecret, "STRIPE="+stripeSecret, "STRIPE_NEXT="+stripeNext,
		"SLACK="+slackSecret, "SHOPIFY="+shopifySecret, "STANDARD="+standardSecret)
	time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(time.Second))) // dates from before the start are refused
	now := time.Now()
	join := func(lists ...[]string) (all []string) {
		for _, l := range lists {
			all = append(all, l...)
		}
		return all
	}
	large := strings.Repeat("x", 64<<10+1)
	full := strings.Repeat("y", 64<<10)
	const spaced = "{\"a\" : 1.0,\r\n \"ü\":\"\\u0000\"}\n"
	for _, tc := range []struct {
		name, method, body string
		header             []string
		status             int
		want               string
	}{
		{"GitHub", "POST", spaced, append(signGitHub(spaced), "X-Sender: root"), 200, "github sent " + spaced},
		{"GitHub, replayed", "POST", spaced, signGitHub(spaced), 401, "webhook_replayed"},
		{"Stripe", "POST", "s1", signStripe(now, "s1", stripeSecret), 200, "stripe sent s1"},
		{"Stripe with two secrets", "POST", "s2", signStripe(now, "s2", stripeSecret, stripeNext), 200, "stripe sent s2"},
		{"Stripe, one left out", "POST", "s2", signStripe(now, "s2", stripeNext), 401, "webhook_replayed"},
		{"Slack", "POST", "k1", signSlack(now, "k1"), 200, "slack sent k1"},
		{"Slack, replayed", "POST", "k1", signSlack(now, "k1"), 401, "webhook_replayed"},
		{"Shopify", "POST", "p1", signShopify("p1"), 200, "shopify sent p1"},
		{"Shopify, replayed", "POST", "p1", signShopify("p1"), 401, "webhook_replayed"},
		{"Standard Webhooks", "POST", "m1", signStandard(t, now, "msg_1", "m1"), 200, "standard sent m1"},
		{"Standard Webhooks, replayed", "POST", "m1", signStandard(t, now, "msg_1", "m1"), 401, "webhook_replayed"},
		{"as large as it may be", "POST", full, signGitHub(full), 200, "github sent " + full},
		{"larger", "POST", large, signGitHub(large), 413, "webhook_too_large"},
		{"nothing", "POST", "x", nil, 401, "missing_credentials"},
		{"a changed byte", "POST", "Y", signGitHub("X"), 401, "invalid_webhook_signature"},
		{"a byte more", "POST", "X ", signGitHub("X"), 401, "invalid_webhook_signature"},
		{"no body", "POST", "", signGitHub("X"), 401, "invalid_webhook_signature"},
		{"another method", "PUT", "X", signGitHub("X"), 401, "invalid_webhook_signature"},
		{"another secret", "POST", "X", signStripe(now, "X", "whsec_of another endpoint"), 401, "invalid_webhook_signature"},
		{"old", "POST", "X", signStripe(now.Add(-6*time.Minute), "X", stripeSecret), 401, "invalid_webhook_signature"},
		{"future", "POST", "X", signSlack(now.Add(6*time.Minute), "X"), 401, "invalid_webhook_signature"},
		{"the time changed", "POST", "X", []string{fmt.Sprintf("X-Slack-Request-Timestamp: %d", now.Unix()+1), signSlack(now, "X")[1]}, 401, "invalid_webhook_signature"},
		{"two signatures", "POST", "X", join(signGitHub("X"), signGitHub("X")), 400, "invalid_request"},
		{"two senders", "POST", "X", join(signGitHub("X"), signShopify("X")), 400, "invalid_request"},
		{"GitHub's as Shopify's", "POST", "X", []string{"X-Shopify-Hmac-Sha256: " + base64.StdEncoding.EncodeToString(webhookMAC(githubSecret, "X"))}, 401, "invalid_webhook_signature"},
		{"an id with a full stop", "POST", "X", signStandard(t, now, "msg.1", "X"), 400, "invalid_request"},
	} {
		before := reached.Load()
		a := s.Do("PORT", tc.method, "/hooks", tc.body, tc.header...)
		if a.StatusCode != tc.status || !strings.Contains(a.Body, tc.want) {
			t.Errorf("%s: got %d %.200s, want %d %.200s", tc.name, a.StatusCode, a.Body, tc.status, tc.want)
		}
		if served := reached.Load() > before; served != (tc.status == 200) {
			t.Errorf("%s: the upstream was reached: %v", tc.name, served)
		}
		if challenge := a.Header.Get("WWW-Authenticate"); (tc.status == 401 || tc.status == 400) != strings.HasPrefix(challenge, "Webhook realm=") {
			t.Errorf("%s: challenge %q", tc.name, challenge)
		}
	}

	// A webhook that failed is sent again with the same signature.
	status.Store(502)
	if a := s.Do("PORT", "POST", "/hooks", "again", signShopify("again")...); a.StatusCode != 502 {
		t.Errorf("a failing upstream: got %d", a.StatusCode)
	}
	status.Store(0)
	if a := s.Do("PORT", "POST", "/hooks", "again", signShopify("again")...); a.StatusCode != 200 {
		t.Errorf("sent again: got %d %s", a.StatusCode, a.Body)
	}
	if a := s.Do("PORT", "POST", "/hooks", "again", signShopify("again")...); a.StatusCode != 401 {
		t.Errorf("sent a third time: got %d", a.StatusCode)
	}

	// In chunks, and over HTTP/2 and HTTP/3 with and without a length.
	chunks := "POST /hooks HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n" + strings.Join(signGitHub("chunked"), "\r\n") + "\r\n\r\n"
	if a := harness.Raw(t, s.Addr("PORT"), chunks+"3\r\nchu\r\n4\r\nnked\r\n0\r\n\r\n"); a.StatusCode != 200 || a.Body != "github sent chunked" {
		t.Errorf("in chunks: got %d %s", a.StatusCode, a.Body)
	}
	if a := harness.Raw(t, s.Addr("PORT"), chunks+"3\r\nchu\r\n4\r\nnkeD\r\n0\r\n\r\n"); a.StatusCode != 401 {
		t.Errorf("changed, in chunks: got %d %s", a.StatusCode, a.Body)
	}
	s.Ready("PORT2", "localhost")
	for _, protocol := range harness.Protocols[1:] {
		c := s.ClientOver(protocol, nil, "")
		over := func(body io.Reader, header []string) (int, string) {
			t.Helper()
			a := s.SendBody(c, "PORT2", "POST", "/hooks", body, header...)
			if !strings.HasPrefix(a.Proto, protocol) {
				t.Errorf("the request went by %s", a.Proto)
			}
			return a.StatusCode, a.Body
		}
		for how, body := range map[string]func(string) io.Reader{
			"with a length":    func(b string) io.Reader { return strings.NewReader(b) },
			"without a length": func(b string) io.Reader { return io.MultiReader(strings.NewReader(b)) },
		} {
			name := protocol + " " + how
			if status, text := over(body(name), signGitHub(name)); status != 200 || text != "github sent "+name {
				t.Errorf("over %s: got %d %s", name, status, text)
			}
			if status, _ := over(body(name+"!"), signGitHub(name)); status != 401 {
				t.Errorf("over %s, changed: got %d", name, status)
			}
			if status, _ := over(body(large), signGitHub(large)); status != 413 {
				t.Errorf("over %s, too large: got %d", name, status)
			}
			if status, _ := over(body(""), signGitHub("X")); status != 401 {
				t.Errorf("over %s, without content: got %d", name, status)
			}
		}
		if status, text := over(strings.NewReader("p1"), signShopify("p1")); status != 401 || !strings.Contains(text, "webhook_replayed") {
			t.Errorf("replayed at another site over %s: got %d %s", protocol, status, text)
		}
	}

	// A reload forgets nothing.
	if err := s.Reload(webhookSiteFile + "# changed\n"); err != nil {
		t.Fatal(err)
	}
	if a := s.Do("PORT", "POST", "/hooks", spaced, signGitHub(spaced)...); a.StatusCode != 401 || a.Code() != "webhook_replayed" {
		t.Errorf("replayed after a reload: got %d %s", a.StatusCode, a.Body)
	}
	harness.Eventually(t, func() error { // records are written in batches
		out := s.Output("moat", "audit", "search", "--status", "200", "trail")
		for _, want := range []string{`"kind":"webhook"`, `"id":"stripe"`, `"layer":"webhook_auth"`} {
			if !strings.Contains(out, want) {
				return fmt.Errorf("the record does not have %s: %s", want, out)
			}
		}
		return nil
	})
	for _, secret := range []string{githubSecret, stripeSecret, slackSecret, shopifySecret, standardSecret} {
		if strings.Contains(s.Log.String(), secret) {
			t.Error("a secret stands in the log")
		}
	}
}
