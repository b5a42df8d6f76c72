import { generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { createServer, type RequestListener, type Server } from "node:http";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { openIdProvider } from "../install/index.ts";
import { writeRepository } from "../models.ts";
import { freePort, type RunningPeer, startOwn } from "../servers/index.ts";
import { inFolder, type Open, type Part, type PartContext, reportCheck } from "./part.ts";

const model = "simple";
const data = Array.from({ length: 16 }, () => 1);
const body = JSON.stringify({
  inputs: ["INPUT0", "INPUT1"].map((name) => ({ name, datatype: "INT32", shape: [1, 16], data })),
});
const secret = "a secret of this test";

/** The part of the package that is used here; it has no types of its own. */
interface ProviderModule {
  readonly default: new (
    issuer: string,
    configuration: object,
  ) => { callback(): RequestListener; proxy: boolean };
}

/** A private key as a JWK. */
type Key = Readonly<Record<string, unknown>>;

function newKey(kid: string): Key {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  return { ...privateKey.export({ format: "jwk" }), kid, use: "sig", alg: "ES256" };
}

function configurationOf(keys: readonly Key[]): object {
  const client = (id: string): object => ({
    client_id: id,
    client_secret: secret,
    grant_types: ["client_credentials"],
    redirect_uris: [],
    response_types: [],
    id_token_signed_response_alg: "ES256",
  });
  return {
    jwks: { keys },
    clients: [client("till"), client("stranger")],
    scopes: ["infer", "observe"],
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_context: unknown, resource: string) => ({
          scope: "infer observe",
          audience: resource.split(":")[1],
          accessTokenTTL: resource.endsWith(":brief") ? 1 : 600,
          accessTokenFormat: "jwt",
          jwt: { sign: { alg: "ES256" } },
        }),
      },
    },
  };
}

/** An OpenID Provider whose keys can change while it listens. */
class Issuer {
  readonly #module: ProviderModule;
  readonly #port: number;
  readonly issuer: string;
  #answer: RequestListener;
  #server: Server | undefined;

  private constructor(module: ProviderModule, port: number, keys: readonly Key[]) {
    this.#module = module;
    this.#port = port;
    this.issuer = `http://127.0.0.1:${port}`;
    this.#answer = this.#with(keys);
  }

