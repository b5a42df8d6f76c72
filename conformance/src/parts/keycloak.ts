import { cp, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { keycloak } from "../install/index.ts";
import { writeRepository } from "../models.ts";
import { freePort, type RunningPeer, startOwn, startServerProcess } from "../servers/index.ts";
import { inFolder, type Open, type Part, type PartContext, reportCheck } from "./part.ts";

const model = "simple";
const data = Array.from({ length: 16 }, () => 1);
const body = JSON.stringify({
  inputs: ["INPUT0", "INPUT1"].map((name) => ({ name, datatype: "INT32", shape: [1, 16], data })),
});
const secret = "a secret of this test";
const admin = { name: "admin", password: "of this test" };

/** A realm as the guide describes it: scopes for rights, an audience mapper, and a claim for the tenant. */
function realm(): object {
  const scope = (name: string): object => ({
    name,
    protocol: "openid-connect",
    attributes: { "include.in.token.scope": "true" },
  });
  const mapper = (name: string, kind: string, config: object): object => ({
    name,
    protocol: "openid-connect",
    protocolMapper: kind,
    config: { ...config, "access.token.claim": "true" },
  });
  const caller = (clientId: string, mappers: readonly object[]): object => ({
    clientId,
    secret,
    publicClient: false,
    clientAuthenticatorType: "client-secret",
    serviceAccountsEnabled: true,
    standardFlowEnabled: false,
    defaultClientScopes: ["infer"],
    optionalClientScopes: ["observe"],
    protocolMappers: mappers,
  });
  const audience = mapper("audience", "oidc-audience-mapper", { "included.client.audience": "longshore" });
  const tenant = mapper("tenant", "oidc-hardcoded-claim-mapper", {
    "claim.name": "tenant",
    "claim.value": "till",
    "jsonType.label": "String",
  });
  return {
    realm: "store",
    enabled: true,
    sslRequired: "none",
    clientScopes: [scope("infer"), scope("observe")],
    clients: [
      { clientId: "longshore", bearerOnly: true },
      caller("till", [audience, tenant]),
      caller("stranger", [tenant]),
    ],
  };
}

/** A running Keycloak. */
interface Running {
  readonly address: string;
}

async function start(folder: string, open: Open[]): Promise<Running> {
  const installed = await keycloak();
  // It reads realms from its own folder, and writes there at each start.
  const own = join(folder, "keycloak");
  await cp(installed, own, { recursive: true });
  await mkdir(join(own, "data", "import"), { recursive: true });
  await writeFile(join(own, "data", "import", "store.json"), JSON.stringify(realm()));
  const port = await freePort();
  const address = `http://127.0.0.1:${port}`;
  const args = ["start-dev", "--import-realm", "--http-host=127.0.0.1", `--http-port=${port}`];
  const process = await startServerProcess({
    command: join(own, "bin", "kc.sh"),
    args,
    env: {
      KC_BOOTSTRAP_ADMIN_USERNAME: admin.name,
      KC_BOOTSTRAP_ADMIN_PASSWORD: admin.password,
      JAVA_OPTS_KC_HEAP: "-Xms64m -Xmx512m",
    },
    readyUrl: `${address}/realms/store/.well-known/openid-configuration`,
    readyMs: 900_000,
  });
  open.push(process);
  return { address };
}

async function tokenOf(url: string, form: Readonly<Record<string, string>>): Promise<string> {
  const reply = await fetch(url, { method: "POST", body: new URLSearchParams(form) });
  const { access_token: token, ...others } = (await reply.json()) as { readonly access_token?: string };
  if (token === undefined) throw new Error(`no token: ${JSON.stringify(others)}`);
  return token;
}

function tokenFor({ address }: Running, client: string, scope = "infer"): Promise<string> {
  return tokenOf(`${address}/realms/store/protocol/openid-connect/token`, {
    grant_type: "client_credentials",
    client_id: client,
    client_secret: secret,
    scope,
  });
}

/** Gives the realm another key, which signs from now on. */
async function rotate({ address }: Running): Promise<void> {
  const token = await tokenOf(`${address}/realms/master/protocol/openid-connect/token`, {
    grant_type: "password",
    client_id: "admin-cli",
    username: admin.name,
    password: admin.password,
  });
  const reply = await fetch(`${address}/admin/realms/store/components`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    body: JSON.stringify({
      name: "second",
      providerId: "rsa-generated",
      providerType: "org.keycloak.keys.KeyProvider",
      config: {
        priority: ["500"],
        enabled: ["true"],
        active: ["true"],
        algorithm: ["RS256"],
        keySize: ["2048"],
      },
    }),
  });
  if (reply.status !== 201) throw new Error(`another key: ${reply.status} ${await reply.text()}`);
}

