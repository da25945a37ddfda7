package access

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

const responsesDocument = `openapi: 3.0.3
info: { title: Users, version: "1" }
paths:
  /users/{kind}:
    get:
      operationId: read
      parameters: [{ name: kind, in: path, required: true, schema: { type: string } }]
      responses:
        "200":
          description: a user
          headers: { X-Rate: { required: true, schema: { type: integer } } }
          content:
            application/json:
              schema:
                type: object
                required: [id, password]
                properties:
                  id: { type: integer }
                  name: { type: string, nullable: true }
                  password: { type: string, writeOnly: true }
        "204": { description: nobody }
        "404": { description: not there, content: { application/json: {} } }
`

// answering is a site whose upstream sends what the last segment of the path says.
func answering(t *testing.T, action, more string) *harness.Server {
	t.Helper()
	back := harness.Upstream(t, func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Type", "application/json")
		h.Set("X-Rate", "5")
		h.Set("Set-Cookie", "session=s3cr3t")
		kind := r.URL.Path[len("/users/"):]
		switch kind {
		case "header":
			h.Set("X-Rate", "many")
		case "text":
			h.Set("Content-Type", "text/plain")
		case "teapot":
			w.WriteHeader(http.StatusTeapot)
		case "missing":
			w.WriteHeader(http.StatusNotFound)
		case "none":
			h.Del("Content-Type")
			w.WriteHeader(http.StatusNoContent)
			return
		case "same":
			w.WriteHeader(http.StatusNotModified)
			return
		}
		body, known := map[string]string{
			"good": `{ "id": 1, "name": null }`, "leak": `{"id":1,"password":"s3cr3t"}`, "extra": `{"id":1,"internal":"s3cr3t"}`, "type": `{"id":"s3cr3t"}`,
			"twice": `{"id":1,"id":2}`, "broken": `{"id":1`, "large": `{"id":1,"name":"` + strings.Repeat("x", 3000) + `"}`, "empty": "",
		}[kind]
		if !known {
			body = `{"id":1}`
		}
		fmt.Fprint(w, body)
	})
	s := harness.Prepare(t, `http://:{$PORT} {
	audit trail {
		sync always
	}
	encode gzip
	validate openapi.yaml
	validate_responses `+action+` {
		max_body 2KiB
	}`+more+`
	reverse_proxy `+back+`
}`)
	s.WriteFile("openapi.yaml", responsesDocument)
	s.Run()
	s.Wait()
	return s
}

// wrong are the kinds of responses that are not as documented, with a fault of each.
var wrong = map[string]string{
	"leak": "body writeOnly", "extra": "body unknown_member", "type": "body type", "twice": "body duplicate_member", "broken": "body syntax",
	"header": "header type", "text": "header contentType", "teapot": "status undocumented_status", "empty": "body syntax",
}

func TestBlockedResponsesDoNotLeave(t *testing.T) {
	s := answering(t, "block", "")
	s.Get("PORT", "/users/good").Want(t, 200, `{ "id": 1, "name": null }`)
	s.Get("PORT", "/users/missing").Want(t, 404)
	s.Get("PORT", "/users/none").Want(t, 204)
	s.Get("PORT", "/users/same").Want(t, 304)
	s.Do("PORT", "HEAD", "/users/good", "").Want(t, 200)
	for kind := range wrong {
		got := s.Get("PORT", "/users/"+kind)
		if got.StatusCode != 502 || got.Code() != "invalid_response" || strings.Contains(got.Body, "s3cr3t") || got.Header.Get("Set-Cookie") != "" {
			t.Errorf("%s: got %d %v %s", kind, got.StatusCode, got.Header, got.Body)
		}
	}
	if got := s.Get("PORT", "/users/large"); got.StatusCode != 502 {
		t.Errorf("large: got %d", got.StatusCode)
	}
	if strings.Contains(s.Log.String(), "s3cr3t") || strings.Contains(s.TrailText("trail"), "s3cr3t") {
		t.Error("what was blocked is in the log or the record")
	}
}

func TestReportedResponsesPassAndAreOnRecord(t *testing.T) {
	s := answering(t, "report", "")
	s.Get("PORT", "/users/good").Want(t, 200, `{ "id": 1, "name": null }`)
	s.Get("PORT", "/users/large").Want(t, 200, "xxx")
	for kind, fault := range wrong {
		got := s.Get("PORT", "/users/"+kind)
		if got.StatusCode == 502 {
			t.Errorf("%s: got %d", kind, got.StatusCode)
		}
		harness.Eventually(t, func() error {
			for line := range strings.SplitSeq(s.Log.String(), "\n") {
				if strings.Contains(line, "the response is not as documented") && strings.Contains(line, fault) {
					return nil
				}
			}
			return fmt.Errorf("%s: no line with %s", kind, fault)
		})
	}
	found := s.RecordOf("trail", "/users/extra")
	if last := found.Decisions[len(found.Decisions)-1]; last.Layer != "validate_responses" || last.Result != "skip" || last.Rule != "report: invalid_response at read" {
		t.Errorf("recorded as %+v", found.Decisions)
	}
}

func TestResponsesAreCheckedBeforeTheyAreRedacted(t *testing.T) {
	s := answering(t, "block", "\n\tredact {\n\t\tremove id\n\t}")
	s.Get("PORT", "/users/good").Want(t, 200, `"name": null`)
	s.Get("PORT", "/users/good", "Accept-Encoding: gzip").Want(t, 200)
}

func TestResponsesWithoutContractAreRefused(t *testing.T) {
	if log := harness.FailsToLoad(t, "http://:{$PORT} {\n\tvalidate_responses\n\trespond ok\n}"); !strings.Contains(log, "no validate stands before this validate_responses") {
		t.Error(log)
	}
}
