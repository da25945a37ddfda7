package conceal

import (
	"bytes"
	"strings"
)

// credentialHeaders are the header fields whose values are credentials or
// stand for one. They are recorded and logged by nobody.
var credentialHeaders = map[string]bool{
	"authorization":             true,
	"proxy-authorization":       true,
	"www-authenticate":          true, // may repeat a token's fault, and carries DPoP nonces
	"proxy-authenticate":        true,
	"authentication":            true,
	"authentication-info":       true,
	"proxy-authentication-info": true,
	"cookie":                    true,
	"cookie2":                   true,
	"set-cookie":                true,
	"set-cookie2":               true,
	"dpop":                      true, // RFC 9449
	"dpop-nonce":                true,
	"signature":                 true, // RFC 9421
	"signature-input":           true,
	"client-cert":               true, // RFC 9440
	"client-cert-chain":         true,
	"x-api-key":                 true,
	"api-key":                   true,
	"apikey":                    true,
	"x-auth":                    true,
	"x-auth-key":                true,
	"x-auth-token":              true,
	"x-access-token":            true,
	"x-id-token":                true,
	"x-refresh-token":           true,
	"x-csrf-token":              true,
	"x-xsrf-token":              true,
	"x-amz-security-token":      true,
	"x-goog-api-key":            true,
	"x-vault-token":             true,
	"x-gitlab-token":            true,
	"private-token":             true,
	"x-session-token":           true,
	"x-signature":               true,
	"x-hub-signature":           true,
	"x-hub-signature-256":       true,
	"x-slack-signature":         true,
	"x-twilio-signature":        true,
	"x-shopify-hmac-sha256":     true,
	"stripe-signature":          true,
	"x-amzn-oidc-data":          true,
	"x-functions-key":           true,
	"fastly-key":                true,
	"dd-application-key":        true,
	"sec-websocket-protocol":    true, // browsers can send a token nowhere else
	"sec-websocket-key":         true,
	"ocp-apim-subscription-key": true,
	"x-forwarded-client-cert":   true, // Envoy: the certificate, or what it says
	"x-origin-verify":           true, // CloudFront: the secret between it and the origin
	"x-jfrog-art-api":           true,
	"x-wsse":                    true, // the UsernameToken of WS-Security
	"x-registry-config":         true, // Docker: users and passwords in base64
	"x-otp":                     true,
	"x-pin":                     true,
	"x-session":                 true,
	"x-key":                     true,
}

// credentialWords are parts of a name that make it one of a credential,
// whatever stands round them and however they are put together: X-Acme-Token,
// user_password, clientSecret, pass-word, api.key.
var credentialWords = [...]string{
	"token", "secret", "password", "passwd", "passphrase", "passcode", "credential", "apikey",
	"accesskey", "privatekey", "customerkey", "encryptionkey", "subscriptionkey", "accountkey",
	"authorization", "assertion", "sessionid", "jwt", "csrf", "xsrf", "clientcert",
	"passwort", "kennwort", "motdepasse", "senha", "contrasena", "contraseña", "пароль", "密码", "密碼", "口令",
}

// secretNames are whole names of query parameters, form fields and JSON
// members that carry credentials without containing one of the words, as
// normal writes them.
var secretNames = set(`
	code state nonce code_verifier
	key auth sig signature hmac pass pwd pw psw pswd pword passwrd pin otp totp otac mnemonic seed_phrase recovery_phrase samlart wresult
	userpass dbpass mypass adminpass rootpass smtppass ftppass sshpass loginpass newpass oldpass cvv cvv2 cvc cvc2 csc ssn tan puk
	sid sess sessid phpsessid session ticket crumb bearer salt crypt certificate wpnonce
	invite magic recovery activation
	samlrequest saml_request samlresponse saml_response
	authkey appkey mykey masterkey signingkey encryptkey secretkey sharedkey storagekey licensekey webhookkey functionskey
	userkey clientkey serverkey hmackey aeskey rsakey sshkey deploykey adminkey servicekey
	usercode devicecode authcode oobcode verificationcode activationcode recoverycode resetcode invitecode
	cookie cookies set_cookie
	seed hash dsn connectionstring connstring connstr securityanswer secretanswer seedphrase recoveryphrase passhash pwhash pwdhash
	maiden_name mother_maiden_name mothers_maiden_name xprv keystore pfx p12 pkcs12 track1 track2 track_data
	database_url db_url redis_url mongo_url mongodb_url mongo_uri mongodb_uri amqp_url broker_url
`)

