package signatureauth

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/net/http/httpguts"

	"github.com/caddy-moat/caddy-moat/modules/internal/cli"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/httpsig"
	"github.com/caddy-moat/caddy-moat/modules/internal/option"
)

func init() {
	cli.RegisterCommand(signCommand)
}

// signFlags are the flags of `caddy moat sign`.
type signFlags struct {
	keyID, alg, key    string
	method, body       string
	headers            []string
	cover              []string
	label, tag, nonce  string
	expires            time.Duration
	cavage, headerOnly bool
	now                func() time.Time
}

func signCommand() *cobra.Command {
	f := &signFlags{now: time.Now}
	cmd := &cobra.Command{
		Use:   "sign --keyid <id> --alg <alg> --key <private key> [flags] URL",
		Short: "Signs a request and prints it as a curl command",
		Long: `Signs a request as signature_auth wants it (RFC 9421) and prints the curl
command that sends it. Nothing is sent. With content, Content-Digest is added
and covered. A header field Host is the authority that is signed.

The key is a private key in PEM, or for hmac-sha256 the secret: the name of a
file, {env.NAME} or {file./path}. It is never printed.`,
		Example: `  openssl genpkey -algorithm ed25519 -out acme.pem
  caddy moat sign --keyid acme-1 --alg ed25519 --key acme.pem \
    --method POST --header 'Content-Type: application/json' --body order.json \
    https://localhost:8443/orders`,
		Args:         cobra.ExactArgs(1),
		SilenceUsage: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := f.sign(args[0])
			if err != nil {
				return err
			}
			return f.print(cmd.OutOrStdout(), r)
		},
	}
	p := cmd.Flags()
	p.StringVar(&f.keyID, "keyid", "", "the key ID")
	p.StringVar(&f.alg, "alg", "ed25519", "the algorithm: "+httpsig.Algorithms)
	p.StringVar(&f.key, "key", "", "the private key or secret")
	p.StringVarP(&f.method, "method", "X", "", "the method (default GET, with --body POST)")
	p.StringVar(&f.body, "body", "", "a file with the content, - for the standard input")
	p.StringArrayVarP(&f.headers, "header", "H", nil, "a header field, 'Name: value'; repeatable")
	p.StringArrayVar(&f.cover, "cover", nil, "components to cover, with commas between them; repeatable (default @method,@target-uri; content-digest is added with content)")
	p.StringVar(&f.label, "label", "", "the label (default sig1)")
	p.StringVar(&f.tag, "tag", "", "the tag")
	p.StringVar(&f.nonce, "nonce", "", "the nonce; 'random' makes one")
	p.DurationVar(&f.expires, "expires", 0, "when the signature expires, from now on (default: it does not say)")
	p.BoolVar(&f.cavage, "cavage", false, "sign as draft-cavage-http-signatures-12 has it")
	p.BoolVar(&f.headerOnly, "headers", false, "print the header fields alone, one a line")
	return cmd
}

// signedRequest is a request with its signature.
type signedRequest struct {
	method, url string
	fields      [][2]string
	body        []byte
	hasBody     bool
}

// sign makes the request.
func (f *signFlags) sign(target string) (*signedRequest, error) {
	if f.keyID == "" || f.key == "" {
		return nil, errors.New("--keyid and --key are needed")
	}
	material := option.KeyMaterial{Value: f.key, Secret: httpsig.Symmetric(f.alg)}
	if material.Secret && !option.IsPlaceholder(f.key) {
		material.Value = "{file." + f.key + "}" // a secret on the command line is seen by everybody
	}
	text, err := material.Load("sign", "--key")
	if err != nil {
		return nil, err
	}
	signer, err := httpsig.NewSigner(f.keyID, f.alg, text)
	if err != nil {
		return nil, err
	}
	u, err := parseTarget(target)
	if err != nil {
		return nil, err
	}
	r := &signedRequest{method: f.method, url: u.String()}
	if err := r.read(f.body); err != nil {
		return nil, err
	}
	if r.method == "" {
		r.method = http.MethodGet
		if r.hasBody {
			r.method = http.MethodPost
		}
	}
	if !httpguts.ValidHeaderFieldName(r.method) { // both are tokens
		return nil, errors.New("--method is not the name of a method")
	}
	if err := r.add(f.headers); err != nil {
		return nil, err
	}
	m := &httpsig.Message{
		Method: r.method, Proto: "HTTP/1.1", Scheme: u.Scheme, Authority: r.authority(u),
		Path: u.EscapedPath(), Query: u.RawQuery, HasQuery: u.RawQuery != "" || u.ForceQuery, HasContent: r.hasBody,
	}
	if f.cavage {
		return r, f.signCavage(r, m, signer)
	}
	return r, f.signMessage(r, m, signer)
}

// parseTarget reads the URL, which must be one that curl requests as it stands.
func parseTarget(target string) (*url.URL, error) {
	u, err := url.Parse(target)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return nil, errors.New("the URL must begin with https:// or http:// and a host")
	case u.User != nil:
		return nil, errors.New("the URL has a user in it, which curl would send as Authorization: leave it out")
	case strings.ContainsFunc(u.RawQuery, func(r rune) bool { return r <= ' ' || r > '~' }):
		return nil, errors.New("the query of the URL has characters that must be percent-encoded, such as %20 for a space")
	}
	if u.Path == "" {
		u.Path = "/"
	}
	u.Fragment = ""
	return u, nil
}

// authority is what curl sends as Host: what the caller says, else that of the
// URL without the port that the scheme has anyway.
func (r *signedRequest) authority(u *url.URL) string {
	if host := r.header().Get("Host"); host != "" {
		return host
	}
	return strings.TrimSuffix(u.Host, map[string]string{"http": ":80", "https": ":443"}[u.Scheme])
}

