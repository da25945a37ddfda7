package examples

import (
	"strings"
	"testing"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

func TestExampleLLMGateway(t *testing.T) {
	k, trial := harness.NewKeyStore(t, "--scope", "models:use", "--plan", "trial")
	full := k.Mint("--owner", "umbrella", "--scope", "models:use")
	s := startExample(t, "llm-gateway", harness.KeyPepper, "KEYS="+k.File)
	c := s.Client()
	chat := func(key, prompt string) *harness.Response {
		return s.SendBody(c, "PORT", "POST", "/v1/chat/completions",
			strings.NewReader(`{"model":"parrot","messages":[{"role":"user","content":"`+prompt+`"}]}`),
			harness.Bearer(key), "Content-Type: application/json")
	}
	s.Send(c, "POST", "/v1/chat/completions").Want(t, 401, "missing_credentials")
	s.Send(c, "GET", "/v1/files", harness.Bearer(trial)).Want(t, 403)
	s.Send(c, "GET", "/v1/models", harness.Bearer(trial)).Want(t, 200, "parrot")
	for range 3 {
		chat(trial, "hello").Want(t, 200, "parrot", `"total_tokens":25`)
	}
	a := chat(trial, "hello")
	if a.Want(t, 429, "token_budget_exceeded", "60 per day"); a.Header.Get("Retry-After") == "" {
		t.Error("the response does not say when to try again")
	}
	s.Send(c, "GET", "/v1/models", harness.Bearer(trial)).Want(t, 200)
	a = chat(full, "my card is 4111 1111 1111 1111")
	a.Want(t, 200, `"my card is 4111 1111 1111 1111"`)
	if saw := a.Header.Get("X-Model-Saw"); strings.Contains(saw, "4111") || !strings.Contains(saw, "my card is <PAN_1_") {
		t.Errorf("the model has seen %s", saw)
	}

	// A restart forgets nothing, and no prompt is in the trail.
	s.Stop()
	s.Run()
	s.Wait()
	s.Ready("PORT", "localhost")
	c = s.Client()
	chat(trial, "hello").Want(t, 429, "token_budget_exceeded")
	chat(full, "hello").Want(t, 200)
	s.Stop()
	harness.GrepTree(t, s.Path("llm-gateway.audit"), "hello", "parrot", "4111 1111")
	if n := harness.CountRecords(t, s.Path("llm-gateway.audit"), "token_budget_exceeded", "60 per day"); n == 0 {
		t.Error("the trail does not say which limit was exceeded")
	}
}