// secretPairs are last words that make a name one of a credential behind some
// words, and one of something else behind others.
var secretPairs = map[string]map[string]bool{
	"string": set(`connection connect conn`),
	"str":    set(`connection connect conn`),
	"answer": set(`security secret recovery challenge verification`),
	"seed":   set(`wallet master key otp totp hotp mfa recovery hd`),
	"phrase": set(`seed recovery backup mnemonic pass`),
	"hash":   set(`pass pw pwd pin psw credential`),
}

// secretPlurals are the last words of secretPairs of which there may be several.
var secretPlurals = map[string]string{"strings": "string", "answers": "answer", "seeds": "seed", "hashes": "hash"}

// inRedirects are those of secretNames that mean something in a redirect or a
// link, and in JSON everything from postal codes to the shape of a neuron.
var inRedirects = set(`code state magic recovery activation invite`)

// secretEnds are last words that make a name of several words one of a
// credential: X-Registry-Auth, my_key, X-GitHub-OTP, oauth_verifier.
var secretEnds = set(`
	auth otp totp key keys session sid sess pin sig signature hmac pwd pw pass cvv cvc ssn salt crypt certificate
	nonce verifier crumb bearer cookie cookies
	dsn mnemonic keystore
`)

// secretCodes are the words before code, link or url that make it a way in.
var secretCodes = set(`
	device user verification verify oob auth authorization authentication login signin otp totp mfa 2fa tfa sms email reset magic invite invitation
	recovery recover activation confirmation security access pairing backup pass unlock
`)

// secretLinks are the same for link and url.
var secretLinks = set(`magic reset activation invite invitation recovery confirmation`)

// plain are names that look like those of credentials and are none.
var plain = set(`
	secretary secretaries secretariat tokenizer tokenized tokenize tokenization tokens_per_second assertions
	token_id key_id account_sid message_sid call_sid sms_sid
	page_token next_page_token prev_page_token previous_page_token next_token prev_token starting_token
	continuation_token next_continuation_token pagination_token skip_token skiptoken next_sync_token sync_token cursor_token change_token
	boarding_pass day_pass season_pass ski_pass low_pass high_pass band_pass map_pin
`)

// plainKeys are the words before key that make it a name of something, or of
// a thing that may be seen.
var plainKeys = set(`
	primary foreign sort partition range row public idempotency cache dedup dedupe deduplication group grouping
	translation i18n l10n locale message object s3 issue project surrogate natural composite unique index lookup map dict json config
	setting settings feature flag template column field order next prev previous start evaluated cursor page
	registry shortcut hot arrow label metric event entity item product resource tag parent child bucket shard sharding
	correlation ordering process definition answer option type name status version candidate alternate
	issuer site asset cert lock search sorting filter query property attribute node path file image document
`)

// plainTokens are the words before tokens that make it a number of them.
var plainTokens = set(`
	max min num total prompt completion input output cached cache reasoning audio text image used remaining stop special
	generated thinking prediction budget per sampled
`)

// plainEnds are last words that make of a credential's name one of something
// about it: token_type, password_changed_at.
var plainEnds = set(`
	type count counts limit limits usage details endpoint endpoints lifetime ttl expiry expires expiration
	name length size symbol address supported required enabled policy version alg algorithm method methods status strength age
	timeout issuer
`)

func set(words string) map[string]bool {
	m := make(map[string]bool)
	for _, w := range strings.Fields(words) {
		m[w] = true
	}
	return m
}

// Header reports whether a header field of this name carries
// credentials.
func Header(header string) bool {
	name := lower(header)
	// Aliases that a backend may fold onto the real name.
	if credentialHeaders[name] || strings.ContainsAny(name, "_.") && credentialHeaders[strings.NewReplacer("_", "-", ".", "-").Replace(name)] {
		return true
	}
	return secretName(header, name)
}

// Parameter reports whether a query parameter, form field or JSON
// member of this name carries credentials.
func Parameter(name string) bool {
	if name == "" {
		return false
	}
	var space [64]byte
	if secretNames[string(normal(space[:0], name))] {
		return true
	}
	return secretName(name, lower(name))
}

