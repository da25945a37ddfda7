package signatureauth

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-moat/caddy-moat/modules/internal/filewatch"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/httpsig"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
	"github.com/caddy-moat/caddy-moat/modules/internal/option"
	"github.com/caddy-moat/caddy-moat/modules/internal/strictjson"
	"github.com/caddy-moat/caddy-moat/modules/internal/watched"
)

// Key is a key whose signatures are accepted, and whose it is.
type Key struct {
	// The key id, as it stands in the parameter keyid.
	ID string `json:"keyid"`

	// The one algorithm that the key is for: ed25519, ecdsa-p256-sha256,
	// ecdsa-p384-sha384, rsa-pss-sha512, rsa-v1_5-sha256 or hmac-sha256.
	Algorithm string `json:"alg"`

	// The public key, or for hmac-sha256 the secret of at least 32 bytes,
	// written as keys of jwt_auth are: PEM, a JWK, base64, the name of a file,
	// or one placeholder such as `{env.SECRET}`, which a secret should be.
	Value string `json:"value"`

	// Whom the key is of, which is `{http.auth.user.id}`. Default: the key id
	User string `json:"user,omitempty"`

	// What that grants.
	Roles  []string `json:"roles,omitempty"`
	Scopes []string `json:"scopes,omitempty"`
	Plan   string   `json:"plan,omitempty"`
}

// holder is a key that is ready and whom it is of.
type holder struct {
	key       *httpsig.Key
	principal *principal.Principal
	disabled  bool
	text      string // what it was read from, to tell changes
}

// keys are holders by key id.
type keys map[string]*holder

// loadKeys makes keys of the configuration ready.
func loadKeys(list []*Key) (keys, error) {
	all := make(keys, len(list))
	for i, k := range list {
		if k == nil {
			return nil, fmt.Errorf("key %d is null", i)
		}
		if all[k.ID] != nil {
			return nil, fmt.Errorf("key %s is given twice", k.ID)
		}
		material := option.KeyMaterial{Value: k.Value, Secret: httpsig.Symmetric(k.Algorithm)}
		text, err := material.Load(Name, "key "+k.ID)
		if err != nil {
			return nil, err
		}
		if all[k.ID], err = k.hold(text); err != nil {
			return nil, fmt.Errorf("key %s %s: %w", k.ID, material.Source(), err)
		}
	}
	return all, nil
}

// hold makes the key ready.
func (k *Key) hold(material []byte) (*holder, error) {
	key, err := httpsig.NewKey(k.ID, k.Algorithm, material)
	if err != nil {
		return nil, err
	}
	owner := owner{user: k.User, keyID: k.ID, roles: k.Roles, scopes: k.Scopes, plan: k.Plan}
	who, err := owner.principal()
	if err != nil {
		return nil, err
	}
	return &holder{key: key, principal: who}, nil
}

// owner is whom a key is of.
type owner struct {
	user, keyID   string
	roles, scopes []string
	plan          string
	directory     string // that the key is in
}

func (o owner) principal() (*principal.Principal, error) {
	if o.user == "" {
		o.user = o.keyID
	}
	claims, err := json.Marshal(struct {
		Subject   string   `json:"sub"`
		KeyID     string   `json:"key_id"`
		Roles     []string `json:"roles,omitempty"`
		Scopes    []string `json:"scopes,omitempty"`
		Plan      string   `json:"plan,omitempty"`
		Directory string   `json:"directory,omitempty"`
	}{o.user, o.keyID, o.roles, o.scopes, o.plan, o.directory})
	if err != nil {
		return nil, err
	}
	return &principal.Principal{
		ID: o.user, Kind: principal.KindSignature, KeyID: o.keyID,
		Roles: slices.Clone(o.roles), Scopes: slices.Clone(o.scopes), Plan: o.plan,
		Claims: principal.NewClaims(claims),
	}, nil
}

// Bounds of a file of keys.
const (
	maxKeysFile = 16 << 20
	maxKeys     = 100_000
	maxLine     = 32 << 10
	maxList     = 256
	maxText     = 1024
)

