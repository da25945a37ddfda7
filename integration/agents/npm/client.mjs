// The official TypeScript SDK as a client: node client.mjs URL TOKEN|oauth STEP...
// Steps and lines are those of the Go program in ../sdk.
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

const [url, token, ...steps] = process.argv.slice(2);
const redirect = "http://127.0.0.1:1/callback";

// A browser whose user says yes to everything.
async function follow(target) {
	const jar = new Map();
	for (let i = 0; i < 10; i++) {
		const res = await fetch(target, { redirect: "manual", headers: { cookie: [...jar].map(([k, v]) => `${k}=${v}`).join("; ") } });
		for (const line of res.headers.getSetCookie()) {
			const [name, value] = line.split(";")[0].split("=");
			jar.set(name, value);
		}
		target = new URL(res.headers.get("location"), target).toString();
		if (target.startsWith(redirect)) return new URL(target).searchParams.get("code");
	}
	throw new Error("too many redirects");
}

let code, registered, tokens, verifier;
const authProvider = {
	redirectUrl: redirect,
	clientMetadata: { redirect_uris: [redirect], token_endpoint_auth_method: "none", client_name: "test", scope: process.env.SCOPES },
	clientInformation: () => registered,
	saveClientInformation: (info) => { registered = info; },
	tokens: () => tokens,
	saveTokens: (t) => { tokens = t; },
	codeVerifier: () => verifier,
	saveCodeVerifier: (v) => { verifier = v; },
	redirectToAuthorization: async (to) => {
		console.log(`authorize: resource=${to.searchParams.get("resource")} scope=${to.searchParams.get("scope") ?? ""}`);
		code = await follow(to.toString());
	},
};

async function connect() {
	const options = token === "oauth" ? { authProvider } : { requestInit: { headers: token ? { Authorization: `Bearer ${token}` } : {} } };
	const transport = new StreamableHTTPClientTransport(new URL(url), options);
	const client = new Client({ name: "test", version: "1" });
	try {
		await client.connect(transport);
		return client;
	} catch (err) {
		if (!code) throw err;
		await transport.finishAuth(code);
		code = undefined;
		return connect();
	}
}

const names = (list, member) => list.map((e) => e[member]).sort().join(" ");

async function run(client, step) {
	const [verb, rest] = [step.split(":")[0], step.slice(step.indexOf(":") + 1)];
	switch (verb) {
	case "tools": return names((await client.listTools()).tools, "name");
	case "prompts": return names((await client.listPrompts()).prompts, "name");
	case "resources": return names((await client.listResources()).resources, "uri");
	case "templates": return names((await client.listResourceTemplates()).resourceTemplates, "uriTemplate");
	case "get": return String((await client.getPrompt({ name: rest })).messages.length);
	case "read": return (await client.readResource({ uri: rest })).contents[0].text;
	case "call": {
		const name = rest.split(":")[0];
		const args = rest.slice(name.length + 1);
		return JSON.stringify(await client.callTool({ name, arguments: args ? JSON.parse(args) : {} }));
	}
	}
	throw new Error(`no step ${step}`);
}

try {
	const client = await connect();
	for (const step of steps) {
		try {
			console.log(`${step}: ${await run(client, step)}`);
		} catch (err) {
			console.log(`${step}: ${typeof err.code === "number" ? `error ${err.code} ${err.message.replace(/^MCP error -?\d+: /, "")}` : `failed: ${err.message}`}`);
		}
	}
	await client.close();
} catch (err) {
	console.log("failed:", err.message);
	process.exit(1);
}
process.exit(0);
