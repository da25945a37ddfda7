package auth

import (
	"encoding/json"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
	"github.com/caddy-moat/caddy-moat/modules/internal/option"
)

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. Syntax:
//
//	auth [<matcher>] {
//		<method> ... {
//			...
//		}
//		all {
//			[app|user] <method> ... {
//				...
//			}
//		}
//		optional
//		preflight
//		forward <claim pointer> <header>
//		stream_expiry keep
//		origin <origin>...|any
//	}
//
// A method is jwt_auth, api_key_auth or client_cert_auth, or basic in the
// syntax of Caddy's basic_auth, or any other module of the namespace
// http.authentication.providers that can be written in a Caddyfile. The
// methods are tried in the order they are written.
//
// all stands in place of methods and asks for two credentials, that of the
// application which sends the request and that of the user for whom it does.
// The user is the caller; the application is {http.auth.app.*}. jwt_auth and
// basic are for the user, api_key_auth, client_cert_auth, signature_auth and
// webhook_auth for the application, unless app or user stands before them.
// Several methods for one of the two are tried in the order they are written.
// What a method forwards belongs to its own caller; forward beside all belongs to
// the user.
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume directive name
	h.Name = d.Val()
	if err := option.NoArgs(d); err != nil {
		return err
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		switch name := d.Val(); name {
		case "optional", "preflight":
			if err := option.Flag(d, map[string]*bool{"optional": &h.Optional, "preflight": &h.Preflight}[name]); err != nil {
				return err
			}
		case "origin":
			if err := option.Origin(d, &h.Origins); err != nil {
				return err
			}
		case "stream_expiry":
			if err := option.StreamExpiry(d, &h.KeepStreams); err != nil {
				return err
			}
		case "forward":
			f, err := option.UnmarshalForward(d)
			if err != nil {
				return err
			}
			if err := h.addForward(f, user); err != nil {
				return d.WrapErr(err)
			}
		case "all":
			if err := h.unmarshalAll(d); err != nil {
				return err
			}
		default:
			if len(h.AppProvidersRaw) > 0 {
				return d.Errf("%s stands beside all { … }: write it into that block", name)
			}
			if err := h.unmarshalMethod(d, name, user); err != nil {
				return err
			}
		}
	}
	if len(h.ProvidersRaw) == 0 {
		return d.Errf("%s needs at least one method, such as jwt_auth or basic", h.Name)
	}
	return nil
}

// user and app are whom a method is for.
const (
	user = "user"
	app  = "app"
)

// usual is whom a method in an all block is for where nothing else is written.
var usual = map[string]string{
	"jwt_auth": user, "basic": user, "basic_auth": user, "http_basic": user, "trusted_header_auth": user, "oidc_login": user,
	"api_key_auth": app, "client_cert_auth": app, "signature_auth": app, "webhook_auth": app,
}

// unmarshalAll reads the block of methods of which two have to accept.
func (h *Handler) unmarshalAll(d *caddyfile.Dispenser) error {
	if len(h.ProvidersRaw)+len(h.AppProvidersRaw) > 0 {
		return d.Err("all { … } replaces other methods and stands once: write all methods into its block")
	}
	if err := option.NoArgs(d); err != nil {
		return err
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name, whose := d.Val(), usual[d.Val()]
		if name == user || name == app {
			if whose = name; !d.NextArg() {
				return d.Errf("%s needs a method behind it, such as %s jwt_auth { … }", whose, whose)
			}
			name = d.Val()
		}
		if whose == "" {
			return d.Errf("all: whom is %s for? write app %s or user %s, or one of jwt_auth, basic, api_key_auth, client_cert_auth and signature_auth", name, name, name)
		}
		if err := h.unmarshalMethod(d, name, whose); err != nil {
			return err
		}
	}
	switch {
	case len(h.AppProvidersRaw) == 0:
		return d.Err("all: no method is for the application: write api_key_auth, client_cert_auth or signature_auth, or app before a method")
	case len(h.ProvidersRaw) == 0:
		return d.Err("all: no method is for the user: write jwt_auth or basic, or user before a method")
	}
	return nil
}

// unmarshalMethod reads one method and adds it to those of the user or of the
// application.
func (h *Handler) unmarshalMethod(d *caddyfile.Dispenser, name, whose string) error {
	raw, err := h.unmarshalProvider(d, name, whose)
	if err != nil {
		return err
	}
	if whose == app {
		h.AppProvidersRaw = append(h.AppProvidersRaw, raw)
	} else {
		h.ProvidersRaw = append(h.ProvidersRaw, raw)
	}
	return nil
}