// parseKeys reads a file of keys. What is not understood is an error: it could
// be a restriction. So is a key id that is written in the configuration too, where
// one of two keys, or a "disabled", would be passed over.
func parseKeys(text []byte, inline keys) (*keys, error) {
	all := make(keys)
	lines := strictjson.Lines{Size: maxKeysFile, Line: maxLine, Count: maxKeys, Of: "keys", Comments: true}
	err := lines.Each(text, func(s *strictjson.Scanner, line []byte) error {
		h, err := parseKey(s, line)
		switch {
		case err != nil:
			return err
		case all[h.key.ID] != nil:
			return fmt.Errorf("the key ID %s is given twice", h.key.ID)
		case inline[h.key.ID] != nil:
			return fmt.Errorf("the key ID %s is also in the configuration: remove one of them", h.key.ID)
		}
		all[h.key.ID] = h
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, errors.New("it has no key")
	}
	return &all, nil
}

func parseKey(s *strictjson.Scanner, line []byte) (*holder, error) {
	if err := s.Object(line); err != nil {
		return nil, err
	}
	k := new(Key)
	disabled := false
	for i := range s.Len() {
		m := s.Member(i)
		var ok bool
		switch string(m.Name) {
		case "keyid":
			k.ID, ok = text(m.Value)
		case "alg":
			k.Algorithm, ok = text(m.Value)
		case "key":
			var b []byte
			b, ok = strictjson.Text(m.Value)
			k.Value = string(b)
		case "user":
			k.User, ok = text(m.Value)
			ok = ok && k.User != ""
		case "plan":
			k.Plan, ok = text(m.Value)
		case "roles":
			k.Roles, ok = texts(m.Value)
		case "scopes":
			k.Scopes, ok = texts(m.Value)
		case "disabled":
			disabled = string(m.Value) == "true"
			ok = disabled || string(m.Value) == "false"
		default:
			return nil, errors.New("unknown member: write keyid, alg, key, user, roles, scopes, plan and disabled")
		}
		if !ok {
			return nil, fmt.Errorf("%s is not what it can be", m.Name)
		}
	}
	if k.ID == "" || k.Algorithm == "" || k.Value == "" {
		return nil, errors.New("keyid, alg and key are needed")
	}
	material, err := written(k.Value)
	if err != nil {
		return nil, fmt.Errorf("key of %s: %w", k.ID, err)
	}
	h, err := k.hold(material)
	if err != nil {
		return nil, fmt.Errorf("key of %s: %w", k.ID, err)
	}
	h.disabled, h.text = disabled, string(line)
	return h, nil
}

// written returns the bytes of a key that a file of keys holds itself. It names
// no other file, and a line of it resolves no placeholder: who may edit it
// should not be able to have others read.
func written(value string) ([]byte, error) {
	if strings.HasPrefix(value, "-----BEGIN ") || strings.HasPrefix(value, "{") {
		return []byte(value), nil
	}
	b, err := base64.StdEncoding.Strict().DecodeString(value)
	if err != nil {
		return nil, errors.New("it is neither PEM, nor a JWK, nor base64")
	}
	return b, nil
}

// text reads a short string without control characters.
func text(value []byte) (string, bool) {
	b, ok := strictjson.Text(value)
	if !ok || len(b) > maxText || bytes.ContainsFunc(b, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "", false
	}
	return string(b), true
}

func texts(value []byte) ([]string, bool) {
	list, ok := strictjson.Array(value)
	if !ok {
		return nil, false
	}
	var out []string
	for e, more := list.Next(); more; e, more = list.Next() {
		s, ok := text(e)
		if !ok || s == "" || len(out) == maxList {
			return nil, false
		}
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out, true
}

// keyFiles are the files of keys.
var keyFiles = watched.Kind{
	Layer: Name, Option: "keys", Subject: "the file of keys", What: "keys",
	Metrics: watched.Metrics{
		Entries:  prometheus.NewDesc("caddy_moat_signature_keys", "Keys of the file, the disabled ones too.", []string{"keys"}, nil),
		Unusable: prometheus.NewDesc("caddy_moat_signature_keys_unusable", watched.UnusableHelp, []string{"keys"}, nil),
	},
}

// keysFile is a file of keys, which is watched.
type keysFile struct{ *filewatch.Kept[keys] }

// Len returns the number of keys, the disabled ones included.
func (f *keysFile) Len() int { return len(*f.Value()) }

// ids tells apart files that are read beside other keys of the configuration.
func (k keys) ids() string { return strings.Join(slices.Sorted(maps.Keys(k)), "\x00") }

func openFile(path string, inline keys, report func(filewatch.Event)) (*keysFile, error) {
	parse := func(text []byte) (*keys, error) { return parseKeys(text, inline) }
	kept, err := filewatch.Keep(path, maxKeysFile, parse, func(before, after *keys, err error) {
		e := filewatch.Event{Err: err}
		e.Added, e.Removed, e.Changed = difference(*before, *after)
		report(e)
	})
	if err != nil {
		return nil, err
	}
	return &keysFile{kept}, nil
}

// difference says which keys came, left and changed, by their ids.
func difference(before, after keys) (added, removed, changed []string) {
	for id, h := range after {
		if old := before[id]; old == nil {
			added = append(added, id)
		} else if old.text != h.text {
			changed = append(changed, id)
		}
	}
	for id := range before {
		if after[id] == nil {
			removed = append(removed, id)
		}
	}
	slices.Sort(added)
	slices.Sort(removed)
	slices.Sort(changed)
	return added, removed, changed
}
