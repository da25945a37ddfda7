package signatureauth

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-moat/caddy-moat/modules/internal/filewatch"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/httpsig"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/jwk"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/keyset"
	"github.com/caddy-moat/caddy-moat/modules/internal/lifecycle"
	"github.com/caddy-moat/caddy-moat/modules/internal/option"
)

// Directory is where a signer publishes its keys (Web Bot Auth,
// draft-ietf-webbotauth-httpsig-protocol-01), and whose they are.
//
// A signature by one of them has the tag web-bot-auth, the parameter expires, the
// key's thumbprint (RFC 7638) as key id, and covers the authority and the member of
// Signature-Agent that names the directory: the one with its own label or, where a
// proxy has renamed that, the only one it covers. The older form of the field, one
// string, counts too. Unless `components` says otherwise, signatures of GET, HEAD and
// OPTIONS requests without content need cover no more; others what the default asks
// for.
//
// The directory is fetched from this address alone, as key sets are: before it
// expires, at most once in 30 seconds for a key that it does not have, bounded, and
// without following redirects.
type Directory struct {
	// The address of the directory. An origin, such as https://bot.example.com,
	// stands for `/.well-known/http-message-signatures-directory` there; signers
	// may write either. https, but for http to this machine.
	URL string `json:"url"`

	// The user of the keys, which becomes `{http.auth.user.id}`. Default: the
	// address of the directory
	User string `json:"user,omitempty"`

	// What the user is granted.
	Roles  []string `json:"roles,omitempty"`
	Scopes []string `json:"scopes,omitempty"`
	Plan   string   `json:"plan,omitempty"`

	// A file with certificates in PEM of the authorities that vouch for the
	// directory, in place of the system's. It is read at load. Global
	// placeholders are replaced in its name.
	CA string `json:"ca,omitempty"`

	// Whether to ignore keys that have not signed the response of the directory,
	// over `@authority` of the request and content-digest, with the tag
	// http-message-signatures-directory. The draft recommends that signers do so;
	// many do not yet.
	Signed bool `json:"signed,omitempty"`
}

// retryDirectory is when a client may try again whose directory cannot be fetched.
const retryDirectory = 5 * time.Second

// bots are the keys of a directory.
type bots struct {
	set   *keyset.Set
	owner owner
}

// directories are open key directories, by their source and whether they must be
// signed. They survive a reload.
var directories = caddy.NewUsagePool()

type directoryKey struct {
	source keyset.Source
	signed bool
}

// checkDirectories refuses what is not an address of a directory.
func (p *Provider) checkDirectories() error {
	seen := make(map[string]bool)
	for _, d := range p.Directories {
		if d == nil {
			return errors.New("a directory is null")
		}
		name, ok := httpsig.AgentName(d.URL)
		u, err := url.Parse(d.URL)
		switch {
		case !ok || err != nil:
			return fmt.Errorf("directory %.200q is not an address such as https://bot.example.com%s", d.URL, httpsig.WellKnown)
		case u.RawQuery != "" || u.ForceQuery:
			return fmt.Errorf("directory %.200q must not have a query: a query is not part of the name of a directory", d.URL)
		case seen[name]:
			return fmt.Errorf("directory %s already specified", name)
		}
		seen[name] = true
	}
	return nil
}

// openDirectory begins to keep the keys of a directory at hand.
func (p *Provider) openDirectory(d *Directory) error {
	name, _ := httpsig.AgentName(d.URL)
	source := keyset.Source{URL: name}
	if d.CA != "" {
		path, err := option.Resolve(Name, "ca", d.CA)
		if err != nil {
			return err
		}
		ca, err := filewatch.Read(path, maxCA)
		if err != nil {
			return fmt.Errorf("ca %s: %w", d.CA, err)
		}
		if !x509.NewCertPool().AppendCertsFromPEM(ca) {
			return fmt.Errorf("ca %s: the file has no certificate in PEM", d.CA)
		}
		source.CA = string(ca)
	}
	set, err := lifecycle.Share(&p.held, directories, directoryKey{source, d.Signed}, func() (*keyset.Set, func(), error) {
		s := keyset.Open(source, keyset.Options{
			Read: httpsig.ReadDirectory(name, d.Signed, time.Now), Accept: httpsig.DirectoryAccept, Direct: true,
			Report: reportDirectory(name), Changed: func(came, left []string) {
				directoryLog().Info("keys of the directory changed", zap.String("directory", name), zap.Strings("came", came), zap.Strings("left", left))
			},
		})
		return s, s.Close, nil
	})
	if err != nil {
		return err
	}
	who := owner{user: d.User, roles: d.Roles, scopes: d.Scopes, plan: d.Plan, directory: name}
	if who.user == "" {
		who.user = name
	}
	if p.bots == nil {
		p.bots = make(map[string]*bots)
	}
	p.bots[name] = &bots{set, who}
	return nil
}

const maxCA = 1 << 20

func directoryLog() *zap.Logger { return caddy.Log().Named("http.authentication.providers." + Name) }

// reportDirectory logs what the keeper of the keys has to say, in whichever
// configuration runs.
func reportDirectory(name string) func(string, error) {
	return func(message string, err error) {
		if err != nil {
			directoryLog().Warn(message, zap.String("directory", name), zap.Error(err))
			return
		}
		directoryLog().Info(message, zap.String("directory", name))
	}
}

// Listed reports whether keys of that directory are accepted.
func (r *ring) Listed(name string) bool { return r.bots[name] != nil }

// AgentKey returns the key with that thumbprint which the directory has, if it may be
// used now.
func (r *ring) AgentKey(name, thumbprint string) (*httpsig.Key, error) {
	b := r.bots[name]
	found, err := b.keys(r.ctx, thumbprint)
	if err != nil || found == nil {
		return nil, err
	}
	now := r.now()
	if now.Before(found.NotBefore) || !found.NotAfter.IsZero() && !now.Before(found.NotAfter) {
		return nil, nil
	}
	key, err := httpsig.DirectoryKey(found)
	if err != nil {
		return nil, nil // it was left out when the directory was read
	}
	who := b.owner
	who.keyID = thumbprint
	p, err := who.principal()
	if err != nil {
		return nil, err
	}
	r.found = &holder{key: key, principal: p}
	return key, nil
}

func (b *bots) keys(ctx context.Context, thumbprint string) (*jwk.Key, error) {
	if len(thumbprint) != thumbprintSize {
		return nil, nil // no key has that id, so none is worth a fetch
	}
	keys, err := b.set.Keys(ctx, thumbprint, "")
	if err != nil || len(keys) == 0 {
		return nil, err
	}
	return keys[0], nil
}

// thumbprintSize is that of SHA-256 in base64url.
const thumbprintSize = 43
