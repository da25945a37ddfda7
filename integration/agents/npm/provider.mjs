// An authorization server (npm oidc-provider) that lets everybody in as "alice" and
// registers clients by itself: node provider.mjs RESOURCE SCOPE...
// It prints its issuer.
import * as http from "node:http";
import Provider from "oidc-provider";

const [resource, ...scopes] = process.argv.slice(2);
const server = http.createServer();
server.listen(0, "127.0.0.1", () => {
	const issuer = `http://127.0.0.1:${server.address().port}`;
	const provider = new Provider(issuer, {
		scopes: ["openid", "offline_access", ...scopes],
		features: {
			registration: { enabled: true },
			devInteractions: { enabled: false },
			resourceIndicators: {
				enabled: true,
				// RFC 8707: the audience is the resource that the client has named.
				defaultResource: () => resource,
				useGrantedResource: () => true,
				getResourceServerInfo: (_ctx, indicator) => ({
					scope: scopes.join(" "), audience: indicator, accessTokenFormat: "jwt", jwt: { sign: { alg: "RS256" } },
				}),
			},
		},
		clientDefaults: { token_endpoint_auth_method: "none", grant_types: ["authorization_code", "refresh_token"], response_types: ["code"] },
		pkce: { required: () => true },
		findAccount: (_ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
		interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
		ttl: { AccessToken: 600, AuthorizationCode: 60, Grant: 600, Interaction: 600, Session: 600, IdToken: 600 },
	});
	provider.on("server_error", (_ctx, err) => console.error(err));
	const answer = provider.callback();
	server.on("request", async (req, res) => {
		if (!req.url.startsWith("/interaction/")) return answer(req, res);
		try {
			const { prompt, params, session } = await provider.interactionDetails(req, res);
			if (prompt.name === "login") return await provider.interactionFinished(req, res, { login: { accountId: "alice" } });
			const grant = new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
			grant.addOIDCScope(params.scope ?? "openid");
			grant.addResourceScope(params.resource ?? resource, params.scope ?? "");
			return await provider.interactionFinished(req, res, { consent: { grantId: await grant.save() } }, { mergeWithLastSubmission: true });
		} catch (err) {
			console.error(err);
			res.statusCode = 500;
			res.end();
		}
	});
	console.log(issuer);
});
