package check

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// issuer is as much of an issuer of jwt_auth as the rules look at.
type issuer struct {
	Issuer   string          `json:"issuer"`
	Internal json.RawMessage `json:"internal"`
	ALB      json.RawMessage `json:"alb"`
	Audience []string        `json:"audience"`
	MaxAge   time.Duration   `json:"max_age"`
	Require  []struct {
		Claim  string   `json:"claim"`
		Values []string `json:"values"`
	} `json:"require"`
	Keys []struct {
		Algorithm string `json:"alg"`
		Value     string `json:"value"`
	} `json:"keys"`
}

// methodConfig is what the credential methods have in common, and more.
type methodConfig struct {
	Issuers       []issuer `json:"issuers"`
	Introspection *struct {
		Endpoint string   `json:"endpoint"`
		Secret   string   `json:"client_secret"`
		Audience []string `json:"audience"`
	} `json:"introspection"`
	Resource json.RawMessage `json:"resource"`
	From     []struct {
		Query  string `json:"query"`
		Cookie string `json:"cookie"`
		Header string `json:"header"`
	} `json:"from"`
	Leeway    time.Duration `json:"leeway"`
	Replay    any           `json:"replay"`
	ReplayOff bool          `json:"replay_off"`
	Pepper    string        `json:"pepper"`
	Senders   []struct {
		Secrets []string `json:"secrets"`
	} `json:"senders"`
	Keys []struct {
		Algorithm string `json:"alg"`
		Value     string `json:"value"`
	} `json:"keys"`
}

const (
	longLeeway = 5 * time.Minute
	longAge    = 24 * time.Hour
)

// identity looks at how callers are known.
func (c *checker) identity() {
	for _, s := range c.sites {
		for _, h := range s.handlers {
			for _, p := range h.providers {
				m := into[methodConfig](p.raw)
				c.sources(h, m)
				c.method(h, p, m)
			}
			c.handlerOptions(h)
		}
	}
}

// sources looks at where credentials stand.
func (c *checker) sources(h *handler, m methodConfig) {
	origins := into[struct {
		Origins []string `json:"origins"`
	}](h.raw).Origins
	for _, from := range m.From {
		if from.Query != "" {
			c.add("credential_in_query", c.spot(h, "from", "query", from.Query), h.site,
				"the credential may stand in the query parameter "+from.Query+": addresses are kept in browser histories, Referer headers, and the logs of every proxy on the way")
		}
		if from.Cookie != "" && slices.Contains(origins, "any") {
			c.add("cookie_any_origin", c.spot(h, "origin", "any"), h.site,
				"the credential may stand in the cookie "+from.Cookie+" and origin any turns the check of the origin off: any page can make a visitor's browser send requests that change something")
		}
	}
}

// method looks at one credential method.
func (c *checker) method(h *handler, p provider, m methodConfig) {
	if m.Leeway > longLeeway {
		c.add("leeway_wide", c.spot(h, "leeway"), h.site, fmt.Sprintf("leeway %s accepts credentials for that long after they have expired; clocks differ by seconds", m.Leeway))
	}
	if p.name == "signature_auth" && m.Replay == "off" {
		c.add("replay_accepted", c.spot(h, "replay", "off"), h.site, "replay off: whoever has seen a signed request can send it again until it expires", "replay signature")
	}
	if m.ReplayOff {
		c.add("replay_accepted", c.spot(h, "replay", "off"), h.site, "replay off: whoever has seen a webhook can send it again until it expires", "replay 24h")
	}
	for _, i := range m.Issuers {
		c.issuer(h, i, len(m.Resource) > 0)
	}
	if i := m.Introspection; i != nil && len(i.Audience) == 0 && len(m.Resource) == 0 {
		c.add("audience_missing", c.spot(h, "introspection", i.Endpoint), h.site, "introspection "+i.Endpoint+" has no audience: a token that was issued for any other service of that server is accepted here")
	}
}

// requires reports whether tokens must have one of some values in one of these
// claims.
func (i issuer) requires(claims ...string) bool {
	for _, r := range i.Require {
		if len(r.Values) > 0 && slices.Contains(claims, strings.TrimPrefix(r.Claim, "/")) {
			return true
		}
	}
	return false
}

// issuer looks at an issuer of tokens. One of this server's own issues nothing
// for others.
func (c *checker) issuer(h *handler, i issuer, resource bool) {
	if len(i.Internal) > 0 {
		return
	}
	name, at := "jwt_auth", c.spot(h, "key")
	if i.Issuer != "" {
		name, at = "issuer "+i.Issuer, c.spot(h, "issuer", i.Issuer)
	}
	// Some providers name the client in place of an audience.
	if len(i.Audience) == 0 && !resource && len(i.ALB) == 0 && !i.requires("aud", "azp", "client_id", "cid", "appid") {
		c.add("audience_missing", at, h.site, name+" has no audience: a token that was issued for any other service is accepted here, and that service can use its callers' tokens")
	}
	if i.Issuer == "" && len(i.ALB) == 0 && !i.requires("iss") {
		c.add("issuer_unchecked", at, h.site, "no issuer is named: a token of whoever else signs with this key is accepted, whatever it says in iss")
	}
	if len(i.ALB) == 0 && (i.MaxAge <= 0 || i.MaxAge > longAge) {
		text := "has no max_age: a token that was issued to be good for years is accepted until then, or until it is revoked"
		if i.MaxAge > 0 {
			text = fmt.Sprintf("has a max_age of %s", i.MaxAge)
		}
		c.add("token_lifetime", at, h.site, name+" "+text)
	}
	for _, k := range i.Keys {
		if strings.HasPrefix(strings.ToUpper(k.Algorithm), "HS") {
			c.add("symmetric_key", c.spot(h, "key", k.Algorithm), h.site, "key "+k.Algorithm+" is a secret that signer and verifier share: whoever can read this configuration or its environment can make tokens for anybody")
		}
	}
}

// handlerOptions looks at what auth says besides its methods.
func (c *checker) handlerOptions(h *handler) {
	if into[struct {
		Keep bool `json:"keep_streams"`
	}](h.raw).Keep {
		c.add("streams_kept", c.spot(h, "stream_expiry"), h.site, "stream_expiry keep: an open stream goes on when the credential has expired or was revoked")
	}
}
