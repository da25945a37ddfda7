package jwtauth

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"
)

// signAs signs a header and claims as they are written. IAT and EXP in the
// claims are a time that has passed and one to come.
func signAs(header, claims string) string {
	claims = strings.NewReplacer("IAT", strconv.FormatInt(now.Unix(), 10), "EXP", strconv.FormatInt(now.Add(time.Hour).Unix(), 10)).Replace(claims)
	b64 := base64.RawURLEncoding.EncodeToString
	signed := b64([]byte(header)) + "." + b64([]byte(claims))
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(signed))
	return signed + "." + b64(mac.Sum(nil))
}

// TestTokensOfProviders has access tokens in the forms that identity providers
// document (with values that are made up, and HS256 in place of their
// algorithms), and what an administrator writes for them.
func TestTokensOfProviders(t *testing.T) {
	const plain = `{"alg":"HS256","kid":"1","typ":"JWT"}`
	issuer := func(iss, options string) string {
		return "issuer " + iss + " {\n" + shared + options + "}\n"
	}
	for _, c := range []struct {
		name, config, header, claims string
		id                           string // empty: rejected
		roles, scopes                string // joined by bars
	}{
		{
			"Hydra", issuer("https://hydra.example/", "audience *\n"), plain,
			`{"iss":"https://hydra.example/","aud":[],"client_id":"app","sub":"app","exp":EXP,"nbf":IAT,"iat":IAT,"jti":"a1","ext":{},"scp":["orders:read","offline"]}`,
			"app", "", "orders:read|offline",
		},
		{
			"Hydra without audience *", issuer("https://hydra.example/", ""), plain,
			`{"iss":"https://hydra.example/","aud":[],"sub":"app","exp":EXP}`,
			"", "", "",
		},
		{
			"Keycloak", issuer("https://kc.example/realms/acme", "audience account\nroles /realm_access/roles /resource_access/orders/roles\n"), plain,
			`{"exp":EXP,"iat":IAT,"jti":"onrtac:1","iss":"https://kc.example/realms/acme","aud":"account","sub":"6d1c","typ":"Bearer","azp":"web","sid":"s","acr":"1",
			"realm_access":{"roles":["offline_access","Sales lead"]},"resource_access":{"orders":{"roles":["clerk"]},"account":{"roles":["manage-account"]}},"scope":"email profile","email_verified":false}`,
			"6d1c", "offline_access|Sales lead|clerk", "email|profile",
		},
		{
			"Entra", issuer("https://login.microsoftonline.com/t1/v2.0", "audience api1\nsubject /oid\nrequire /tid t1\n"), `{"typ":"JWT","alg":"HS256","kid":"k","x5t":"k"}`,
			`{"aud":"api1","iss":"https://login.microsoftonline.com/t1/v2.0","iat":IAT,"nbf":IAT,"exp":EXP,"aio":"x","azp":"c","azpacr":"1","oid":"00aa","rh":"0.A","roles":["Orders.Read"],"scp":"user.read orders.write","sub":"pairwise","tid":"t1","uti":"u","ver":"2.0","wids":["b79f"]}`,
			"00aa", "Orders.Read", "user.read|orders.write",
		},
		{
			"Cognito", issuer("https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_X", "require /token_use access\nrequire /client_id app\nroles /cognito:groups\n"), `{"kid":"k","alg":"HS256"}`,
			`{"sub":"aaaa","cognito:groups":["Domain Users"],"iss":"https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_X","client_id":"app","origin_jti":"o","token_use":"access","scope":"aws.cognito.signin.user.admin","auth_time":IAT,"exp":EXP,"iat":IAT,"jti":"j","username":"jane"}`,
			"aaaa", "Domain Users", "aws.cognito.signin.user.admin",
		},
		{
			"Cognito ID token", issuer("https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_X", "audience *\nrequire /token_use access\n"), `{"kid":"k","alg":"HS256"}`,
			`{"sub":"aaaa","iss":"https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_X","aud":"app","token_use":"id","exp":EXP,"iat":IAT}`,
			"", "", "",
		},
		{
			"Zitadel", issuer("https://acme.zitadel.example", "audience 11@p\nroles /urn:zitadel:iam:org:project:roles\n"), plain,
			`{"aud":["11@p","22"],"client_id":"11@p","exp":EXP,"iat":IAT,"iss":"https://acme.zitadel.example","jti":"V2_1-at","nbf":IAT,"sub":"2001","urn:zitadel:iam:org:project:roles":{"admin":{"9001":"acme.zitadel.example"},"Sales lead":{"9001":"acme.zitadel.example"}}}`,
			"2001", "admin|Sales lead", "",
		},
		{
			"Zitadel, roles not asked for", issuer("https://acme.zitadel.example", "audience 11@p\n"), plain,
			`{"aud":["11@p"],"exp":EXP,"iss":"https://acme.zitadel.example","sub":"2001","roles":{"admin":{"9001":"x"}}}`,
			"2001", "", "",
		},
		{
			"Casdoor, roles not asked for", issuer("https://cas.example", "audience cid\n"), plain,
			`{"owner":"acme","name":"alice","roles":[{"owner":"acme","name":"sales","users":null}],"permissions":[],"groups":["acme/g"],"tokenType":"access-token","scope":null,"iss":"https://cas.example","sub":"45","aud":["cid"],"exp":EXP,"nbf":IAT,"iat":IAT,"jti":"admin/x"}`,
			"45", "", "",
		},
		{
			"Casdoor", issuer("https://cas.example", "audience cid\nroles /roles/*/name /groups\n"), plain,
			`{"roles":[{"owner":"acme","name":"sales"},{"owner":"acme","name":"Domain Users"}],"groups":null,"scope":"","iss":"https://cas.example","sub":"45","aud":["cid"],"exp":EXP}`,
			"45", "sales|Domain Users", "",
		},
		{
			"Casdoor, roles pointed at as they are", issuer("https://cas.example", "audience cid\nroles /roles\n"), plain,
			`{"roles":[{"owner":"acme","name":"sales"}],"iss":"https://cas.example","sub":"45","aud":["cid"],"exp":EXP}`,
			"", "", "",
		},
		{
			"XSUAA", issuer("https://acme.authentication.example/oauth/token", "audience orders!t1\nsubject /user_name /client_id\n"),
			`{"alg":"HS256","jku":"https://acme.authentication.example/token_keys","kid":"default-jwt-key--1","typ":"JWT","jid":"j"}`,
			`{"jti":"1","ext_attr":{"enhancer":"XSUAA","zdn":"acme"},"sub":"sb-orders!t1","authorities":["orders!t1.Read"],"scope":["orders!t1.Read","uaa.resource"],"client_id":"sb-orders!t1","cid":"sb-orders!t1","azp":"sb-orders!t1","grant_type":"client_credentials","iat":IAT,"exp":EXP,"iss":"https://acme.authentication.example/oauth/token","zid":"z","aud":["uaa","orders!t1"]}`,
			"client_id:sb-orders!t1", "", "orders!t1.Read|uaa.resource",
		},
		{
			"Kubernetes", issuer("https://kubernetes.default.svc", "audience orders\nroles /kubernetes.io/namespace\n"), `{"alg":"HS256","kid":"k"}`,
			`{"aud":["orders"],"exp":EXP,"iat":IAT,"iss":"https://kubernetes.default.svc","jti":"u","kubernetes.io":{"namespace":"shop","node":{"name":"n"},"pod":{"name":"p","uid":"1"},"serviceaccount":{"name":"web","uid":"2"},"warnafter":IAT},"nbf":IAT,"sub":"system:serviceaccount:shop:web"}`,
			"system:serviceaccount:shop:web", "shop", "",
		},
		{
			"GitHub Actions", issuer("https://token.actions.githubusercontent.com", "audience https://github.com/acme\nrequire /repository acme/shop\n"), `{"typ":"JWT","alg":"HS256","x5t":"x","kid":"k"}`,
			`{"jti":"j","sub":"repo:acme/shop:ref:refs/heads/main","aud":"https://github.com/acme","ref":"refs/heads/main","repository":"acme/shop","actor":"alice","iss":"https://token.actions.githubusercontent.com","nbf":IAT,"exp":EXP,"iat":IAT}`,
			"repo:acme/shop:ref:refs/heads/main", "", "",
		},
		{
			"Cloudflare Access, a user", issuer("https://team.cloudflareaccess.example", "audience 32ea\nsubject /sub /common_name\n"), plain,
			`{"aud":["32ea"],"email":"a@acme.example","exp":EXP,"iat":IAT,"nbf":IAT,"iss":"https://team.cloudflareaccess.example","type":"app","identity_nonce":"n","sub":"7335","country":"DE"}`,
			"7335", "", "",
		},
		{
			"Cloudflare Access, a service", issuer("https://team.cloudflareaccess.example", "audience 32ea\nsubject /sub /common_name\n"), plain,
			`{"type":"app","aud":"32ea","exp":EXP,"iss":"https://team.cloudflareaccess.example","common_name":"e367.access","iat":IAT,"sub":""}`,
			"common_name:e367.access", "", "",
		},
		{
			"SPIFFE", issuer("spiffe://acme", "audience orders\ntyp JWT JOSE\n"), `{"alg":"HS256","typ":"JOSE"}`,
			`{"iss":"spiffe://acme","sub":"spiffe://acme/web","aud":["orders"],"exp":EXP}`,
			"spiffe://acme/web", "", "",
		},
		{
			"AD FS, one group", issuer("https://fs.example/adfs", "audience *\nroles /role\n"), plain,
			`{"iss":"https://fs.example/adfs","sub":"s","role":"Sales lead","exp":EXP}`,
			"s", "Sales lead", "",
		},
		{
			"AD FS, several", issuer("https://fs.example/adfs", "audience *\nroles /role\n"), plain,
			`{"iss":"https://fs.example/adfs","sub":"s","role":["Sales lead","Domain Users"],"exp":EXP}`,
			"s", "Sales lead|Domain Users", "",
		},
		{
			"an expiry that is null", issuer("https://x.example", ""), plain,
			`{"iss":"https://x.example","sub":"s","exp":null}`,
			"", "", "",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			grant, err := provider(t, c.config).Identify(get("Authorization", "Bearer "+signAs(c.header, c.claims)))
			who := grant.Principal
			switch {
			case c.id == "" && err == nil:
				t.Errorf("accepted: %+v", who)
			case c.id == "":
			case err != nil:
				t.Errorf("rejected: %v (%v)", err, errorCause(err))
			case who.ID != c.id || strings.Join(who.Roles, "|") != c.roles || strings.Join(who.Scopes, "|") != c.scopes:
				t.Errorf("got %+v", who)
			}
		})
	}
}

func errorCause(err error) error {
	if u, ok := err.(interface{ Unwrap() error }); ok {
		return u.Unwrap()
	}
	return nil
}

func TestOneTextOrAList(t *testing.T) {
	var i Issuer
	if err := json.Unmarshal([]byte(`{"subject":["/sub","/client_id"],"typ":"at+jwt"}`), &i); err != nil || len(i.Subject) != 2 || len(i.Type) != 1 {
		t.Fatalf("got %+v, %v", i, err)
	}
	if text, err := json.Marshal(i); err != nil || string(text) != `{"typ":"at+jwt","subject":["/sub","/client_id"]}` {
		t.Errorf("got %s, %v", text, err)
	}
	if err := json.Unmarshal([]byte(`{"subject":7}`), &i); err == nil {
		t.Error("a number is a subject")
	}
}
