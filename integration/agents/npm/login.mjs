// An OpenID Connect provider (npm oidc-provider) for logins of browsers, that lets
// everybody in as "alice": node login.mjs CLIENT SECRET LOGOUT REDIRECT...
// It prints its issuer.
import * as http from "node:http";
import Provider from "oidc-provider";

const [client, secret, logout, ...redirects] = process.argv.slice(2);
const server = http.createServer();
server.listen(0, "127.0.0.1", () => {
	const issuer = `http://127.0.0.1:${server.address().port}`;
	const provider = new Provider(issuer, {
		clients: [{
			client_id: client, client_secret: secret, redirect_uris: redirects,
			grant_types: ["authorization_code", "refresh_token"], response_types: ["code"], backchannel_logout_uri: logout,
		}],
		scopes: ["openid", "offline_access"],
		acrValues: ["1", "2"],
		claims: { openid: ["sub", "roles"], acr: null, auth_time: null, sid: null },
		conformIdTokenClaims: false,
		features: { devInteractions: { enabled: false }, backchannelLogout: { enabled: true } },
		pkce: { required: () => true },
		findAccount: (_ctx, id) => ({ accountId: id, claims: () => ({ sub: id, roles: ["clerk"] }) }),
		interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
		issueRefreshToken: () => true,
		// What is sent by a client is not looked up where it must not be: these are on this machine.
		fetch: (url, options) => fetch(url, options),
		ttl: { AccessToken: 600, AuthorizationCode: 60, Grant: 600, Interaction: 600, Session: 600, IdToken: 600, RefreshToken: 600 },
	});
	provider.on("server_error", (_ctx, err) => console.error(err));
	provider.on("backchannel.error", (_ctx, err) => console.error(err));
	const answer = provider.callback();
	server.on("request", async (req, res) => {
		if (!req.url.startsWith("/interaction/")) return answer(req, res);
		try {
			const { prompt, params, session } = await provider.interactionDetails(req, res);
			if (prompt.name === "login") {
				const acr = (params.acr_values ?? "1").split(" ")[0];
				return await provider.interactionFinished(req, res, { login: { accountId: "alice", acr } });
			}
			const grant = new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
			grant.addOIDCScope(params.scope ?? "openid");
			return await provider.interactionFinished(req, res, { consent: { grantId: await grant.save() } }, { mergeWithLastSubmission: true });
		} catch (err) {
			console.error(err);
			res.statusCode = 500;
			res.end();
		}
	});
	console.log(issuer);
});
