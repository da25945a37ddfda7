package export

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/record"
)

func samples() map[string]*record.Record {
	at := time.Date(2026, 11, 22, 10, 0, 0, 123456000, time.UTC)
	return map[string]*record.Record{
		"refused": {
			Kind: record.Outcome, Time: at, ID: "id-1", Trace: "4bf92f3577b34da6a3ce929d0e0e4736", Site: "api.example.com", Host: "api.example.com:8443", Proto: "HTTP/2.0",
			Method: "DELETE", Path: "/orders/1", Query: "a=1", Client: "192.0.2.7", Peer: "192.0.2.7:40000", TLS: "1.3", User: record.User{ID: "alice", Issuer: "https://id", Kind: "jwt", Key: "k1", Token: "t1"},
			Roles: []string{"clerk"}, Decisions: []record.Decision{{Layer: "rbac", Result: "deny", Rule: "role clerk: deny DELETE /orders/*", Code: "forbidden"}},
			Status: 403, Code: "forbidden", Sent: 99, Received: 7, Micros: 1500,
		},
		"change": {Kind: record.Change, Time: at, Layer: "rbac", What: "policy loaded", Source: "/etc/p.yaml", Old: "a", New: "b", Detail: "+ x\n- y", By: "root"},
	}
}

const (
	ocsfGolden = `{"category_uid":6,"category_name":"Application Activity","class_uid":6003,"class_name":"API Activity","activity_id":4,"activity_name":"Delete","type_uid":600304,"time":1795341600123,"message":"DELETE /orders/1 refused by rbac with 403","severity_id":2,"severity":"Low","status_id":2,"status":"Failure","status_code":"403","status_detail":"forbidden","duration":1,` +
		`"metadata":{"version":"1.3.0","uid":"5","correlation_uid":"id-1","log_name":"trail","sequence":5,"product":{"name":"caddy-moat","vendor_name":"caddy-moat"},"profiles":["security_control"]},` +
		`"actor":{"user":{"name":"alice","uid":"alice","groups":[{"name":"clerk"}]},"session":{"uid":"t1","issuer":"https://id","credential_uid":"k1"}},` +
		`"api":{"operation":"DELETE /orders/1","service":{"name":"api.example.com"},"request":{"uid":"id-1"},"response":{"code":403,"error":"forbidden"}},"src_endpoint":{"ip":"192.0.2.7","port":40000},` +
		`"http_request":{"http_method":"DELETE","version":"2.0","uid":"id-1","length":7,"url":{"hostname":"api.example.com","port":8443,"path":"/orders/1","query_string":"a=1","scheme":"https"}},"http_response":{"code":403,"length":99,"latency":1},` +
		`"action_id":2,"action":"Denied","disposition_id":2,"disposition":"Blocked","firewall_rule":{"name":"role clerk: deny DELETE /orders/*","category":"rbac"},"unmapped":{"kind":"outcome","trace":"4bf92f3577b34da6a3ce929d0e0e4736","tls":"1.3","credential":"jwt"}}`
	ecsGolden = `{"@timestamp":"2026-11-22T10:00:00.123456Z","message":"DELETE /orders/1 refused by rbac with 403","ecs":{"version":"8.17.0"},"event":{"kind":"event","module":"caddy-moat","dataset":"moat.audit","provider":"trail","sequence":5,"id":"id-1","action":"DELETE /orders/1","category":["api","web"],"reason":"role clerk: deny DELETE /orders/*","type":["access","denied"],"outcome":"failure","duration":1500000},` +
		`"service":{"name":"api.example.com"},"trace":{"id":"4bf92f3577b34da6a3ce929d0e0e4736"},"client":{"ip":"192.0.2.7","address":"192.0.2.7"},"source":{"ip":"192.0.2.7","address":"192.0.2.7","port":40000},"user":{"id":"alice","name":"alice","domain":"https://id","roles":["clerk"]},` +
		`"url":{"domain":"api.example.com","port":8443,"path":"/orders/1","query":"a=1","scheme":"https"},"http":{"version":"2.0","request":{"method":"DELETE","id":"id-1","body":{"bytes":7}},"response":{"status_code":403,"body":{"bytes":99}}},"tls":{"version":"1.3","version_protocol":"tls"},` +
		`"rule":{"name":"role clerk: deny DELETE /orders/*","category":"rbac","ruleset":"caddy-moat"},"error":{"code":"forbidden"},"moat":{"kind":"outcome","trace":"4bf92f3577b34da6a3ce929d0e0e4736","tls":"1.3","credential":"jwt","decisions":[{"layer":"rbac","result":"deny","rule":"role clerk: deny DELETE /orders/*","code":"forbidden"}]}}`
	cefGolden = `CEF:0|caddy-moat|caddy-moat|1|refused:rbac|DELETE /orders/1 refused by rbac with 403|5|rt=1795341600123 externalId=5 deviceExternalId=trail src=192.0.2.7 spt=40000 dhost=api.example.com dpt=8443 suser=alice spriv=clerk flexString1Label=issuer flexString1=https://id requestMethod=DELETE request=/orders/1?a\=1 app=HTTP/2.0 cn1Label=status cn1=403 in=7 out=99 outcome=failure act=deny cs1Label=layer cs1=rbac cs2Label=rule cs2=role clerk: deny DELETE /orders/* reason=forbidden cs3Label=requestId cs3=id-1 cs4Label=trace cs4=4bf92f3577b34da6a3ce929d0e0e4736 cs5Label=site cs5=api.example.com`
	cefChange = `CEF:0|caddy-moat|caddy-moat|1|change|rbac: policy loaded|4|rt=1795341600123 externalId=5 deviceExternalId=trail fname=/etc/p.yaml cs6Label=detail cs6=+ x\n- y`
)

