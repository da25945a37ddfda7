package guard

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestSignatureIsThatOfTheSpecification has the example of the Standard Webhooks specification.
func TestSignatureIsThatOfTheSpecification(t *testing.T) {
	key, err := base64.StdEncoding.DecodeString("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		t.Fatal(err)
	}
	got := base64.StdEncoding.EncodeToString(signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", []byte(`{"test": 2432232314}`)))
	if want := "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestAlarmsAreSentAgainUntilTheyAreTaken(t *testing.T) {
	type message struct {
		header http.Header
		body   string
	}
	got := make(chan message, 10)
	n := 0
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- message{r.Header, string(body)}
		switch n++; n {
		case 1:
			http.Error(w, "later", http.StatusServiceUnavailable)
		case 2:
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}
	}))
	defer up.Close()
	key := []byte(strings.Repeat("k", 32))
	s := newSender(up.URL, key, []time.Duration{time.Millisecond, time.Millisecond, time.Millisecond})
	go s.run()
	defer s.close()
	alarm := event{"moat_ban", map[string]any{"rule": "guessing", "who": "203.0.113.1"}}
	s.emit(alarm)
	s.emit(alarm) // the same again
	s.emit(event{"moat_ban", map[string]any{"rule": "guessing", "who": "203.0.113.2"}})
	var ids []string
	for range 4 {
		m := <-got
		h := m.header
		ids = append(ids, h.Get("Webhook-Id"))
		if want := "v1," + base64.StdEncoding.EncodeToString(signature(key, h.Get("Webhook-Id"), h.Get("Webhook-Timestamp"), []byte(m.body))); h.Get("Webhook-Signature") != want {
			t.Errorf("signature %s, want %s", h.Get("Webhook-Signature"), want)
		}
		var doc struct {
			Type string
			Data struct{ Rule, Who string }
		}
		if err := json.Unmarshal([]byte(m.body), &doc); err != nil || doc.Type != "guard.ban" || doc.Data.Rule != "guessing" {
			t.Errorf("%s: %v", m.body, err)
		}
	}
	if ids[0] != ids[1] || ids[0] != ids[2] || ids[0] == ids[3] {
		t.Errorf("IDs %v", ids)
	}
}

func TestAlarmsAreNotSentWithoutEnd(t *testing.T) {
	s := newSender("http://localhost", nil, nil)
	at, n := time.Now(), 0
	for i := range 1000 {
		if s.due(event{"moat_alert", map[string]any{"rule": "r", "who": i}}, at) {
			n++
		}
	}
	if n != maxPerMinute || s.omitted != 1000-maxPerMinute {
		t.Errorf("%d sent, %d omitted", n, s.omitted)
	}
	if !s.due(event{"moat_alert", map[string]any{"rule": "r", "who": 0}}, at.Add(time.Minute)) || len(s.told) != 1 {
		t.Errorf("%d are remembered", len(s.told))
	}
}

func TestWebhooksThatCannotBe(t *testing.T) {
	for _, w := range []Webhook{
		{"", "x"}, {"alarms.example.com", "x"}, {"http://alarms.example.com", "x"}, {"ftp://a", "x"}, {"https://a:b@c", "x"}, {"https://a/#b", "x"}, {"https://a", ""},
	} {
		if w.check() == nil {
			t.Errorf("%+v is accepted", w)
		}
	}
	for _, secret := range []string{"secret", "whsec_", "whsec_c2hvcnQ=", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "{env.MOAT_TEST_NO_SUCH_VARIABLE}"} {
		_, err := (&Webhook{"https://a", secret}).key()
		if err == nil || strings.Contains(err.Error(), secret) && !strings.HasPrefix(secret, "{") && secret != "whsec_" && secret != "secret" {
			t.Errorf("%s: %v", secret, err)
		}
	}
}
