import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type RequestListener } from "node:http";
import { createServer as createSecureServer } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readFile } from "node:fs/promises";
import { exportJWK, generateKeyPair, SignJWT, UnsecuredJWT } from "jose";
import { afterEach, beforeEach, expect, it } from "vitest";
import { emptyBody, type WireRequest } from "@longshore/core";
import { manualClock } from "@longshore/testkit";
import { writeCertificate } from "../../test/certificates.ts";
import { openIdentity } from "./identity.ts";

let folder: string;
const after: (() => unknown)[] = [];
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "longshore-discovery-"));
});
afterEach(async () => {
  for (const undo of after.splice(0).reverse()) await undo();
  await rm(folder, { recursive: true });
});

const ask = (bearer: string): WireRequest => ({
  method: "GET",
  path: "/v2",
  headers: { authorization: `Bearer ${bearer}` },
  body: emptyBody,
  peer: { address: "192.0.2.7", loopback: false },
});

async function listening(answer: RequestListener, tls?: { cert: Buffer; key: Buffer }): Promise<string> {
  const server = tls ? createSecureServer(tls, answer) : createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  after.push(() => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  });
  return `${tls ? "https" : "http"}://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** An issuer whose document and keys a test can change, and the token that it wants for both. */
async function issuer(tls?: { cert: Buffer; key: Buffer }) {
  const pairs = [await generateKeyPair("ES256"), await generateKeyPair("ES256")];
  const state = {
    /** Of the pairs, the one that signs and is told. */
    key: 0,
    document: {} as Record<string, unknown>,
    wants: undefined as string | undefined,
    away: false,
    seen: [] as string[],
  };
  const address = await listening((request, response) => {
    state.seen.push(`${request.url ?? ""} ${request.headers.authorization ?? ""}`.trim());
    if (state.away) return void response.writeHead(503).end();
    if (state.wants !== undefined && request.headers.authorization !== `Bearer ${state.wants}`) {
      return void response.writeHead(401).end();
    }
    if (request.url?.endsWith("/.well-known/openid-configuration") === true) {
      return void response.end(JSON.stringify(state.document));
    }
    if (request.url?.endsWith("/jwks") !== true) return void response.writeHead(404).end();
    void exportJWK(pairs[state.key]!.publicKey).then((key) =>
      response.end(JSON.stringify({ keys: [{ ...key, kid: `k${state.key}`, alg: "ES256", use: "sig" }] })),
    );
  }, tls);
  state.document = { issuer: address, jwks_uri: `${address}/jwks` };
  const token = (claims: object = {}, key = state.key): Promise<string> =>
    new SignJWT({
      iss: address,
      aud: "longshore",
      exp: clock.wallMs() / 1000 + 600,
      tenant: "acme",
      ...claims,
    })
      .setProtectedHeader({ alg: "ES256", kid: `k${key}` })
      .sign(pairs[key]!.privateKey);
  return { address, state, token };
}

const clock = manualClock();

async function identityOf(address: string, more = "") {
  await writeFile(
    join(folder, "identity.yaml"),
    `tokens:\n  - { issuer: "${address}", audience: longshore, tenant: { claim: tenant }, rights: [infer]${more} }\nfailuresPerMinute: 1000\n`,
  );
  const reports: string[] = [];
  const identity = await openIdentity(join(folder, "identity.yaml"), {
    clock,
    report: (text) => void reports.push(text),
  });
  after.push(() => identity.close());
  return { who: (token: string) => identity.identify(ask(token)), reports };
}

const unauthenticated = { reason: "unauthenticated" };

it("finds the keys of an issuer that states its name alone, and follows when it turns them over", async () => {
  const { address, state, token } = await issuer();
  const { who } = await identityOf(address);
  expect(await who(await token())).toMatchObject({ tenant: "acme" });
  const old = await token();
  state.key = 1;
  await clock.advance(31_000);
  expect(await who(await token())).toMatchObject({ tenant: "acme" });
  // The key before was withdrawn.
  await expect(who(old)).rejects.toMatchObject(unauthenticated);
});

it("refuses wrong audiences, issuers, times and signatures", async () => {
  const { address, token } = await issuer();
  const { who } = await identityOf(address);
  const claims = { iss: address, aud: "longshore", exp: clock.wallMs() / 1000 + 600, tenant: "acme" };
  const [head = "", payload = ""] = (await token()).split(".");
  for (const bad of [
    await token({ aud: "other" }),
    await token({ iss: `${address}/` }),
    await token({ exp: clock.wallMs() / 1000 - 60 }),
    await token({ nbf: clock.wallMs() / 1000 + 600 }),
    await token({}, 1),
    new UnsecuredJWT(claims).encode(),
    `${head}.${payload}.`,
  ]) {
    await expect(who(bad)).rejects.toMatchObject(unauthenticated);
  }
  expect(await who(await token())).toMatchObject({ tenant: "acme" });
});

it.each<[string, (address: string) => unknown, string]>([
  ["of another issuer", () => ({ issuer: "https://evil.example", jwks_uri: "x" }), "is of another issuer"],
  [
    "of an issuer with a slash more",
    (at) => ({ issuer: `${at}/`, jwks_uri: `${at}/jwks` }),
    "is of another issuer",
  ],
  ["without an issuer", (at) => ({ jwks_uri: `${at}/jwks` }), "it names none"],
  ["without keys", (at) => ({ issuer: at }), "has no jwks_uri"],
  [
    "with keys over plain HTTP",
    (at) => ({ issuer: at, jwks_uri: "http://keys.example/jwks" }),
    "https address",
  ],
  ["with keys in a file", (at) => ({ issuer: at, jwks_uri: "file:///etc/passwd" }), "https address"],
  ["that is no object", () => [], "the discovery document"],
])("believes no token where the document is %s", async (_name, document, why) => {
  const { address, state, token } = await issuer();
  state.document = document(address) as Record<string, unknown>;
  const { who, reports } = await identityOf(address);
  await expect(who(await token())).rejects.toMatchObject({ reason: "rejected" });
  expect(reports.join("\n")).toContain(why);
});

it("starts while the issuer is away, refuses its tokens until it is back, and then takes them", async () => {
  const { address, state, token } = await issuer();
  state.away = true;
  const { who, reports } = await identityOf(address);
  await expect(who(await token())).rejects.toMatchObject({ reason: "rejected" });
  expect(reports.join("\n")).toContain("503");
  state.away = false;
  await clock.advance(31_000);
  expect(await who(await token())).toMatchObject({ tenant: "acme" });
});

it("reads keys of a cluster's service accounts with a pod's token and the cluster's authority, over TLS", async () => {
  const { tls, authorityFile } = await writeCertificate(folder);
  const { address, state, token } = await issuer({
    cert: await readFile(tls.certificate),
    key: await readFile(tls.key),
  });
  const pod = join(folder, "token");
  await writeFile(pod, "first\n");
  state.wants = "first";
  const access = `, keySet: { bearer: token, ca: ${authorityFile} }`;
  const serviceAccount = { "kubernetes.io": { namespace: "shop" } };
  const rules = access.replace("}", "}");
  const { who, reports } = await identityOf(address, rules);
  expect(await who(await token({ ...serviceAccount, sub: "system:serviceaccount:shop:edge" }))).toMatchObject(
    {
      tenant: "acme",
    },
  );
  // The kubelet replaces the token of a pod.
  state.wants = "second";
  await writeFile(pod, "second\n");
  state.key = 1;
  await clock.advance(31_000);
  expect(await who(await token())).toMatchObject({ tenant: "acme" });
  expect(reports).toEqual([]);
});

it("shows the token to the issuer's server alone, and trusts no other authority", async () => {
  const { tls, authorityFile } = await writeCertificate(folder);
  const files = { cert: await readFile(tls.certificate), key: await readFile(tls.key) };
  const { address, state, token } = await issuer(files);
  await writeFile(join(folder, "token"), "secret");
  const seen: (string | undefined)[] = [];
  const elsewhere = await listening((request, response) => {
    seen.push(request.headers.authorization);
    response.end("{}");
  }, files);
  state.document = { issuer: address, jwks_uri: `${elsewhere}/jwks` };
  const { who } = await identityOf(address, `, keySet: { bearer: token, ca: ${authorityFile} }`);
  await expect(who(await token())).rejects.toMatchObject({ reason: "rejected" });
  expect(seen).toEqual([undefined]);
  expect(state.seen[0]).toContain("secret");
  const untrusted = await identityOf(address);
  await expect(untrusted.who(await token())).rejects.toMatchObject({ reason: "rejected" });
});

it.each([
  ["issuer: shop, audience: a, tenant: t, rights: [infer]", "must be an https address"],
  ["issuer: http://id.example, audience: a, tenant: t, rights: [infer]", "must be an https address"],
  [
    "issuer: shop, audience: a, tenant: t, rights: [infer], keySet: { from: a.json, ca: b }",
    "keySet.from is a file",
  ],
  ["issuer: https://id.example, audience: a, tenant: t, rights: [infer], keySet: { ca: no.pem }", "no.pem"],
])("refuses %s", async (rule, why) => {
  await writeFile(join(folder, "identity.yaml"), `tokens:\n  - { ${rule} }\n`);
  await expect(
    openIdentity(join(folder, "identity.yaml"), { clock, report: () => undefined }),
  ).rejects.toMatchObject({
    reason: "invalid-configuration",
    message: expect.stringContaining(why) as string,
  });
});
