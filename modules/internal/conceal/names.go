package conceal

import "strings"

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
}

// credentialWords are parts of a name that make it one of a credential,
// whatever stands round them and however they are put together: X-Acme-Token,
// user_password, clientSecret, pass-word, api.key.
var credentialWords = [...]string{
	"token", "secret", "password", "passwd", "passphrase", "passcode", "credential", "apikey",
	"accesskey", "privatekey", "authorization", "assertion", "sessionid", "jwt",
}

// secretNames are whole names of query parameters, form fields and JSON
// members that carry credentials without containing one of the words.
var secretNames = map[string]bool{
	"code": true, "state": true, "nonce": true, "code_verifier": true, // RFC 6749 and 7636: a code buys a token
	"key": true, "auth": true, "sig": true, "signature": true, "hmac": true,
	"pass": true, "pwd": true, "pin": true, "otp": true, "cvv": true, "cvc": true, "sid": true, "session": true, "ticket": true,
	"samlrequest": true, "samlresponse": true, "x-amz-signature": true, "x-amz-credential": true, "x-goog-signature": true,
}

// Header reports whether a header field of this name carries
// credentials.
func Header(header string) bool {
	name := lower(header)
	// Aliases that a backend may fold onto the real name.
	if credentialHeaders[name] || strings.ContainsAny(name, "_.") && credentialHeaders[strings.NewReplacer("_", "-", ".", "-").Replace(name)] {
		return true
	}
	return hasCredentialWord(name)
}

// Parameter reports whether a query parameter, form field or JSON
// member of this name carries credentials.
func Parameter(name string) bool {
	name = lower(name)
	if secretNames[name] || hasCredentialWord(name) {
		return true
	}
	// As some frameworks nest them: user[pin].
	open := strings.LastIndexByte(name, '[')
	return open > 0 && name[len(name)-1] == ']' && secretNames[name[open+1:len(name)-1]]
}

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
