// Command sdk is a server and a client of the Model Context Protocol, made with
// its official Go SDK.
//
//	sdk server [stateless] [json]     serves on a free port of 127.0.0.1 and prints its URL
//	sdk client URL TOKEN STEP...      does the steps and prints a line for each
//
// Steps are tools, prompts, resources, templates, call:NAME[:ARGUMENTS], get:PROMPT,
// read:URI and version. A URL with ca=FILE in its fragment trusts that certificate.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/modelcontextprotocol/go-sdk/oauthex"
)

func main() {
	var err error
	switch {
	case len(os.Args) > 1 && os.Args[1] == "server":
		err = serve(slices.Contains(os.Args, "stateless"), slices.Contains(os.Args, "json"))
	case len(os.Args) > 3 && os.Args[1] == "client":
		err = client(os.Args[2], os.Args[3], os.Args[4:])
	default:
		err = errors.New("sdk server | sdk client URL TOKEN STEP...")
	}
	if err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
}

type orderArgs struct {
	Amount int    `json:"amount,omitempty"`
	Query  string `json:"query,omitempty"`
}

type orderResult struct {
	Customer string `json:"customer"`
	Phone    string `json:"phone"`
}

func serve(stateless, asJSON bool) error {
	s := mcp.NewServer(&mcp.Implementation{Name: "orders", Version: "1"}, nil)
	for _, name := range []string{"search_orders", "refund", "drop_table", "order.export"} {
		mcp.AddTool(s, &mcp.Tool{Name: name, Description: "does " + name + " – 订单"}, func(_ context.Context, _ *mcp.CallToolRequest, in orderArgs) (*mcp.CallToolResult, orderResult, error) {
			return nil, orderResult{Customer: name + " " + in.Query, Phone: "13800138000"}, nil
		})
	}
	for _, name := range []string{"hello", "secret"} {
		s.AddPrompt(&mcp.Prompt{Name: name}, func(context.Context, *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
			return &mcp.GetPromptResult{Messages: []*mcp.PromptMessage{{Role: "user", Content: &mcp.TextContent{Text: name}}}}, nil
		})
	}
	read := func(_ context.Context, r *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
		return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{{URI: r.Params.URI, Text: "content"}}}, nil
	}
	for _, uri := range []string{"file:///docs/a.md", "file:///etc/passwd"} {
		s.AddResource(&mcp.Resource{Name: uri[8:], URI: uri}, read)
	}
	s.AddResourceTemplate(&mcp.ResourceTemplate{Name: "docs", URITemplate: "file:///docs/{name}"}, read)
	s.AddResourceTemplate(&mcp.ResourceTemplate{Name: "etc", URITemplate: "file:///etc/{name}"}, read)

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	h := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s }, &mcp.StreamableHTTPOptions{Stateless: stateless, JSONResponse: asJSON})
	old := mcp.NewSSEHandler(func(*http.Request) *mcp.Server { return s }, nil)
	mux := http.NewServeMux()
	mux.Handle("/mcp", h)
	mux.Handle("/sse", old)
	return (&http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}).Serve(l)
}

// bearer sends one token with every request.
type bearer struct {
	token string
	next  http.RoundTripper
}

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	if b.token != "" {
		r.Header.Set("Authorization", "Bearer "+b.token)
	}
	return b.next.RoundTrip(r)
}

func client(endpoint, token string, steps []string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	u, err := url.Parse(endpoint)
	if err != nil {
		return err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if file, ok := strings.CutPrefix(u.Fragment, "ca="); ok {
		pem, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(pem)
		transport.TLSClientConfig = &tls.Config{RootCAs: pool}
		u.Fragment = ""
	}
	httpClient := &http.Client{Transport: transport}
	var t mcp.Transport
	switch {
	case token == "oauth":
		handler, err := login(httpClient)
		if err != nil {
			return err
		}
		t = &mcp.StreamableClientTransport{Endpoint: u.String(), HTTPClient: httpClient, OAuthHandler: handler}
	case strings.HasSuffix(u.Path, "/sse"):
		httpClient.Transport = bearer{token, transport}
		t = &mcp.SSEClientTransport{Endpoint: u.String(), HTTPClient: httpClient}
	default:
		httpClient.Transport = bearer{token, transport}
		t = &mcp.StreamableClientTransport{Endpoint: u.String(), HTTPClient: httpClient, MaxRetries: -1}
	}
	session, err := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil).Connect(ctx, t, nil)
	if err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	defer session.Close()
	for _, step := range steps {
		line, err := do(ctx, session, step)
		var rpc *jsonrpc.Error
		switch {
		case errors.As(err, &rpc):
			line = fmt.Sprintf("error %d %s", rpc.Code, rpc.Message)
		case err != nil:
			line = "failed: " + err.Error()
		}
		fmt.Printf("%s: %s\n", step, line)
	}
	return nil
}

