package jwk

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/strictjson"
)

// ParseDirectory reads the key directory of a signer of HTTP messages
// (draft-ietf-webbotauth-httpsig-protocol-01, Directory Format). It is a key set as
// ParseSet reads it, but for three things: the ID of each key is its thumbprint,
// whatever kid says; alg may be the name of an HTTP signature algorithm (RFC 9421
// section 6.2.2); and keys may say from when until when they are used.
func ParseDirectory(doc []byte) (keys []*Key, skipped []error, err error) {
	return parseSet(doc, parseDirectoryKey)
}

func parseDirectoryKey(text []byte) (*Key, error) {
	var s strictjson.Scanner
	if err := s.Object(text); err != nil {
		return nil, err
	}
	f := fields{lenient: true, directory: true}
	k, err := f.parse(&s)
	if err != nil {
		return nil, err
	}
	k.ID = k.Thumbprint()
	for name, to := range map[string]*time.Time{"nbf": &k.NotBefore, "exp": &k.NotAfter} {
		value, ok := s.Find(name)
		if !ok || string(value) == "null" {
			continue
		}
		if *to, err = moment(value); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	if slices.Contains(published, k.ID) {
		k.Note = "everybody has its private key: it is an example of RFC 9421 appendix B.1"
	}
	return k, nil
}

// published are the thumbprints of the RSA-PSS and the Ed25519 key of RFC 9421
// appendix B.1, of which examples are full.
var published = []string{"oD0HwocPBSfpNy5W3bpJeyFGY_IQ_YpqxSjQ3Yd-CLA", "poqkLGiymh_W0uP6PZFw-dvez3QJT5SolqXBCW38r0U"}

// moment reads a time in seconds. Directories in the field have milliseconds, too;
// no time in seconds is that large before the year 5138.
func moment(value []byte) (time.Time, error) {
	n, err := strconv.ParseInt(string(value), 10, 64)
	if err != nil || n < 0 {
		return time.Time{}, errors.New("not a time in seconds")
	}
	if n >= 1e11 {
		return time.UnixMilli(n), nil
	}
	return time.Unix(n, 0), nil
}

// httpAlgorithms are what HTTP signature algorithms are called in JOSE.
var httpAlgorithms = map[string]string{
	"ed25519":           "EdDSA",
	"ecdsa-p256-sha256": "ES256",
	"ecdsa-p384-sha384": "ES384",
	"rsa-pss-sha512":    "PS512",
	"rsa-v1_5-sha256":   "RS256",
}