// split divides what --cover holds at the commas that are not in the name of a
// query parameter or the key of a member.
func split(list []string) (components []string) {
	for _, text := range list {
		start, quoted := 0, false
		for i := 0; i < len(text); i++ {
			switch {
			case text[i] == '\\' && quoted:
				i++ // the next one is not the end of the string
			case text[i] == '"':
				quoted = !quoted
			case text[i] == ',' && !quoted:
				components = append(components, text[start:i])
				start = i + 1
			}
		}
		components = append(components, text[start:])
	}
	return components
}

func (f *signFlags) signMessage(r *signedRequest, m *httpsig.Message, signer *httpsig.Signer) error {
	if f.expires < 0 {
		return errors.New("--expires lies in the past")
	}
	if err := r.without("Signature", "Signature-Input"); err != nil {
		return err
	}
	cover := split(f.cover)
	if len(cover) == 0 {
		cover = []string{"@method", "@target-uri"}
	}
	if r.hasBody {
		r.addDefault("Content-Digest", httpsig.ContentDigest(r.body))
		if !slices.Contains(cover, "content-digest") {
			cover = append(cover, "content-digest")
		}
	}
	t := httpsig.Template{Label: f.label, Components: cover, Created: f.now(), Nonce: f.nonce, Tag: f.tag}
	if f.nonce == "random" {
		var b [16]byte
		if _, err := rand.Read(b[:]); err != nil {
			return err
		}
		t.Nonce = hex.EncodeToString(b[:])
	}
	if f.expires > 0 {
		t.Expires = t.Created.Add(f.expires)
	}
	m.Header = r.header()
	input, sig, err := signer.Sign(m, t)
	if err != nil {
		return err
	}
	r.fields = append(r.fields, [2]string{"Signature-Input", input}, [2]string{"Signature", sig})
	return nil
}

func (f *signFlags) signCavage(r *signedRequest, m *httpsig.Message, signer *httpsig.Signer) error {
	if f.label != "" || f.tag != "" || f.nonce != "" || f.expires != 0 {
		return errors.New("--label, --tag, --nonce and --expires are of RFC 9421: leave them or --cavage out")
	}
	if err := r.without("Authorization"); err != nil {
		return err
	}
	cover := split(f.cover)
	if len(cover) == 0 {
		cover = []string{"(request-target)", "host", "date"}
	}
	r.addDefault("Date", f.now().UTC().Format(http.TimeFormat))
	if r.hasBody {
		r.addDefault("Digest", httpsig.LegacyDigest(r.body))
		if !slices.Contains(cover, "digest") {
			cover = append(cover, "digest")
		}
	}
	m.Header = r.header()
	value, err := signer.SignCavage(m, cover)
	if err != nil {
		return err
	}
	r.fields = append(r.fields, [2]string{"Authorization", value})
	return nil
}

// read reads the content.
func (r *signedRequest) read(name string) (err error) {
	switch name {
	case "":
		return nil
	case "-":
		r.body, err = io.ReadAll(os.Stdin)
	default:
		r.body, err = os.ReadFile(name)
	}
	r.hasBody = true
	return err
}

// add adds header fields that the caller has written.
func (r *signedRequest) add(lines []string) error {
	for _, line := range lines {
		name, value, ok := strings.Cut(line, ":")
		value = textproto.TrimString(value)
		if !ok || !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
			return errors.New("--header takes 'Name: value'")
		}
		r.fields = append(r.fields, [2]string{name, value})
	}
	return nil
}

// addDefault adds a field unless the caller has written it.
func (r *signedRequest) addDefault(name, value string) {
	if len(r.header()[http.CanonicalHeaderKey(name)]) == 0 {
		r.fields = append(r.fields, [2]string{name, value})
	}
}

// without makes sure that the caller has not written the fields that hold the
// signature: there would be two.
func (r *signedRequest) without(names ...string) error {
	for _, name := range names {
		if len(r.header()[http.CanonicalHeaderKey(name)]) > 0 {
			return fmt.Errorf("--header %s: the signature is made here", name)
		}
	}
	return nil
}

func (r *signedRequest) header() http.Header {
	h := make(http.Header)
	for _, f := range r.fields {
		h.Add(f[0], f[1])
	}
	return h
}

// print writes the request for a POSIX shell.
func (f *signFlags) print(w io.Writer, r *signedRequest) error {
	if f.headerOnly {
		for _, field := range r.fields {
			if _, err := fmt.Fprintf(w, "%s: %s\n", field[0], field[1]); err != nil {
				return err
			}
		}
		return nil
	}
	var b strings.Builder
	if r.method == http.MethodHead && !r.hasBody {
		b.WriteString("curl --head") // with -X it waits for content
	} else {
		b.WriteString("curl -X " + quote(r.method))
	}
	for _, field := range r.fields {
		text := field[0] + ": " + field[1]
		if field[1] == "" {
			text = field[0] + ";" // with a colon, curl leaves the field out
		}
		b.WriteString(" \\\n  -H " + quote(text))
	}
	if r.hasBody {
		// curl would add a type of its own choice.
		if r.header().Get("Content-Type") == "" {
			b.WriteString(" \\\n  -H " + quote("Content-Type: application/octet-stream"))
		}
		name := f.body
		b.WriteString(" \\\n  --data-binary " + quote("@"+name))
	}
	b.WriteString(" \\\n  --globoff --path-as-is " + quote(r.url) + "\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// quote makes s one word of a POSIX shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