// login is an OAuth handler of which the user says yes to everything.
func login(c *http.Client) (auth.OAuthHandler, error) {
	const redirect = "http://127.0.0.1:1/callback"
	return auth.NewAuthorizationCodeHandler(&auth.AuthorizationCodeHandlerConfig{
		DynamicClientRegistrationConfig: &auth.DynamicClientRegistrationConfig{Metadata: &oauthex.ClientRegistrationMetadata{
			RedirectURIs: []string{redirect}, TokenEndpointAuthMethod: "none", ClientName: "test", Scope: os.Getenv("SCOPES"),
		}},
		RedirectURL: redirect,
		Client:      c,
		AuthorizationCodeFetcher: func(ctx context.Context, args *auth.AuthorizationArgs) (*auth.AuthorizationResult, error) {
			fmt.Println("authorize:", shown(args.URL))
			return follow(ctx, c, args.URL, redirect)
		},
	})
}

// shown is what of an authorization request the test looks at.
func shown(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return raw
	}
	q := u.Query()
	return "resource=" + q.Get("resource") + " scope=" + q.Get("scope")
}

// follow follows the redirects of an authorization server that asks nobody, up to
// the one that leads back.
func follow(ctx context.Context, c *http.Client, target, redirect string) (*auth.AuthorizationResult, error) {
	jar := map[string]string{}
	plain := *c
	plain.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	for range 10 {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
		if err != nil {
			return nil, err
		}
		for name, value := range jar {
			req.AddCookie(&http.Cookie{Name: name, Value: value}) //nolint:gosec // of a client
		}
		resp, err := plain.Do(req)
		if err != nil {
			return nil, err
		}
		_ = resp.Body.Close()
		for _, cookie := range resp.Cookies() {
			jar[cookie.Name] = cookie.Value
		}
		next, err := resp.Location()
		if err != nil {
			return nil, fmt.Errorf("%s: %s leads nowhere", target, resp.Status)
		}
		if target = next.String(); strings.HasPrefix(target, redirect) {
			q := next.Query()
			if q.Get("code") == "" {
				return nil, fmt.Errorf("%s", next.RawQuery)
			}
			return &auth.AuthorizationResult{Code: q.Get("code"), State: q.Get("state"), Iss: q.Get("iss")}, nil
		}
	}
	return nil, errors.New("too many redirects")
}

func do(ctx context.Context, s *mcp.ClientSession, step string) (string, error) {
	verb, rest, _ := strings.Cut(step, ":")
	var names []string
	switch verb {
	case "version":
		return s.InitializeResult().ProtocolVersion, nil
	case "tools":
		r, err := s.ListTools(ctx, nil)
		if err != nil {
			return "", err
		}
		for _, t := range r.Tools {
			names = append(names, t.Name)
		}
	case "prompts":
		r, err := s.ListPrompts(ctx, nil)
		if err != nil {
			return "", err
		}
		for _, p := range r.Prompts {
			names = append(names, p.Name)
		}
	case "resources":
		r, err := s.ListResources(ctx, nil)
		if err != nil {
			return "", err
		}
		for _, p := range r.Resources {
			names = append(names, p.URI)
		}
	case "templates":
		r, err := s.ListResourceTemplates(ctx, nil)
		if err != nil {
			return "", err
		}
		for _, p := range r.ResourceTemplates {
			names = append(names, p.URITemplate)
		}
	case "call":
		name, args, _ := strings.Cut(rest, ":")
		params := &mcp.CallToolParams{Name: name}
		if args != "" {
			params.Arguments = json.RawMessage(args)
		}
		r, err := s.CallTool(ctx, params)
		if err != nil {
			return "", err
		}
		text, err := json.Marshal(r)
		return string(text), err
	case "get":
		r, err := s.GetPrompt(ctx, &mcp.GetPromptParams{Name: rest})
		if err != nil {
			return "", err
		}
		return fmt.Sprint(len(r.Messages)), nil
	case "read":
		r, err := s.ReadResource(ctx, &mcp.ReadResourceParams{URI: rest})
		if err != nil {
			return "", err
		}
		return r.Contents[0].Text, nil
	default:
		return "", fmt.Errorf("no step %q", step)
	}
	sort.Strings(names)
	return strings.Join(names, " "), nil
}
