package main

import (
	"fmt"
	"strings"
)

// contestant is one configuration whose cost is measured.
type contestant struct {
	group, name string
	base        bool // the bare configuration the others of its group are compared with

	layers []string // directives, each a template for expand
	local  bool     // answered by Caddy's respond, without a proxy and an upstream
	body   []byte   // what is answered
	call   []byte   // what is posted, as one calls a tool of an MCP server; nil for a GET
	conns  int

	alg   string // of its tokens, "" for none
	order pattern

	expect expectation
	target target
}

// title names a contestant in full.
func (c *contestant) title() string { return c.group + ": " + c.name }

// expectation says what a contestant must do before its speed is of interest.
type expectation struct {
	token   bool // refuses requests with no token or a bad one
	role    bool // refuses a role it does not know
	paths   bool // refuses paths that no rule allows
	redacts bool // hides members of the document
	records bool // keeps an audit trail
	limits  bool // answers 429 at /limited
	posts   bool // refuses what no rule allows at the endpoint of an MCP server
	calls   bool // refuses a call of a tool that no rule allows
}

// target is what a contestant ought to reach; zero means none.
type target struct {
	addedMicros float64 // CPU on top of the bare configuration
	cpuRatio    float64 // CPU as a multiple of it
	p99Ratio    float64 // tail latency as a multiple of it
	addedMiB    float64 // peak memory on top of it
	coreMBs     float64 // MB of body for each second of CPU
	syncs       float64 // added median latency in times of the disk's own fdatasync
}

const defaultConns = 32

// The directives of each layer. @KEY@ and @ALG@ stand for the key of the
// contestant's tokens, @DIR@ for the directory of the server.
const (
	accessLog = `	log {
		output file @DIR@/access.log
	}
`
	jwtLayer = `	jwt_auth {
		issuer ` + issuer + ` {
			key @ALG@ @KEY@
		}
		audience ` + audience + `
		roles /realm_access/roles
@REQUIRE@	}
`
	rbacLayer = `	rbac {
		role clerk {
			allow GET      /orders/*
			allow POST     /orders
		}
		role manager inherits clerk {
			allow *        /orders/*
			deny  DELETE   /orders/*/invoice
			allow GET      /teams/{team}/report
		}
		anyone {
			allow GET      /health
		}
	}
`
	// rbacAnyone needs no authenticator in front of it.
	rbacAnyone = `	rbac {
		role manager {
			allow *        /orders/*
			deny  DELETE   /orders/*/invoice
			allow GET      /teams/{team}/report
		}
		anyone {
			allow GET      /orders/*
			allow GET      /health
		}
	}
`
	redactLayer = `	redact {
		remove password internal
		mask   mobile phone
		mask   id_card $..id_card
	}
`
	auditBatch = `	audit trail
`
	auditAlways = `	audit trail {
		sync always
	}
`
	// The limit is never reached, except at /limited: what is measured is
	// what it costs those who stay below it.
	rateLimit = `	rate_limit {
		zone clients {
			key    @USER@
			events 100
			window 1ms
		}
	}
	rate_limit /limited {
		zone limited {
			key    static
			events 1
			window 1h
		}
	}
`
)

// What guards an MCP server, without mcp and with it. The one without has no rules
// for tools, which would be for nothing to read.
const (
	rbacMCP = `	rbac {
		anyone {
			allow POST /mcp
		}
	}
`
	mcpLayer = `	rbac {
		anyone {
			allow POST /mcp
			tool  search
		}
	}
	mcp
`
)

// expand fills in a template.
func (c *contestant) expand(dir, key string) string {
	require, user := "", "{http.auth.user.id}"
	if c.expect.token && !c.expect.paths {
		require = "\t\trequire /realm_access/roles clerk\n"
	}
	if !c.expect.token {
		user = "{client_ip}"
	}
	return strings.NewReplacer("@DIR@", dir, "@ALG@", c.alg, "@KEY@", key, "@REQUIRE@", require, "@USER@", user).
		Replace(strings.Join(c.layers, ""))
}

// respond is the directive that answers with a body.
func respond(body []byte) string {
	return fmt.Sprintf("\theader Content-Type application/json\n\trespond `%s` 200\n", body)
}