const keyId = (token: string): unknown =>
  (
    JSON.parse(Buffer.from(token.split(".", 1).join(""), "base64url").toString()) as {
      readonly kid?: unknown;
    }
  ).kid;

async function ask(server: RunningPeer, token: string, path?: string): Promise<number> {
  const headers = { authorization: `Bearer ${token}` };
  const infer = { method: "POST", headers, body };
  const address = `http://${server.http}${path ?? `/v2/models/${model}/infer`}`;
  const reply = await fetch(address, path === undefined ? infer : { headers });
  await reply.arrayBuffer();
  return reply.status;
}

function expectStatus(what: string, status: number, wanted: number): void {
  if (status !== wanted) throw new Error(`${what}: ${status}, not ${wanted}`);
}

const checks: Readonly<Record<string, (server: RunningPeer, running: Running) => Promise<string>>> = {
  "a client's token is taken, with tenant and rights by the realm's mappers": async (server, running) => {
    expectStatus("inference", await ask(server, await tokenFor(running, "till")), 200);
    expectStatus(
      "metrics without the scope",
      await ask(server, await tokenFor(running, "till"), "/metrics"),
      403,
    );
    const observer = await tokenFor(running, "till", "observe");
    expectStatus("metrics with it", await ask(server, observer, "/metrics"), 200);
    return "found by the realm's address alone";
  },
  "a token for another audience is refused, and a forged one": async (server, running) => {
    expectStatus("another audience", await ask(server, await tokenFor(running, "stranger")), 401);
    const [head, claims] = (await tokenFor(running, "till")).split(".");
    const [, , signature] = (await tokenFor(running, "stranger")).split(".");
    expectStatus("another's signature", await ask(server, `${head}.${claims}.${signature}`), 401);
    return "401";
  },
  "a new key of the realm is read when its first token comes": async (server, running) => {
    const before = await tokenFor(running, "till");
    await rotate(running);
    const after = await tokenFor(running, "till");
    if (keyId(before) === keyId(after)) throw new Error("the realm signs with the old key");
    expectStatus("the new key", await ask(server, after), 200);
    expectStatus("the old key", await ask(server, before), 200);
    return `${String(keyId(before)).slice(0, 8)} and ${String(keyId(after)).slice(0, 8)}`;
  },
};

async function check(context: PartContext, folder: string, open: Open[]): Promise<void> {
  const running = await start(folder, open);
  const identity = [
    "tokens:",
    `  - issuer: ${running.address}/realms/store`,
    "    audience: longshore",
    "    keySet: { cooldownMs: 100 }",
    "    tenant: { claim: tenant }",
    "    rights: { claim: scope }",
    `tenants: { till: { models: [${model}] } }`,
  ];
  await writeFile(join(folder, "identity.yaml"), `${identity.join("\n")}\n`);
  const repository = join(folder, "models");
  await writeRepository(repository);
  const server = await startOwn({ repository, args: ["--identity", join(folder, "identity.yaml")] });
  open.push(server);
  for (const [name, work] of Object.entries(checks)) {
    await reportCheck(context, name, () => work(server, running));
  }
}

/** Tokens of a real Keycloak, checked by a server. */
export const keycloakPart: Part = {
  name: "keycloak",
  dear: true,
  run: (context) => inFolder("keycloak", (folder, open) => check(context, folder, open)),
};
