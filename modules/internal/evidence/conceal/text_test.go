package conceal

import (
	"strings"
	"testing"
)

const jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl"

func TestTextIsCleanedAndOtherwiseLeftAlone(t *testing.T) {
	m := NewText([]string{"X-Private"}, []string{"ssn"})
	for in, want := range map[string]string{
		"":                                  "",
		"handled request":                   "handled request",
		"/a?page=2&q=x%20y":                 "/a?page=2&q=x%20y",
		"/a?access_token=abc&page=2":        "/a?access_token=REDACTED&page=2",
		"/a?page=2&access%5Ftoken=abc#frag": "/a?page=2&access%5Ftoken=REDACTED#frag",
		"/cb?code=4/P7q7W91&state=xyz":      "/cb?code=REDACTED&state=REDACTED",
		"/a?SSN=1234":                       "/a?SSN=REDACTED",
		"/a?token=":                         "/a?token=",
		"exit code=1, state=running":        "exit code=1, state=running",
		"dial: password=hunter2 refused":    "dial: password=REDACTED refused",
		"code=abc&state=def":                "code=REDACTED&state=REDACTED",
		"Bearer " + jwt:                     "Bearer REDACTED",
		"invalid bearer token":              "invalid bearer token",
		"Basic authentication failed.":      "Basic authentication failed.",
		"basic YWxpY2U6aHVudGVyMg==":        "basic REDACTED",
		"Basic dXNlcjpwYXNz":                "Basic REDACTED",
		"got " + jwt + ", sorry":            "got REDACTED, sorry",
		"eyJ and friends":                   "eyJ and friends",
		"http://u@h/?sig=a&sig=b;sig=c":     "http://u@h/?sig=REDACTED&sig=REDACTED;sig=REDACTED",
		"/a?next=https%3A%2F%2Fx%2Fcb%3Faccess_token%3Dabc%26b%3Dc&d=e": "/a?next=REDACTED&d=e",
		"/a?next=%2Fcb%3Fu%3D%252Fx%253Ftoken%253Dabc":                  "/a?next=REDACTED",
		"/a?h=Bearer%20YWxpY2U6aHVudGVyMg":                              "/a?h=REDACTED",
		"/a?q=100%25&r=a%3Db":                                           "/a?q=100%25&r=a%3Db",
		"/a?password=ab)c,d'e(f&x=1":                                    "/a?password=REDACTED&x=1",
		"/a?password=ab;cd&x=1":                                         "/a?password=REDACTED&x=1",
		"/a?x=a=token=b":                                                "/a?x=a=token=REDACTED",
		"(see 'token=abc', please)":                                     "(see 'token=REDACTED', please)",
		"客户=张三":                                                         "客户=张三",
		"http://alice:hunter2@h/a":                                      "http://alice:REDACTED@h/a",
		"dial postgres://app:p%40ss:w@db:5432/x, again":                 "dial postgres://app:REDACTED@db:5432/x, again",
		"https://x/?next=http://a:b@c/&u=wss://:d@e":                    "https://x/?next=http://a:REDACTED@c/&u=wss://:REDACTED@e",
		"https://x/?next=http%3A%2F%2Fa%3Ab%40c%2F":                     "https://x/?next=REDACTED",
		"https://ghp_0123456789abcdefABCDEF@git.example/x.git":          "https://REDACTED@git.example/x.git",
		"see http://h:80/@alice and http://[::1]:80/a@b":                "see http://h:80/@alice and http://[::1]:80/a@b",
		"http://alice@h":                                                "http://alice@h",
		"://":                                                           "://",
		"/x;jsessionid=abc;a=b":                                         "/x;jsessionid=REDACTED;a=b",
		"/f#access_token=abc":                                           "/f#access_token=REDACTED",
		"/reset/" + strings.ReplaceAll(jwt, ".", "%2E") + "/x":          "/reset/REDACTED/x",
		"/reset/" + strings.ReplaceAll(jwt, ".", "%252e"):               "/reset/REDACTED",
		"/eyJhbGciOiJIUzI1NiJ9%2fa%":                                    "/eyJhbGciOiJIUzI1NiJ9%2fa%",
	} {
		if got := m.Clean(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

// The law: a token is found wherever it stands in whatever text, and what is
// clean already stays as it is.
func FuzzText(f *testing.F) {
	for _, s := range []string{"", "a=b&c=d", "Bearer x", "?token=", "==&;#,", "bearer bearer bearer"} {
		f.Add(s, " "+s)
	}
	m := NewText(nil, nil)
	f.Fuzz(func(t *testing.T, before, after string) {
		out := m.Clean(before + " " + jwt + " " + after)
		if strings.Contains(out, jwt) {
			t.Fatalf("%q", out)
		}
		if again := m.Clean(out); again != out {
			t.Fatalf("%q became %q", out, again)
		}
		if out := m.Clean(before + "?token=Hunter2Hunter2&" + after); strings.Contains(out, "Hunter2") && !strings.Contains(before+after, "Hunter2") {
			t.Fatalf("%q", out)
		}
	})
}

// Whatever a client writes into a URL, to log it takes no longer than its
// length warrants. Where it did, this does not end.
func TestLongTextsAreCleanedInLinearTime(t *testing.T) {
	m := NewText(nil, nil)
	for _, unit := range []string{
		"=", "a=%,", "?a=%2525", "%25", "://", "://a:", "eyJ%2e", "eyJ%25", "p-", "s e s s i o n ", "to ", "pass_", "token=a;", ";a", "bearer abc1 ", "eyJhbGciOiJIUzI1NiJ9.a ", "&token=x;b",
		":", "\":", "\\\\\":", "{\"password\":", "password:'", "token=\"", "a@b(", "/", "/bot1:", "//a", "_aaaaaaaaaaaa_", "x: ", "-----BEGIN ", "-----BEGIN PRIVATE KEY-----", "LS0tLS1CRUdJTi ", "/reset/a1", "/webhooks/1", "{", "[\"password\",",
	} {
		text := strings.Repeat(unit, 1<<18/len(unit))
		for _, s := range []string{text, "?token=" + text, "a=" + text} {
			if out := m.Clean(s); len(out) > 2*len(s) {
				t.Errorf("%q became %d bytes", unit, len(out))
			}
			assigns(s)
			Parameter(s)
		}
	}
}

func TestHeadersThatCarryCredentialsAreKnown(t *testing.T) {
	for name, want := range map[string]bool{
		"Authorization": true, "AUTHORIZATION": true, "Authentication": true, "X-Original-Authorization": true,
		"X_Api_Key": true, "x.auth.token": true, "X-Auth-Key": true, "X-Auth": true, "X-Amzn-Oidc-Data": true,
		"Cf-Access-Jwt-Assertion": true, "Stripe-Signature": true, "X-Shopify-Hmac-Sha256": true, "X-Functions-Key": true,
		"X-Forwarded-Access-Token": true, "Ocp-Apim-Subscription-Key": true, "Cookie": true, "Set-Cookie": true,
		"Accept": false, "X-Request-Id": false, "Idempotency-Key": false, "Content-Type": false, "X-Author": false,
	} {
		if got := Header(name); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

func TestNamesThatCarryCredentialsAreKnown(t *testing.T) {
	for name, want := range map[string]bool{
		"password": true, "passWord": true, "pass_word": true, "pass-word": true, "new.pass word": true, "user[password]": true,
		"api_key": true, "api-key": true, "apiKey": true, "x.api.key": true, "access__key": true, "refresh-token": true, "to": false,
		"pin": true, "user[pin]": true, "card[cvv]": true, "[pin": false, "spin": false, "pin]": false, "[]": false, "": false,
		"page": false, "postal_code": false, "tok": false, "tok_en": true, "pass": true, "passenger": false, "assert": false,
	} {
		if got := Parameter(name); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

func TestNamesOfEveryKindAreKnown(t *testing.T) {
	secret := strings.Fields(`subscription-key Subscription-Key my_key master_key signing_key encryption_key x-functions-key authkey appkey signingKey masterKey
		PHPSESSID JSESSIONID ASPSESSIONIDQABC ASP.NET_SessionId connect.sid laravel_session ci_session oauth_verifier oauth_signature oauth_token
		device_code user_code verification_code userCode deviceCode oobCode auth_code login_code mfa_code smsCode reset_code invite_code recovery_codes backup_codes
		_csrf csrf_token X-CSRF-Token xsrf crumb invite magic recovery activation activation_key otac bearer ssn salt crypt certificate cvv cvc card[cvc]
		password_digest encrypted_password DB_PASSWORD API_TOKEN user[otp] keys[0][private_key] apiKey x_api_key db_pass smtp_pwd
		magic_link reset_url inviteLink AccountKey SharedAccessKey dkim_private_key webhook_key license_key stripeKey Secret_Key client_secret
		__RequestVerificationToken authenticity_token _wpnonce code state passwort 密码 session_id mcp-session-id pw db_pw dbpass psw 2fa_code recovery_phrase samlart saml_response SAMLRequest pass2word_password`)
	secret = append(secret, strings.Fields(`security_answer securityAnswer security-answers seed hash dsn DSN connectionString connection_string ConnectionString AzureConnectionString
		db_connection_string connStr SENTRY_DSN mnemonic wallet_mnemonic seed_phrase wallet_seed totpSeed recovery_code recovery_codes otp cvv private_key privateKey
		pass_hash password_hash passwordHash database_url redis_url mothers_maiden_name xprv keystore`)...)
	for _, name := range strings.Fields("commit_hash file_hash block_hash content_hash random_seed query_string answer answers search_string hashtag seeds connections string phrase url image_url") {
		if Parameter(name) {
			t.Errorf("%s is none", name)
		}
	}
	for _, name := range secret {
		if !Parameter(name) {
			t.Errorf("%s is not known", name)
		}
	}
	for _, name := range strings.Fields(`X-Registry-Auth X-JFrog-Art-Api X-Amz-Server-Side-Encryption-Customer-Key X-Amz-Copy-Source-Server-Side-Encryption-Customer-Key
		X-Goog-Encryption-Key X-Ms-Encryption-Key X-GitHub-OTP X-Seafile-Otp X-OTP X-Pin X-Origin-Verify X-Session X-WP-Nonce X-Sentry-Auth
		X-Forwarded-Client-Cert X-SSL-Client-Cert X-Key X_Key x.key X-Acme-Session X-My-Token X-Line-Signature X-Shared-Secret Cookie X-WSSE X-Forwarded-Tls-Client-Cert X-ARR-ClientCert X-Parse-Master-Key X-MFA-Code X-Session-Key`) {
		if !Header(name) {
			t.Errorf("header %s is not known", name)
		}
	}
	innocent := strings.Fields(`page_token pageToken next_page_token nextPageToken continuation_token NextToken sort_key sortKey primary_key foreign_key partition_key
		idempotency_key idempotency-key public_key publicKey cache_key object_key issue_key key_id kid keyword keyboard monkey hotkey turkey
		token_type token_endpoint token_count max_tokens total_tokens prompt_tokens completion_tokens_details tokenizer secretary
		password_policy password_changed_at client_secret_expires_at access_token_expires_in session_timeout
		author authored author_name authority oauth_provider country_code postal_code status_code error_code currency_code zip_code promo_code
		invited_by signature_method design designation passenger passport compass bypass hotpot basalt salty encrypted cryptography
		account_sid boarding_pass profile_url image_link spin pinned pinterest opinion shipping_code q page limit offset id name email sessions certificates`)
	for _, name := range innocent {
		if Parameter(name) {
			t.Errorf("%s is taken for a credential", name)
		}
	}
	for _, name := range strings.Fields(`Idempotency-Key X-Idempotency-Key X-Cache-Key Surrogate-Key X-Request-Id X-Correlation-Id Traceparent Accept X-Author X-Page-Token
		X-RateLimit-Limit Content-Type ETag Location X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id X-Amz-Meta-Name User-Agent Referer X-Country-Code`) {
		if Header(name) {
			t.Errorf("header %s is taken for a credential", name)
		}
	}
	for _, name := range []string{"code", "state", "activation", "magic"} {
		if Member(name) {
			t.Errorf("member %s is taken for a credential", name)
		}
	}
}

func BenchmarkPath(b *testing.B) {
	m := NewText(nil, nil)
	b.ReportAllocs()
	for b.Loop() {
		m.Path("/api/v1/customers/12345/orders/67890")
	}
}
