package webhook

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"
)

// Schemes are the senders that are known, in the order of the manual.
var Schemes = []*Scheme{
	{
		Name:      "github",
		Signature: "X-Hub-Signature-256", Fields: []string{"X-Hub-Signature-256"},
		read: readPlain, encode: func(mac []byte) string { return "sha256=" + hex.EncodeToString(mac) }, secret: verbatim,
	},
	{
		Name:      "stripe",
		Signature: "Stripe-Signature", Fields: []string{"Stripe-Signature"}, Timed: true,
		read: readStripe, encode: hex.EncodeToString, secret: stripeSecret,
	},
	{
		Name:      "slack",
		Signature: "X-Slack-Signature", Fields: []string{"X-Slack-Signature", "X-Slack-Request-Timestamp"}, Timed: true,
		read: readSlack, encode: func(mac []byte) string { return "v0=" + hex.EncodeToString(mac) }, secret: verbatim,
	},
	{
		Name:      "shopify",
		Signature: "X-Shopify-Hmac-Sha256", Fields: []string{"X-Shopify-Hmac-Sha256"},
		read: readPlain, encode: base64.StdEncoding.EncodeToString, secret: verbatim,
	},
	standard("standard", "Webhook-"),
	standard("svix", "Svix-"),
}

// Named returns the scheme of a sender, nil if it is not known.
func Named(name string) *Scheme {
	for _, s := range Schemes {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// standard is the scheme of Standard Webhooks, in fields that begin with prefix.
func standard(name, prefix string) *Scheme {
	return &Scheme{
		Name:      name,
		Signature: prefix + "Signature", Fields: []string{prefix + "Signature", prefix + "Id", prefix + "Timestamp"}, Timed: true,
		read:   readStandard,
		encode: func(mac []byte) string { return "v1," + base64.StdEncoding.EncodeToString(mac) },
		secret: standardSecret,
	}
}

// readPlain is for senders that sign the content and nothing else.
func readPlain(s *Scheme, h http.Header) (*Claim, error) {
	text, err := one(h, s.Signature)
	if err != nil {
		return nil, err
	}
	return &Claim{signatures: []string{text}}, nil
}

// readStripe reads t=…,v1=…: one time and, while a secret is being changed,
// several signatures. Signatures of other versions are passed over.
func readStripe(s *Scheme, h http.Header) (*Claim, error) {
	text, err := one(h, s.Signature)
	if err != nil {
		return nil, err
	}
	c := new(Claim)
	for part := range strings.SplitSeq(text, ",") {
		name, value, ok := strings.Cut(part, "=")
		switch {
		case !ok || name == "":
			return nil, ErrMalformed
		case name == "t":
			if c.before != "" {
				return nil, ErrMalformed
			}
			if c.Made, err = seconds(value); err != nil {
				return nil, err
			}
			c.before = value + "."
		case name == "v1":
			c.signatures = append(c.signatures, value)
		}
	}
	if c.before == "" {
		return nil, ErrMalformed
	}
	return c, nil
}

func readSlack(s *Scheme, h http.Header) (*Claim, error) {
	text, err := one(h, s.Signature)
	if err != nil {
		return nil, err
	}
	made, err := one(h, s.Fields[1])
	if err != nil {
		return nil, err
	}
	c := &Claim{before: "v0:" + made + ":", signatures: []string{text}}
	c.Made, err = seconds(made)
	return c, err
}

// readStandard reads what Standard Webhooks has: signatures separated by spaces,
// of which those with a symmetric key begin with v1. An id with a full stop is
// refused: id, time and content are joined by them, and what was signed as one
// id and content could be handed over as another.
func readStandard(s *Scheme, h http.Header) (*Claim, error) {
	var values [3]string
	for i, name := range s.Fields {
		var err error
		if values[i], err = one(h, name); err != nil {
			return nil, err
		}
	}
	list, id, made := values[0], values[1], values[2]
	if len(id) > maxID || strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' || r == '.' }) {
		return nil, ErrMalformed
	}
	c := &Claim{before: id + "." + made + "."}
	var err error
	if c.Made, err = seconds(made); err != nil {
		return nil, err
	}
	for text := range strings.SplitSeq(list, " ") {
		version, _, ok := strings.Cut(text, ",")
		if !ok {
			return nil, ErrMalformed
		}
		if version == "v1" {
			c.signatures = append(c.signatures, text)
		}
	}
	return c, nil
}

// verbatim is a secret whose bytes are the key.
func verbatim(text string) ([]byte, error) { return []byte(text), nil }

const secretPrefix = "whsec_"

// stripeSecret is used as it is, with its prefix. An API key in its place is the
// usual mistake.
func stripeSecret(text string) ([]byte, error) {
	if !strings.HasPrefix(text, secretPrefix) {
		return nil, errors.New("it does not begin with whsec_: it is the signing secret of the endpoint that is wanted, not an API key")
	}
	return []byte(text), nil
}

func standardSecret(text string) ([]byte, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(text, secretPrefix))
	if err != nil {
		return nil, errors.New("it is not whsec_ and base64, as the sender shows it")
	}
	return key, nil
}