// Member is Parameter for a member of a JSON object, without the names that
// are credentials in a redirect alone, and with those of header fields.
func Member(name string) bool {
	var space [64]byte
	n := normal(space[:0], name)
	if secretNames[string(n)] {
		return !inRedirects[string(n)]
	}
	low := lower(name)
	return secretName(name, low) || strings.IndexByte(name, '-') > 0 && credentialHeaders[low]
}

// secretName reports whether a name of several words, or with one of the
// words that tell whatever stands round them, is one of a credential.
func secretName(name, low string) bool {
	var space [64]byte
	n := normal(space[:0], name)
	last := n[bytes.LastIndexByte(n, '_')+1:]
	before := bytes.TrimSuffix(n[:len(n)-len(last)], []byte("_"))
	before = before[bytes.LastIndexByte(before, '_')+1:]
	two := n[max(0, len(n)-len(last)-1-len(before)):] // the last two words
	if hasCredentialWord(low) {
		return !harmlessName(n, two, before, last)
	}
	switch {
	case len(last) == len(n) || plain[string(two)]:
		return false
	case string(last) == "key" || string(last) == "keys":
		return !plainKeys[string(before)]
	case string(last) == "code" || string(last) == "codes":
		return secretCodes[string(before)]
	case string(last) == "link" || string(last) == "url":
		return secretLinks[string(before)]
	}
	if one, ok := secretPlurals[string(last)]; ok {
		last = []byte(one)
	}
	return secretEnds[string(last)] || secretPairs[string(last)][string(before)]
}

// harmlessName reports whether a name that contains the word of a credential
// is one of something else.
func harmlessName(n, two, before, last []byte) bool {
	switch {
	case plain[string(n)] || plain[string(two)] || plainEnds[string(last)] && len(last) < len(n):
		return true
	case string(last) == "tokens":
		return plainTokens[string(before)]
	case string(last) == "in":
		return string(before) == "expires"
	case string(last) == "at":
		return bytes.HasSuffix(before, []byte("ed")) || string(before) == "expires" || string(before) == "set" || string(before) == "sent"
	}
	return false
}

// normal appends to dst a name in small letters, its words joined by
// underscores: X-Api-Key, x.api.key and xApiKey are all x_api_key, user[pin] is
// user_pin, _csrf is csrf.
func normal(dst []byte, name string) []byte {
	nested := strings.HasSuffix(name, "]") && strings.IndexByte(name, '[') > 0
	begun := len(dst)
	for i := 0; i < len(name); i++ {
		c := name[i]
		switch {
		case strings.IndexByte("-_. /:$@", c) >= 0 || nested && c == '[':
			if len(dst) > begun && dst[len(dst)-1] != '_' {
				dst = append(dst, '_')
			}
			continue
		case nested && c == ']':
			continue
		case 'A' <= c && c <= 'Z':
			follows := i > 0 && (small(name[i-1]) || capital(name[i-1]) && i+1 < len(name) && small(name[i+1]))
			if follows && len(dst) > begun && dst[len(dst)-1] != '_' {
				dst = append(dst, '_')
			}
			c |= 0x20
		}
		dst = append(dst, c)
	}
	// As in keys[0].
	end := len(dst)
	for end > begun && dst[end-1]-'0' <= 9 {
		end--
	}
	if end > begun && dst[end-1] == '_' {
		dst = dst[:end-1]
	}
	return dst
}

func small(c byte) bool   { return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' }
func capital(c byte) bool { return 'A' <= c && c <= 'Z' }

func hasCredentialWord(name string) bool {
	for _, word := range credentialWords {
		if wordEnd(name, word) >= 0 {
			return true
		}
	}
	return false
}

// wordEnd returns where the first word in s ends, -1 if there is none. The
// word may be in pieces: pass-word. It takes time in proportion to the length
// of s.
func wordEnd(s, word string) int {
	for i := 0; i+len(word) <= len(s); i++ {
		at := strings.IndexByte(s[i:], word[0])
		if at < 0 {
			return -1
		}
		i += at
		end, left := i+1, word[1:]
		for end < len(s) && left != "" && (s[end] == left[0] || strings.IndexByte("-_. ", s[end]) >= 0) {
			if s[end] == left[0] {
				left = left[1:]
			}
			end++
		}
		if left == "" {
			return end
		}
	}
	return -1
}

// lower is strings.ToLower without copying names that are lower already.
func lower(s string) string { return strings.ToLower(s) }
