// A user logs in with openid-client, which knows nothing of the token server but its
// issuer: node token_server.mjs ISSUER CLIENT SECRET USER PASSWORD REDIRECT
import * as oauth from 'openid-client'

const [issuer, id, secret, user, password, redirect] = process.argv.slice(2)
const config = await oauth.discovery(new URL(issuer), id, undefined, oauth.ClientSecretBasic(secret), {
	algorithm: 'oauth2',
	execute: [oauth.allowInsecureRequests],
})
const say = (step, value) => console.log(`${step}\t${value}`)

const alone = await oauth.clientCredentialsGrant(config, { scope: 'orders:read' })
say('client_credentials', `${alone.token_type} ${alone.scope} ${alone.expires_in}`)

const DPoP = oauth.getDPoPHandle(config, await oauth.randomDPoPKeyPair('ES256'))
const verifier = oauth.randomPKCECodeVerifier()
const state = oauth.randomState()
const url = await oauth.buildAuthorizationUrlWithPAR(config, {
	redirect_uri: redirect,
	scope: 'orders:read',
	state,
	code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
	code_challenge_method: 'S256',
}, { DPoP })
say('pushed', url.searchParams.get('request_uri').split(':').slice(0, 5).join(':'))

// What a browser does without script.
const page = await fetch(url)
const cookie = page.headers.get('set-cookie').split(';')[0]
const request = (await page.text()).match(/name="request" value="([^"]*)"/)[1]
const back = await fetch(new URL('/authorize', issuer), {
	method: 'POST', redirect: 'manual', headers: { cookie },
	body: new URLSearchParams({ request, user, password, action: 'allow' }),
})
say('login', back.status)

// It checks state and iss of the response (RFC 9207).
const current = new URL(back.headers.get('location'))
const tokens = await oauth.authorizationCodeGrant(config, current, { pkceCodeVerifier: verifier, expectedState: state }, undefined, { DPoP })
say('authorization_code', `${tokens.token_type} ${tokens.scope}`)

const mixed = new URL(current)
mixed.searchParams.set('iss', 'https://evil.example')
const confused = await oauth.authorizationCodeGrant(config, mixed, { pkceCodeVerifier: verifier, expectedState: state }, undefined, { DPoP }).catch((err) => err.code ?? err.name)
say('mix-up', confused)

const next = await oauth.refreshTokenGrant(config, tokens.refresh_token, undefined, { DPoP })
say('refresh_token', `${next.token_type} ${next.refresh_token !== tokens.refresh_token}`)
const known = await oauth.tokenIntrospection(config, next.access_token)
say('introspection', `${known.active} ${known.sub} ${known.token_type}`)
await oauth.tokenRevocation(config, next.refresh_token)
const gone = await oauth.tokenIntrospection(config, next.access_token)
say('revocation', gone.active)
const again = await oauth.refreshTokenGrant(config, next.refresh_token, undefined, { DPoP }).catch((err) => err.error)
say('after it', again)