func TestGolden(t *testing.T) {
	for _, c := range []struct{ format, sample, want string }{
		{"ocsf", "refused", ocsfGolden}, {"ecs", "refused", ecsGolden}, {"cef", "refused", cefGolden}, {"cef", "change", cefChange},
	} {
		f, err := Format(c.format)
		if err != nil {
			t.Fatal(err)
		}
		got, err := f(nil, "trail", 5, samples()[c.sample].Append(nil))
		if err != nil || string(got) != c.want {
			t.Errorf("%s %s: %v\ngot  %s\nwant %s", c.format, c.sample, err, got, c.want)
		}
	}
}

// TestApplicationIsExported: the one that sent the request for the user.
func TestApplicationIsExported(t *testing.T) {
	r := samples()["refused"]
	r.App = record.User{ID: "shop", Issuer: "https://apps", Kind: "api_key"}
	for format, want := range map[string][]string{
		"ocsf": {`"app_name":"shop","app_uid":"shop"`, `"application":"shop","application_issuer":"https://apps","application_credential":"api_key"`},
		"ecs":  {`"application":"shop","application_issuer":"https://apps","application_credential":"api_key"`},
		"cef":  {" flexString2Label=application flexString2=shop "},
	} {
		f, err := Format(format)
		if err != nil {
			t.Fatal(err)
		}
		got, err := f(nil, "trail", 5, r.Append(nil))
		for _, w := range want {
			if err != nil || !strings.Contains(string(got), w) {
				t.Errorf("%s: %v\ngot  %s\nwant %s", format, err, got, w)
			}
		}
	}
}

// TestCallIsExported: what a request to an MCP server has called, in a name that
// is no field and no line of its own.
func TestCallIsExported(t *testing.T) {
	r := samples()["refused"]
	r.MCP = record.Call{Method: "tools/call", Name: "refund outcome=success\nrt=1", Arguments: "sha256:00", Error: -32602, Hidden: 2}
	const members = `"mcp":{"method":"tools/call","name":"refund outcome=success\nrt=1","arguments":"sha256:00","error":-32602,"hidden":2}`
	for format, want := range map[string]string{
		"ocsf": `,"unmapped":{"kind":"outcome","trace":"4bf92f3577b34da6a3ce929d0e0e4736","tls":"1.3","credential":"jwt",` + members + `}}`,
		"ecs":  members + `,"decisions":[`,
		"cef":  ` CaddyMoatMcpMethod=tools/call CaddyMoatMcpName=refund outcome\=success\nrt\=1 CaddyMoatMcpError=-32602`,
	} {
		f, err := Format(format)
		if err != nil {
			t.Fatal(err)
		}
		got, err := f(nil, "trail", 5, r.Append(nil))
		if err != nil || !strings.Contains(string(got), want) {
			t.Errorf("%s: %v\ngot  %s\nwant %s", format, err, got, want)
		}
	}
}

func TestUnknownFormatAndBadLineAreRefused(t *testing.T) {
	if _, err := Format("xml"); err == nil {
		t.Error("xml was accepted")
	}
	for _, name := range Names {
		f, _ := Format(name)
		for _, line := range []string{"", "{}", "[]", `{"v":2}`} {
			if _, err := f(nil, "trail", 0, []byte(line)); err == nil {
				t.Errorf("%s: %q was accepted", name, line)
			}
		}
	}
}

const cefKeys = " flexString1Label flexString1 flexString2Label flexString2 rt externalId deviceExternalId src spt dhost dpt suser spriv requestMethod request app cn1Label cn1 in out outcome act cs1Label cs1 cs2Label cs2 reason cs3Label cs3 cs4Label cs4 cs5Label cs5 CaddyMoatMcpMethod CaddyMoatMcpName "

// The law: whatever a client sent, a record stays one line; JSON stays JSON,
// and in CEF no new field begins and no header field ends.
func FuzzExport(f *testing.F) {
	f.Add("/a", "alice", "rule")
	f.Add("a|b=c\\d\r\nCEF:0|x", "x suser=root", "\u2028\x00\xff|")
	f.Fuzz(func(t *testing.T, path, user, rule string) {
		r := samples()["refused"]
		r.Path, r.User.ID, r.Decisions[0].Rule, r.Method = path, user, rule, path
		r.MCP = record.Call{Method: path, Name: rule}
		line := r.Append(nil)
		for _, name := range Names {
			convert, _ := Format(name)
			out, err := convert(nil, "trail", 1, line)
			if err != nil {
				t.Fatal(err)
			}
			if strings.ContainsAny(string(out), "\n\r\x00\x1b\u2028\u0085") {
				t.Fatalf("%s: %q", name, out)
			}
			if name != "cef" {
				if !json.Valid(out) {
					t.Fatalf("%s: %s", name, out)
				}
				continue
			}
			// Seven unescaped bars end the header.
			bars, at := 0, 0
			for i := 0; i < len(out) && bars < 7; i++ {
				if out[i] == '\\' {
					i++
				} else if out[i] == '|' {
					bars, at = bars+1, i
				}
			}
			if bars != 7 || !strings.HasPrefix(string(out[at:]), "|5|rt=") && !strings.HasPrefix(string(out[at+1:]), "rt=") {
				t.Fatalf("header of %s", out)
			}
			for i := at; i < len(out); i++ {
				if out[i] == '\\' {
					i++
				} else if out[i] == '=' {
					key := string(out[strings.LastIndexAny(string(out[:i]), " |")+1 : i])
					if !strings.Contains(cefKeys, " "+key+" ") {
						t.Fatalf("field %q in %s", key, out)
					}
				}
			}
		}
	})
}
