#!/usr/bin/env bash
# MCP Go SDK: its server compares Mcp-Name with the body as it is written, and never
# decodes the form that the protocol has for names which are not ASCII.
#
# Versions: github.com/modelcontextprotocol/go-sdk v1.8.0.
#
# Guess: a resource whose URI has other letters than ASCII is read with Mcp-Name in
#   the form =?base64?…?=, which revision 2026-07-28 (SEP-2243) has for values that a
#   header field cannot hold, and a server decodes it before it compares.
# Behaviour: the server answers 400 with -32020, header mismatch. It takes the name
#   as raw UTF-8 in the field, which is also what the SDK's own client sends. The
#   encoded form is decoded for Mcp-Param-* alone.
# Matters: whoever stands between must take both forms and pass on the one that
#   came, and a client that goes by the book cannot read such a resource there.
#
# Output seen:
#   encoded: 400 code -32020
#   raw UTF-8: 200 content
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >main.go <<'GO'
package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

const uri = "file:///订单.md"

func main() {
	s := mcp.NewServer(&mcp.Implementation{Name: "s", Version: "1"}, nil)
	s.AddResource(&mcp.Resource{Name: "orders", URI: uri}, func(context.Context, *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
		return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{{URI: uri, Text: "content"}}}, nil
	})
	srv := httptest.NewServer(mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s }, &mcp.StreamableHTTPOptions{Stateless: true, JSONResponse: true}))
	defer srv.Close()
	for _, c := range [][2]string{{"encoded", "=?base64?" + base64.StdEncoding.EncodeToString([]byte(uri)) + "?="}, {"raw UTF-8", uri}} {
		body := `{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"` + uri + `","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"c","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}}}`
		r, _ := http.NewRequest("POST", srv.URL, strings.NewReader(body))
		for name, value := range map[string]string{
			"Content-Type": "application/json", "Accept": "application/json, text/event-stream",
			"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "resources/read", "Mcp-Name": c[1],
		} {
			r.Header.Set(name, value)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			panic(err)
		}
		var answer struct {
			Error  *struct{ Code int }
			Result struct{ Contents []struct{ Text string } }
		}
		_ = json.NewDecoder(resp.Body).Decode(&answer)
		if answer.Error != nil {
			fmt.Printf("%s: %d code %d\n", c[0], resp.StatusCode, answer.Error.Code)
			continue
		}
		fmt.Printf("%s: %d %s\n", c[0], resp.StatusCode, answer.Result.Contents[0].Text)
	}
}
GO
go mod init finding >/dev/null 2>&1
go get github.com/modelcontextprotocol/go-sdk@v1.8.0 >/dev/null 2>&1
go mod tidy >/dev/null 2>&1
go run . | tee out
diff - out <<'SEEN'
encoded: 400 code -32020
raw UTF-8: 200 content
SEEN
