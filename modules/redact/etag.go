package redact

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strings"
)

// tagCipher makes entity tags of the original into ones that can be shown,
// and back. An entity tag is often a hash of the body, from which what was
// redacted could be found by trying; and it must be another for each view.
//
// The encryption is deterministic, as the same body must have the same tag:
// an HMAC over the tag is the initial counter of AES-256-CTR and is verified
// when the tag comes back. Both keys are derived for the view, so that a tag
// is worth nothing under other rules.
type tagCipher struct {
	mac   []byte
	block cipher.Block
	weak  bool // the bytes are not the same each time
}

const tagIV = aes.BlockSize

// maxTag is the longest tag that is kept.
const maxTag = 512

// noTag is one that matches nothing.
const noTag = `"none"`

func newTagCipher(key, view []byte, weak bool) (*tagCipher, error) {
	derive := func(purpose string) []byte {
		m := hmac.New(sha256.New, key)
		m.Write([]byte("moat entity tag 1\x00" + purpose + "\x00"))
		m.Write(view)
		return m.Sum(nil)
	}
	block, err := aes.NewCipher(derive("encrypt"))
	if err != nil {
		return nil, err
	}
	return &tagCipher{mac: derive("authenticate"), block: block, weak: weak}, nil
}

func (c *tagCipher) iv(tag []byte) []byte {
	m := hmac.New(sha256.New, c.mac)
	m.Write(tag)
	return m.Sum(nil)[:tagIV]
}

// seal returns the tag that the client is shown, empty if it gets none.
func (c *tagCipher) seal(tag string) string {
	if len(tag) > maxTag || tag == "" {
		return ""
	}
	out := make([]byte, tagIV+len(tag))
	copy(out, c.iv([]byte(tag)))
	cipher.NewCTR(c.block, out[:tagIV]).XORKeyStream(out[tagIV:], []byte(tag))
	shown := `"` + base64.RawURLEncoding.EncodeToString(out) + `"`
	if c.weak || strings.HasPrefix(tag, "W/") {
		return "W/" + shown
	}
	return shown
}

// open returns the tag that the upstream knows.
func (c *tagCipher) open(shown string) (string, bool) {
	shown = strings.TrimPrefix(strings.TrimSpace(shown), "W/")
	if len(shown) < 2 || shown[0] != '"' || shown[len(shown)-1] != '"' {
		return "", false
	}
	in, err := base64.RawURLEncoding.Strict().DecodeString(shown[1 : len(shown)-1])
	if err != nil || len(in) <= tagIV || len(in) > tagIV+maxTag {
		return "", false
	}
	tag := make([]byte, len(in)-tagIV)
	cipher.NewCTR(c.block, in[:tagIV]).XORKeyStream(tag, in[tagIV:])
	if !hmac.Equal(in[:tagIV], c.iv(tag)) {
		return "", false
	}
	return string(tag), true
}

// openAll opens the tags of a condition. Those that are none of ours are left
// out: asking whether they match would tell something about the original.
func (c *tagCipher) openAll(values []string) []string {
	var known []string
	for _, v := range values {
		for shown := range strings.SplitSeq(v, ",") {
			if tag, ok := c.open(shown); ok {
				known = append(known, tag)
			}
		}
	}
	if known == nil {
		return nil
	}
	return []string{strings.Join(known, ", ")}
}
