// The real npm oidc-provider, with its own forms for signing in (any name, any password) and consent.
//
// The one argument is JSON {"entry", "issuer", "port", "clients"}; prints `listening` when it does.
import { generateKeyPairSync } from "node:crypto";
import { pathToFileURL } from "node:url";

const plan = JSON.parse(process.argv[2]);
const { default: Provider } = await import(pathToFileURL(plan.entry));
const jwk = (type, options, more) => ({
  ...generateKeyPairSync(type, options).privateKey.export({ format: "jwk" }),
  use: "sig",
  ...more,
});
const provider = new Provider(plan.issuer, {
  clients: plan.clients,
  jwks: {
    keys: [
      jwk("rsa", { modulusLength: 2048 }, { kid: "rs", alg: "RS256" }),
      jwk("ec", { namedCurve: "P-256" }, { kid: "es", alg: "ES256" }),
    ],
  },
  cookies: { keys: ["a key of the tests"] },
  claims: { openid: ["sub", "groups"], email: ["email", "email_verified"] },
  conformIdTokenClaims: false,
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({
      sub: id,
      email: `${id}@corp.example`,
      email_verified: true,
      groups: id.startsWith("boss") ? ["bosses"] : ["staff"],
    }),
  }),
});
provider.on("server_error", (_, error) => console.error(error));
provider.listen(plan.port, "127.0.0.1", () => console.log("listening"));
