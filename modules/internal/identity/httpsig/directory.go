package httpsig

import (
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/jwk"
)

const (
	// DirectoryType is the media type of a directory at WellKnown.
	DirectoryType = "application/http-message-signatures-directory+json"

	// DirectoryAccept is what directories are asked for.
	DirectoryAccept = DirectoryType + ", application/jwk-set+json, application/json"

	directoryTag = "http-message-signatures-directory"

	// proofLeeway is how far the clock of a directory may be off.
	proofLeeway = 30 * time.Second
)

// ReadDirectory returns what reads the directory at an address. With proof, keys are
// left out that have not signed the response: which shows that who publishes a key has
// it, and that the response is about this host (the draft, appendix Validating the
// Domain Binding).
func ReadDirectory(address string, proof bool, now func() time.Time) func([]byte, http.Header) ([]*jwk.Key, []error, error) {
	return func(doc []byte, header http.Header) ([]*jwk.Key, []error, error) {
		u, err := url.Parse(address)
		if err != nil {
			return nil, nil, errors.New("not a URL")
		}
		kind, _, _ := mime.ParseMediaType(header.Get("Content-Type"))
		switch {
		case kind == DirectoryType:
		case u.Path != WellKnown && (kind == "application/jwk-set+json" || kind == "application/json"):
		default:
			return nil, nil, fmt.Errorf("its media type is %.80q and not %s", kind, DirectoryType)
		}
		all, skipped, err := jwk.ParseDirectory(doc)
		if err != nil {
			return nil, nil, err
		}
		var keys []*jwk.Key
		for _, k := range all {
			key, err := DirectoryKey(k)
			if err == nil && proof {
				err = proven(u, doc, header, key, now())
			}
			if err != nil {
				skipped = append(skipped, fmt.Errorf("key %s: %w", k.ID, err))
				continue
			}
			keys = append(keys, k)
		}
		return keys, skipped, nil
	}
}

// proven says why a key has not signed the response of its directory.
func proven(u *url.URL, doc []byte, header http.Header, key *Key, now time.Time) error {
	inputs, err := parseInputs(header["Signature-Input"])
	if err != nil {
		return errors.New("the response of the directory has no signature that can be read")
	}
	response := &Message{Status: http.StatusOK, Header: header, Request: &Message{
		Method: http.MethodGet, Scheme: u.Scheme, Authority: u.Host, Path: u.EscapedPath(), Query: u.RawQuery, HasQuery: u.ForceQuery || u.RawQuery != "",
	}}
	i := slices.IndexFunc(inputs, func(in input) bool {
		id, _ := find(in.params, "keyid")
		tag, _ := find(in.params, "tag")
		return id == key.ID && tag == directoryTag
	})
	if i < 0 {
		return errors.New("it has not signed the response of the directory")
	}
	policy, fault := NewPolicy(Options{Label: inputs[i].label, MaxAge: maxProofAge, Leeway: proofLeeway, Parameters: []string{"expires"}})
	if fault != nil {
		return fault
	}
	policy.components = []item{{name: "@authority", params: []param{{"req", true}}}, contentDigest}
	response.HasContent = true
	if _, err := Verify(response, policy, oneKey{key}, now); err != nil {
		var e *Error
		if errors.As(err, &e) {
			return errors.New("the signature of the response of the directory: " + e.Reason)
		}
		return err
	}
	digest, fault := ParseContentDigest(header["Content-Digest"])
	if fault != nil || !digest.Check(doc) {
		return errors.New("the response of the directory is not what was signed")
	}
	return nil
}

// maxProofAge is how long ago a response may have been signed, if it has not expired.
const maxProofAge = 365 * 24 * time.Hour

// oneKey is a key by its id.
type oneKey struct{ key *Key }

// Key returns the key if that is its id.
func (o oneKey) Key(id string) *Key {
	if id != o.key.ID {
		return nil
	}
	return o.key
}