  static async start(module: ProviderModule, keys: readonly Key[]): Promise<Issuer> {
    const issuer = new Issuer(module, await freePort(), keys);
    const server = createServer((request, response) => issuer.#answer(request, response));
    server.listen(issuer.#port, "127.0.0.1");
    await once(server, "listening");
    issuer.#server = server;
    return issuer;
  }

  #with(keys: readonly Key[]): RequestListener {
    const Provider = this.#module.default;
    return new Provider(this.issuer, configurationOf(keys)).callback();
  }

  /** The first key signs from now on. */
  rotate(keys: readonly Key[]): void {
    this.#answer = this.#with(keys);
  }

  /** A token by client credentials. A resource `urn:NAME[:brief]` is for the audience NAME. */
  async token(client: string, scope: string, resource = "urn:longshore"): Promise<string> {
    const reply = await fetch(`${this.issuer}/token`, {
      method: "POST",
      headers: { authorization: `Basic ${btoa(`${client}:${encodeURIComponent(secret)}`)}` },
      body: new URLSearchParams({ grant_type: "client_credentials", scope, resource }),
    });
    const { access_token: token, ...others } = (await reply.json()) as { readonly access_token?: string };
    if (token === undefined) throw new Error(`no token: ${JSON.stringify(others)}`);
    return token;
  }

  async close(): Promise<void> {
    this.#server?.closeAllConnections();
    this.#server?.close();
  }
}

/** The status of an inference with a token, or of another path. */
async function ask(server: RunningPeer, token: string, path?: string): Promise<number> {
  const headers = { authorization: `Bearer ${token}` };
  const infer = { method: "POST", headers, body };
  const reply = await fetch(
    `http://${server.http}${path ?? `/v2/models/${model}/infer`}`,
    path === undefined ? infer : { headers },
  );
  await reply.arrayBuffer();
  return reply.status;
}

function expectStatus(what: string, status: number, wanted: number): void {
  if (status !== wanted) throw new Error(`${what}: ${status}, not ${wanted}`);
}

async function untilStatus(wanted: number, look: () => Promise<number>): Promise<void> {
  let last = 0;
  for (let round = 0; round < 240; round++) {
    last = await look();
    if (last === wanted) return;
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
  throw new Error(`${last}, and not ${wanted} within a minute`);
}

/** A token whose claims were changed after it was signed. */
function forged(token: string): string {
  const [header = "", payload = "", signature = ""] = token.split(".");
  const claims = JSON.parse(Buffer.from(payload, "base64url").toString()) as object;
  const changed = Buffer.from(JSON.stringify({ ...claims, client_id: "owner" })).toString("base64url");
  return [header, changed, signature].join(".");
}

interface World {
  readonly server: RunningPeer;
  /** Stated by its name alone. */
  readonly plain: Issuer;
  /** Whose keys are read again after a second. */
  readonly rotating: Issuer;
  readonly keys: readonly [first: Key, second: Key];
  readonly module: ProviderModule;
}

const checks: Readonly<Record<string, (world: World) => Promise<string>>> = {
  "a token is taken from an issuer that is stated by its name alone": async ({ server, plain }) => {
    expectStatus("without a token", await ask(server, ""), 401);
    expectStatus("with one", await ask(server, await plain.token("till", "infer")), 200);
    return "keys found by its discovery document";
  },
  "tenant and rights come from its claims": async ({ server, plain }) => {
    const observer = await plain.token("till", "observe");
    expectStatus("metrics with the scope observe", await ask(server, observer, "/metrics"), 200);
    expectStatus("inference with the scope observe", await ask(server, observer), 403);
    const infers = await plain.token("till", "infer");
    expectStatus("metrics with the scope infer", await ask(server, infers, "/metrics"), 403);
    expectStatus(
      "a tenant that is not listed",
      await ask(server, await plain.token("stranger", "infer")),
      403,
    );
    return "scope and client_id";
  },
  "tokens for others, late ones and forged ones are refused": async ({ server, plain, keys, module }) => {
    expectStatus("another audience", await ask(server, await plain.token("till", "infer", "urn:other")), 401);
    const brief = await plain.token("till", "infer", "urn:longshore:brief");
    await untilStatus(401, () => ask(server, brief));
    expectStatus("changed claims", await ask(server, forged(await plain.token("till", "infer"))), 401);
    const stranger = await Issuer.start(module, keys);
    const foreign = await stranger.token("till", "infer");
    await stranger.close();
    expectStatus("an issuer that is not listed", await ask(server, foreign), 401);
    return "audience, expiry, signature, issuer";
  },
  "keys rotate, and a withdrawn one counts no more": async ({ server, rotating, keys }) => {
    const before = await rotating.token("till", "infer");
    expectStatus("the first key", await ask(server, before), 200);
    rotating.rotate([keys[1], keys[0]]);
    const after = await rotating.token("till", "infer");
    await untilStatus(200, () => ask(server, after));
    expectStatus("the first key beside the second", await ask(server, before), 200);
    rotating.rotate([keys[1]]);
    await untilStatus(401, () => ask(server, before));
    expectStatus("the second key", await ask(server, after), 200);
    return "two keys, one after the other";
  },
  "known keys count while the issuer is away": async ({ server, rotating }) => {
    const token = await rotating.token("till", "infer");
    await untilStatus(200, () => ask(server, token));
    await rotating.close();
    // Its keys are read again after a second, in vain.
    await new Promise((resolve) => setTimeout(resolve, 1500));
    for (let round = 0; round < 3; round++) expectStatus("a known key", await ask(server, token), 200);
    return "three requests after its keys were due";
  },
};

async function check(context: PartContext, folder: string, open: Open[]): Promise<void> {
  const file = await openIdProvider();
  // The module is of that package and version; what is used of it is stated above.
  const module = (await import(pathToFileURL(file).href)) as ProviderModule;
  const keys = [newKey("first"), newKey("second")] as const;
  const plain = await Issuer.start(module, [newKey("plain")]);
  open.push(plain);
  const rotating = await Issuer.start(module, [keys[0]]);
  open.push(rotating);
  const claims = [
    "    audience: longshore",
    "    type: at+jwt",
    "    clockSkewMs: 0",
    "    tenant: { claim: client_id }",
    "    rights: { claim: scope }",
  ];
  const identity = [
    "tokens:",
    `  - issuer: ${plain.issuer}`,
    ...claims,
    `  - issuer: ${rotating.issuer}`,
    ...claims,
    "    keySet: { refreshMs: 1000, cooldownMs: 100 }",
    "failuresPerMinute: 1000",
    `tenants: { till: { models: [${model}] } }`,
  ];
  await writeFile(join(folder, "identity.yaml"), `${identity.join("\n")}\n`);
  const repository = join(folder, "models");
  await writeRepository(repository);
  const server = await startOwn({ repository, args: ["--identity", join(folder, "identity.yaml")] });
  open.push(server);
  for (const [name, work] of Object.entries(checks)) {
    await reportCheck(context, name, () => work({ server, plain, rotating, keys, module }));
  }
}

/** Tokens of a real OpenID Provider, checked by a server. */
export const oidcPart: Part = {
  name: "oidc",
  run: (context) => inFolder("oidc", (folder, open) => check(context, folder, open)),
};