// Bodies that are answered, by name.
var (
	smallBody  = []byte(small)
	body1KB    = document(1 << 10)
	body100KB  = document(100 << 10)
	body10MB   = document(10 << 20)
	called     = []byte(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search","arguments":{"query":"orders of November","limit":10},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}`)
	bodyMCP    = []byte(`{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","content":[{"type":"text","text":"two orders"}],"structuredContent":{"orders":[{"id":1,"total":12.50},{"id":2,"total":99.00}]}}}`)
	allLayers  = []string{auditBatch, jwtLayer, rbacLayer, redactLayer}
	expectsAll = expectation{token: true, role: true, paths: true, redacts: true, records: true}
)

// list collects contestants.
type list []*contestant

// group adds contestants that answer with the same body to the same requests,
// the bare configuration first: it gets the tokens too, if any, since reading
// and passing on what is long costs something by itself.
func (l *list) group(name string, shared contestant, members ...contestant) {
	bare := shared
	bare.group, bare.name, bare.base = name, "bare", true
	*l = append(*l, &bare)
	for _, m := range members {
		m.group, m.local, m.body, m.call, m.conns = name, shared.local, shared.body, shared.call, shared.conns
		*l = append(*l, &m)
	}
}

// contestants returns every configuration, group by group, the bare one first
// in each.
func contestants() []*contestant {
	alone := []contestant{
		// What this differs from the bare configuration is the noise.
		{name: "bare, once more"},
		{name: "Caddy's access log", layers: []string{accessLog}},
		{name: "rate_limit", layers: []string{rateLimit}, expect: expectation{limits: true}},
		{name: "rbac", layers: []string{rbacAnyone}, expect: expectation{paths: true}},
		{name: "audit, batch", layers: []string{auditBatch}, expect: expectation{records: true}, target: target{addedMicros: 2}},
	}
	always := contestant{name: "audit, always", layers: []string{auditAlways}, expect: expectation{records: true}, target: target{syncs: 2.5}}
	redact := contestant{name: "redact", layers: []string{redactLayer}, expect: expectation{redacts: true}}
	four := fourMembers()
	jwtAuth := jwtMembers("RS256")[0]
	jwtAuth.name = "jwt_auth, " + jwtAuth.name

	var all list
	all.group("proxied", contestant{body: smallBody, conns: defaultConns}, append(alone, always)...)
	for _, alg := range algorithms {
		all.group("jwt_auth "+alg, contestant{body: smallBody, conns: defaultConns, alg: alg, order: repeated}, jwtMembers(alg)...)
	}
	all.group("1 KB", contestant{body: body1KB, conns: defaultConns}, with(redact, target{addedMicros: 3}))
	all.group("1 KB with tokens", contestant{body: body1KB, conns: defaultConns, alg: "RS256", order: repeated}, four...)
	all.group("100 KB", contestant{body: body100KB, conns: 8}, with(redact, target{coreMBs: 450}))
	all.group("10 MB", contestant{body: body10MB, conns: 8}, with(redact, target{addedMiB: 5}))
	all.group("respond 1 KB", contestant{local: true, body: body1KB, conns: defaultConns},
		append(alone, with(redact, target{addedMicros: 3}))...)
	all.group("respond 1 KB with tokens", contestant{local: true, body: body1KB, conns: defaultConns, alg: "RS256", order: repeated},
		with(jwtAuth, target{addedMicros: 2}), with(four[0], target{addedMicros: 8}))
	// What reading the call costs is the difference of the two, of which rbac has its
	// part in both.
	all.group("MCP", contestant{body: bodyMCP, call: called, conns: defaultConns},
		contestant{name: "rbac", layers: []string{rbacMCP}, expect: expectation{posts: true}},
		contestant{name: "rbac and mcp", layers: []string{mcpLayer}, expect: expectation{posts: true, calls: true}, target: target{addedMicros: 7}})
	return all
}

func with(c contestant, t target) contestant {
	c.target = t
	return c
}

// jwtMembers are the three patterns of tokens of one algorithm.
func jwtMembers(alg string) []contestant {
	added := map[string]float64{"RS256": 31, "ES256": 58, "HS256": 6, "EdDSA": 43}[alg]
	targets := map[pattern]target{
		repeated: {addedMicros: 2, cpuRatio: 1.03},
		cycling:  {addedMicros: 3, addedMiB: 20},
		unique:   {addedMicros: added, p99Ratio: 1.3},
	}
	members := make([]contestant, 0, 3)
	for _, order := range []pattern{repeated, cycling, unique} {
		members = append(members, contestant{
			name: string(order), layers: []string{jwtLayer}, alg: alg, order: order,
			expect: expectation{token: true, role: true}, target: targets[order],
		})
	}
	return members
}

// fourMembers are all four layers at once.
func fourMembers() []contestant {
	four := contestant{layers: allLayers, alg: "RS256", expect: expectsAll}
	members := make([]contestant, 0, 4)
	for _, order := range []pattern{repeated, cycling, unique} {
		c := four
		c.name, c.order = "all four, "+string(order), order
		if order == repeated {
			c.target = target{addedMicros: 8, cpuRatio: 1.12, p99Ratio: 1.3}
		}
		members = append(members, c)
	}
	five := four
	five.name, five.order = "all four and rate_limit, one repeated", repeated
	five.layers = append([]string{rateLimit}, allLayers...)
	return append(members, five)
}
