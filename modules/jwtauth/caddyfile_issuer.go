package jwtauth

import (
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/jwk"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/keyset"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
	"github.com/caddy-moat/caddy-moat/modules/internal/option"
)

// The options of jwt_auth: of every issuer (the first three not of the internal
// one), of the internal issuer alone, and of the whole directive.
var (
	ofIssuers  = []string{"jwks", "key", "alb", "audience", "algorithms", "typ", "max_age", "require", "roles", "scopes", "subject"}
	ofInternal = []string{"name", "rotate", "publish"}
	ofAll      = []string{"introspection", "resource", "bind", "from", "strip", "realm", "leeway", "revocations", "cache"}
)

// unmarshalIssuer reads an issuer and its block.
func unmarshalIssuer(d *caddyfile.Dispenser) (*Issuer, error) {
	i := new(Issuer)
	if err := option.Arg(d, &i.Issuer); err != nil {
		return nil, err
	}
	if i.Issuer == "internal" {
		i.Issuer, i.Internal = "", new(Internal)
	}
	seen := make(option.Once)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if i.Internal != nil {
			known, err := i.unmarshalInternal(d, seen)
			if err != nil {
				return nil, err
			}
			if known {
				continue
			}
		}
		known, err := i.unmarshalOption(d, seen)
		if err != nil {
			return nil, err
		}
		if !known {
			if slices.Contains(ofAll, d.Val()) || slices.Contains(option.Common, d.Val()) {
				return nil, d.Errf("unrecognized subdirective '%s' in issuer: it applies to all issuers, write it outside the block", d.Val())
			}
			if i.Internal != nil {
				return nil, option.Unrecognized(d, "issuer internal", ofInternal, ofIssuers[3:])
			}
			return nil, option.Unrecognized(d, "issuer", ofIssuers)
		}
	}
	return i, nil
}

// unmarshalInternal reads an option of the internal issuer alone.
func (i *Issuer) unmarshalInternal(d *caddyfile.Dispenser, seen option.Once) (known bool, err error) {
	switch d.Val() {
	case "jwks", "key", "alb":
		return true, d.Errf("the internal issuer has its own key: remove %s", d.Val())
	case "name", "rotate", "publish":
		if err := seen.Check(d); err != nil {
			return true, err
		}
	}
	switch d.Val() {
	case "name":
		return true, option.OneArg(d, &i.Issuer)
	case "rotate":
		return true, option.Duration(d, &i.Internal.Rotate, rotations)
	case "publish":
		if err := option.OneArg(d, &i.Internal.Publish); err != nil {
			return true, err
		}
		if err := checkPublish(i.Internal.Publish); err != nil {
			return true, d.WrapErr(err)
		}
		return true, nil
	}
	return false, nil
}

// unmarshalOption reads an option of an issuer, if it is one.
func (i *Issuer) unmarshalOption(d *caddyfile.Dispenser, seen option.Once) (known bool, err error) {
	switch d.Val() {
	case "jwks", "alb", "audience", "algorithms", "typ", "max_age", "roles", "scopes", "subject":
		if err := seen.Check(d); err != nil {
			return true, err
		}
	case "key", "require":
	default:
		return false, nil
	}
	switch d.Val() {
	case "jwks":
		i.JWKS = make([]KeySet, 1)
		return true, i.JWKS[0].unmarshalCaddyfile(d)
	case "key":
		err = i.unmarshalKey(d)
	case "alb":
		err = i.unmarshalALB(d)
	case "audience":
		err = option.List(d, &i.Audience)
		if err == nil && len(i.Audience) > 1 && slices.Contains(i.Audience, "*") {
			err = d.Err("audience * accepts every audience: remove the others or remove *")
		}
	case "algorithms":
		err = option.List(d, &i.Algorithms)
		for _, a := range i.Algorithms {
			if err == nil {
				err = checkAlgorithm(d, a)
			}
		}
	case "typ":
		err = option.List(d, (*[]string)(&i.Type))
	case "max_age":
		err = option.Duration(d, &i.MaxAge, maxAges)
	case "require":
		var args []string
		if err = option.List(d, &args); err == nil {
			i.Require = append(i.Require, Requirement{Claim: args[0], Values: args[1:]})
			err = checkSingle(d, args[0])
		}
	case "roles":
		if err = option.List(d, &i.Roles); err == nil {
			err = checkPointers(d, i.Roles)
		}
	case "scopes":
		if err = option.List(d, &i.Scopes); err == nil {
			err = checkPointers(d, i.Scopes)
		}
	case "subject":
		if err = option.List(d, (*[]string)(&i.Subject)); err == nil {
			for n, text := range i.Subject {
				if err == nil {
					err = checkSingle(d, text)
				}
				if err == nil && slices.Contains(i.Subject[:n], text) {
					err = d.Errf("subject '%s' is repeated", text)
				}
			}
		}
	}
	if err == nil {
		err = option.NoBlock(d)
	}
	return true, err
}

func checkPointers(d *caddyfile.Dispenser, texts []string) error {
	for _, text := range texts {
		if _, err := principal.ParsePointer(text); err != nil {
			return d.WrapErr(err)
		}
	}
	return nil
}

func checkSingle(d *caddyfile.Dispenser, text string) error {
	if _, err := principal.ParseSingle(text); err != nil {
		return d.WrapErr(err)
	}
	return nil
}

// maxAlgorithm is the length of the longest text that is shown as the name of
// an algorithm. What is longer is not one, and may be a secret instead.
const maxAlgorithm = 8

func checkAlgorithm(d *caddyfile.Dispenser, alg string) error {
	if strings.EqualFold(alg, "none") {
		return d.Err("the algorithm none is never accepted")
	}
	if _, ok := jwk.Supported([]byte(alg)); !ok {
		if len(alg) > maxAlgorithm {
			return d.Err("the algorithm is not supported; it is not shown here, since it may be a key")
		}
		return d.Errf("algorithm '%s' is not supported", alg)
	}
	return nil
}

func checkJWKS(d *caddyfile.Dispenser, where string) error {
	if strings.ContainsAny(where, "{}") || !strings.Contains(where, "://") {
		return nil // known when the configuration is loaded
	}
	if err := (keyset.Source{URL: where}).Check(); err != nil {
		return d.Errf("jwks: %v", err)
	}
	return nil
}

func (i *Issuer) unmarshalKey(d *caddyfile.Dispenser) error {
	var k Key
	if !d.AllArgs(&k.Algorithm, &k.Value) {
		return option.Takes(d, "key", "an algorithm and a key, such as RS256 /etc/keys/public.pem or HS256 {env.SECRET}; where {$NAME} stands, the environment variable may be empty")
	}
	if err := checkAlgorithm(d, k.Algorithm); err != nil {
		return err
	}
	if k.Value == "" {
		return d.Errf("key %s: the key is empty", k.Algorithm)
	}
	i.Keys = append(i.Keys, k)
	return nil
}