func (h *Handler) unmarshalProvider(d *caddyfile.Dispenser, name, whose string) (json.RawMessage, error) {
	switch name {
	case "basic", "basic_auth", "http_basic":
		return unmarshalBasic(d)
	}
	id := "http.authentication.providers." + name
	if _, err := caddy.GetModule(id); err != nil {
		return nil, d.Errf("unrecognized subdirective '%s': a method (jwt_auth, basic, or another module of http.authentication.providers), all, optional, preflight or forward is expected", name)
	}
	mod, err := caddyfile.UnmarshalModule(d, id)
	if err != nil {
		return nil, err
	}
	if m, ok := mod.(credential.Method); ok {
		o := m.Traits()
		if o.Optional || o.Preflight {
			return nil, d.Errf("optional and preflight apply to the request, not to %s: write them directly in the %s block", name, h.Name)
		}
		h.KeepStreams = h.KeepStreams || o.KeepStreams
		h.Origins = append(h.Origins, o.Origins...)
		h.addStrip(o.Believes)
		h.StripCookies = append(h.StripCookies, o.Cookies...)
		for _, f := range o.Forward {
			if err := h.addForward(f, whose); err != nil {
				return nil, d.WrapErr(err)
			}
		}
	}
	return caddyconfig.JSONModuleObject(mod, "provider", name, nil), nil
}

func (h *Handler) addForward(f credential.Forward, whose string) error {
	if whose == app {
		h.AppForward = append(h.AppForward, f)
	} else {
		h.Forward = append(h.Forward, f)
	}
	_, _, err := compileForwards(h.Forward, h.AppForward)
	return err
}

// unmarshalBasic reads a block in the syntax of Caddy's basic_auth directive,
// whose provider cannot read a Caddyfile itself.
//
//	basic [<hash_algorithm> [<realm>]] {
//		<username> <hashed_password>
//	}
func unmarshalBasic(d *caddyfile.Dispenser) (json.RawMessage, error) {
	ba := caddyauth.HTTPBasicAuth{HashCache: new(caddyauth.Cache)}
	args := d.RemainingArgs()
	algorithm := "bcrypt"
	switch len(args) {
	case 0:
	case 2:
		ba.Realm = args[1]
		fallthrough
	case 1:
		algorithm = args[0]
	default:
		return nil, option.Takes(d, "basic", "[<hash_algorithm> [<realm>]] and a block of users")
	}
	switch algorithm {
	case "bcrypt":
		ba.HashRaw = caddyconfig.JSONModuleObject(caddyauth.BcryptHash{}, "algorithm", algorithm, nil)
	case "argon2id":
		ba.HashRaw = caddyconfig.JSONModuleObject(caddyauth.Argon2idHash{}, "algorithm", algorithm, nil)
	default:
		return nil, d.Errf("unrecognized hash algorithm '%s': write bcrypt or argon2id", algorithm)
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		user := d.Val()
		var hash string
		if !d.AllArgs(&hash) {
			// An ArgErr would show the hash.
			return nil, option.Takes(d, "basic", "users as <username> <hashed password>, one on a line")
		}
		if user == "" || hash == "" {
			return nil, d.Err("username and password cannot be empty")
		}
		if slices.ContainsFunc(ba.AccountList, func(a caddyauth.Account) bool { return a.Username == user }) {
			return nil, d.Errf("user '%s' already specified", user)
		}
		ba.AccountList = append(ba.AccountList, caddyauth.Account{Username: user, Password: hash})
	}
	if len(ba.AccountList) == 0 {
		return nil, d.Err("basic needs at least one user: write '<username> <hashed password>' lines in its block")
	}
	return caddyconfig.JSONModuleObject(ba, "provider", "http_basic", nil), nil
}

// Wrap returns the handler that holds the one method given, which was read
// from the directive of that name. It is what a directive such as jwt_auth
// adapts to.
func Wrap(name string, provider any) *Handler {
	h := &Handler{
		Name:         name,
		ProvidersRaw: []json.RawMessage{caddyconfig.JSONModuleObject(provider, "provider", name, nil)},
	}
	if m, ok := provider.(credential.Method); ok {
		o := m.Traits()
		h.Optional, h.Preflight, h.Forward, h.KeepStreams = o.Optional, o.Preflight, o.Forward, o.KeepStreams
		h.Origins = o.Origins
		h.addStrip(o.Believes)
		h.StripCookies = append(h.StripCookies, o.Cookies...)
	}
	return h
}

// Stripper returns the handler that removes the headers which h hands to the
// upstream from every request it sees, sets the placeholders of an anonymous
// caller, and does nothing else. It stands, without a matcher, beside a handler
// that has one.
func Stripper(h *Handler) *Handler {
	return &Handler{Name: h.Name, StripHeaders: h.ForwardedHeaders(), StripCookies: h.StripCookies, Anonymous: true}
}

// Interface guard
var _ caddyfile.Unmarshaler = (*Handler)(nil)
