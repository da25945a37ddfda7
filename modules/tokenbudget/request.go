package tokenbudget

import (
	"errors"
	"net/http"

	"github.com/caddy-moat/caddy-moat/modules/internal/access/budget"
	"github.com/caddy-moat/caddy-moat/modules/internal/data/usage"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

// maxContent is the largest content in which to look for how many tokens the
// response has at most.
const maxContent = 1 << 20

// bytesPerToken is how many bytes a token of a prompt has, about.
const bytesPerToken = 4

var (
	// askedTokens is where requests say how many tokens a response has at most.
	askedTokens = mustReader(usage.Sum{{
		"/max_completion_tokens", "/max_tokens", "/max_output_tokens", "/generationConfig/maxOutputTokens",
		"/options/num_predict", "/inferenceConfig/maxTokens",
	}})
	// askedChoices is where they say how many responses they want in one.
	askedChoices = mustReader(usage.Sum{{"/n", "/generationConfig/candidateCount"}})
)

func mustReader(sums ...usage.Sum) *usage.Reader {
	r, err := usage.NewReader(sums...)
	if err != nil {
		panic(err)
	}
	r.FoldCase()
	return r
}

// estimate reads what the request tells about its cost.
func (h *Handler) estimate(r *http.Request) (budget.Estimate, error) {
	e := budget.Estimate{Default: h.Reserve}
	text, err := reqctx.ReadContent(r, maxContent)
	length := max(int64(len(text)), r.ContentLength)
	if errors.Is(err, reqctx.ErrTooLarge) {
		length, err = max(length, maxContent), nil
	}
	if err != nil {
		return e, err
	}
	e.Prompt = perBytes(length)
	if r.Header.Get("Content-Encoding") != "" {
		return e, nil // nobody says how
	}
	tokens, certain := most(askedTokens, text)
	choices, sure := most(askedChoices, text)
	if !certain || !sure || tokens == 0 {
		return e, nil
	}
	e.Response = min(tokens, maxTokens) * min(max(choices, 1), 1<<10)
	return e, nil
}

// most returns the largest number at any of the places: nobody but the upstream
// knows which it looks at, whatever their case, and at which of two. It
// reports false if one may be read in another way.
func most(reader *usage.Reader, text []byte) (int64, bool) {
	m := reader.Meter(usage.JSON)
	_, _ = m.Write(text)
	return m.Most()
}
