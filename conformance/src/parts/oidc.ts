import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { writeRepository } from "../models.ts";
import { forged, Issuer, type Key, newKey, type RunningPeer, startOwn } from "../servers/index.ts";
import { inFolder, type Open, type Part, type PartContext, reportCheck } from "./part.ts";

const model = "simple";
const data = Array.from({ length: 16 }, () => 1);
const body = JSON.stringify({
  inputs: ["INPUT0", "INPUT1"].map((name) => ({ name, datatype: "INT32", shape: [1, 16], data })),
});
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

interface World {
  readonly server: RunningPeer;
  /** Stated by its name alone. */
  readonly plain: Issuer;
  /** The server reads its keys again after a second. */
  readonly rotating: Issuer;
  readonly keys: readonly [first: Key, second: Key];
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
  "tokens for others, late ones and forged ones are refused": async ({ server, plain, keys }) => {
    expectStatus("another audience", await ask(server, await plain.token("till", "infer", "urn:other")), 401);
    const brief = await plain.token("till", "infer", "urn:longshore:brief");
    await untilStatus(401, () => ask(server, brief));
    expectStatus("changed claims", await ask(server, forged(await plain.token("till", "infer"))), 401);
    const stranger = await Issuer.start(keys);
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
  const keys = [newKey("first"), newKey("second")] as const;
  const plain = await Issuer.start([newKey("plain")]);
  open.push(plain);
  const rotating = await Issuer.start([keys[0]]);
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
    await reportCheck(context, name, () => work({ server, plain, rotating, keys }));
  }
}

/** Tokens of a real OpenID Provider, checked by a server. */
export const oidcPart: Part = {
  name: "oidc",
  run: (context) => inFolder("oidc", (folder, open) => check(context, folder, open)),
};
