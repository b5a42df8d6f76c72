import { exportJWK, generateKeyPair, SignJWT } from "jose";
import { beforeAll, describe, expect, it } from "vitest";
import { emptyBody, type Peer, type WireRequest } from "@longshore/core";
import { sourceOf } from "@longshore/core/internal";
import { manualClock } from "@longshore/testkit";
import { keyHasher, newApiKey } from "./api-key.ts";
import { parseIdentity } from "./configuration.ts";
import { createIdentify } from "./create-identify.ts";
import type { Right } from "./identity.ts";

const clock = manualClock();
const away: Peer = { address: "192.0.2.7", loopback: false, encrypted: true };
const fingerprint = "ab".repeat(32);

const certified = (uris: readonly string[], more: object = {}): Peer => ({
  ...away,
  certificate: { verified: true, fingerprint, subject: "CN=x", uris, ...more },
});

const ask = (headers: Record<string, string> = {}, peer: Peer = away): WireRequest => ({
  method: "POST",
  path: "/v2/models/m/infer",
  headers,
  body: emptyBody,
  peer,
});

const yaml = (more = "", order = ""): string => `
${order}
certificates:
  - { uri: "spiffe://store.example/edge/*", tenant: edge, rights: [infer, segment:infer, head:read], speaksFor: [acme, beta] }
  - { uri: "spiffe://store.example/gateway", tenant: gateway, rights: [infer, manage], speaksFor: "*" }
  - { fingerprint: ${fingerprint}, tenant: pinned, rights: [observe] }
tokens:
  - issuer: https://id.example/
    audience: longshore
    keySet: jwks.json
    tenant: { claim: tenant }
    rights: { claim: scope }
keys: { file: keys.json }
${more}
`;

const open = `
loopback: { rights: [infer, manage] }
anonymous: { tenant: guests, rights: [infer] }
`;

let keys: CryptoKeyPair;
beforeAll(async () => {
  keys = await generateKeyPair("ES256", { extractable: true });
});

const key = newApiKey();

async function gate(text: string) {
  const jwks = new TextEncoder().encode(JSON.stringify({ keys: [await exportJWK(keys.publicKey)] }));
  const made = createIdentify({
    configuration: parseIdentity(text),
    clock,
    loadKeySet: async () => jwks,
    report: () => undefined,
  });
  const hasher = await keyHasher(new Uint8Array(32));
  const hash = await hasher.hash(key.text);
  const record = {
    id: key.id,
    hash,
    tenant: "acme",
    rights: ["infer", "segment:infer"],
    createdMs: 0,
  } as const;
  made.keys.replace(new Map([[key.id, record]]), hasher);
  return async (request: WireRequest) => {
    const { tenant, rights, known, sees } = await made.identify(request);
    return { tenant, rights: [...rights], known, sees };
  };
}

const token = (claims: object = {}): Promise<string> =>
  new SignJWT({
    iss: "https://id.example/",
    aud: "longshore",
    exp: clock.wallMs() / 1000 + 3600,
    tenant: "beta",
    scope: "infer",
    ...claims,
  })
    .setProtectedHeader({ alg: "ES256" })
    .sign(keys.privateKey);

const bearer = (text: string): Record<string, string> => ({ authorization: `Bearer ${text}` });
const edge = certified(["spiffe://store.example/edge/7"]);
const gateway = certified(["spiffe://store.example/gateway"]);
const unauthenticated = { reason: "unauthenticated" };
const notPermitted = { reason: "not-permitted" };

describe("the sender", () => {
  it("is named by any one of the mechanisms", async () => {
    const identify = await gate(yaml(open));
    const cases: readonly [string, WireRequest, string, readonly Right[]][] = [
      ["key as bearer", ask(bearer(key.text)), "acme", ["infer", "segment:infer"]],
      ["key in its header", ask({ "x-api-key": key.text }), "acme", ["infer", "segment:infer"]],
      ["token", ask(bearer(await token())), "beta", ["infer"]],
      ["SPIFFE ID", ask({}, edge), "edge", ["infer", "segment:infer", "head:read"]],
      ["fingerprint", ask({}, certified([])), "pinned", ["observe"]],
      ["this machine", ask({}, { address: "127.0.0.1", loopback: true }), "local", ["infer", "manage"]],
      ["nobody", ask(), "guests", ["infer"]],
    ];
    for (const [name, request, tenant, rights] of cases) {
      expect(await identify(request), name).toMatchObject({ tenant, rights });
    }
  });

  it("is the first of several good credentials, in the declared order", async () => {
    const both = ask({ "x-api-key": key.text, ...bearer(await token()) }, edge);
    expect(await (await gate(yaml()))(both)).toMatchObject({ tenant: "edge" });
    const tokensFirst = yaml("", "order: [tokens, keys, certificates]");
    expect(await (await gate(tokensFirst))(both)).toMatchObject({ tenant: "beta" });
    const keysFirst = yaml("", "order: [keys, certificates, tokens]");
    expect(await (await gate(keysFirst))(both)).toMatchObject({ tenant: "acme" });
  });

  it("is unknown without credentials if they are required, with no rights at all", async () => {
    expect(await (await gate(yaml()))(ask())).toMatchObject({ rights: [], known: false });
    const fromBrowser = ask({ origin: "https://evil.example" }, { address: "127.0.0.1", loopback: true });
    expect(await (await gate(yaml("loopback: { rights: [manage] }")))(fromBrowser)).toMatchObject({
      rights: [],
    });
  });
});

describe("a bad credential", () => {
  const other = newApiKey();
  it("is refused even if none is needed, and beside a good one", async () => {
    const identify = await gate(yaml(`${open}failuresPerMinute: 1000`));
    const expired = await token({ exp: clock.wallMs() / 1000 - 60 });
    const bad: readonly [string, Record<string, string>][] = [
      ["unknown key", bearer(other.text)],
      ["unknown key in its header", { "x-api-key": other.text }],
      ["half a key", bearer("lsk_12")],
      ["expired token", bearer(expired)],
      ["garbage", bearer("e30.e30.e30")],
      ["no credential", { authorization: "Bearer" }],
      ["no credential but a blank", { authorization: "Bearer " }],
      ["empty", { authorization: "" }],
      ["empty key", { "x-api-key": "" }],
      ["another scheme", { authorization: "Basic YTpi" }],
      ["two bearers in one header", { authorization: `Bearer ${key.text}, Bearer ${key.text}` }],
      ["two keys in one header", { "x-api-key": `${key.text}, ${key.text}` }],
      ["a key in both headers", { "x-api-key": key.text, ...bearer(key.text) }],
      ["a good key and a bad token", { "x-api-key": key.text, ...bearer(expired) }],
      ["a huge token", bearer(`eyJ${"A".repeat(9000)}`)],
      ["a line break", { authorization: `Bearer ${key.text}\r\nx-api-key: a` }],
    ];
    for (const peer of [away, edge, { address: "127.0.0.1", loopback: true }]) {
      for (const [name, headers] of bad) {
        await expect(identify(ask(headers, peer)), name).rejects.toMatchObject(unauthenticated);
      }
    }
  });

  it("of a certificate is refused too", async () => {
    const identify = await gate(yaml(open));
    const unsigned = certified(["spiffe://store.example/edge/7"], { verified: false });
    await expect(identify(ask({}, unsigned))).rejects.toMatchObject(unauthenticated);
    await expect(identify(ask(bearer(key.text), unsigned))).rejects.toMatchObject(unauthenticated);
    const strangers: readonly (readonly string[])[] = [
      ["spiffe://store.example/edge/7", "spiffe://store.example/gateway"],
      ["spiffe://store.example/edge"],
      ["spiffe://store.example/edge/"],
      ["spiffe://store.example/edge/../gateway"],
      ["spiffe://store.example/edge/%2e%2e"],
      ["spiffe://STORE.example/edge/7"],
      ["spiffe://store.example:8443/edge/7"],
      ["spiffe://user@store.example/edge/7"],
      ["spiffe://store.example/edge/7?x"],
      ["spiffe://store.example.evil/edge/7"],
      ["https://store.example/edge/7"],
      [`spiffe://store.example/edge/${"a".repeat(3000)}`],
    ];
    for (const uris of strangers) {
      const peer = certified(uris, { fingerprint: "cd".repeat(32) });
      await expect(identify(ask({}, peer)), uris.join()).rejects.toMatchObject(notPermitted);
    }
  });

  it("of a mechanism that is not configured is refused", async () => {
    const identify = await gate(open);
    await expect(identify(ask(bearer(key.text)))).rejects.toMatchObject(unauthenticated);
    await expect(identify(ask(bearer(await token())))).rejects.toMatchObject(unauthenticated);
  });

  it("again and again has its source wait, and no other", async () => {
    const identify = await gate(yaml(`${open}failuresPerMinute: 3`));
    const bad = bearer(other.text);
    for (let failure = 0; failure < 3; failure += 1) {
      await expect(identify(ask(bad))).rejects.toMatchObject(unauthenticated);
    }
    await expect(identify(ask(bad))).rejects.toMatchObject({ reason: "rejected", retryAfterMs: 20_000 });
    await expect(identify(ask(bearer(await token())))).rejects.toMatchObject({ reason: "rejected" });
    expect(await identify(ask(bearer(key.text)))).toMatchObject({ tenant: "acme" });
    const elsewhere = { ...away, address: "198.51.100.1" };
    await expect(identify(ask(bad, elsewhere))).rejects.toMatchObject(unauthenticated);
    expect(await identify(ask(bearer(await token()), elsewhere))).toMatchObject({ tenant: "beta" });
    await clock.advance(20_000);
    await expect(identify(ask(bad))).rejects.toMatchObject(unauthenticated);
  });

  it("is counted by the network that one party holds", () => {
    expect(sourceOf("2001:db8:1:2:aaaa::1")).toBe(sourceOf("2001:DB8:1:2:bbbb:cccc:dddd:eeee"));
    expect(sourceOf("2001:db8::1")).toBe("2001:db8:0:0");
    expect(sourceOf("::1")).toBe("0:0:0:0");
    expect(sourceOf("2001:db8:1:3::1")).not.toBe(sourceOf("2001:db8:1:2::1"));
    expect(sourceOf("192.0.2.7")).toBe("192.0.2.7");
    expect(sourceOf("::ffff:192.0.2.7")).toBe("192.0.2.7");
  });
});

describe("on behalf of another tenant", () => {
  const forAcme = { "longshore-tenant": "acme" };
  it("speaks only for configured tenants, and only from configured senders", async () => {
    const identify = await gate(yaml(open));
    expect(await identify(ask(forAcme, edge))).toMatchObject({ tenant: "acme" });
    expect(await identify(ask({ "longshore-tenant": "zeta" }, gateway))).toMatchObject({ tenant: "zeta" });
    const refused: readonly WireRequest[] = [
      ask({ "longshore-tenant": "zeta" }, edge),
      ask({ ...forAcme, ...bearer(await token()) }),
      ask(forAcme),
      ask(forAcme, certified([])),
      ask(forAcme, { address: "127.0.0.1", loopback: true }),
      ask({ "longshore-tenant": "" }, gateway),
      ask({ "longshore-tenant": "a b" }, gateway),
      ask({ "longshore-tenant": "acme, beta" }, gateway),
      ask({ "longshore-tenant": "../acme" }, gateway),
    ];
    for (const request of refused) {
      await expect(identify(request), JSON.stringify(request.headers)).rejects.toMatchObject(notPermitted);
    }
    expect(await identify(ask({ ...forAcme, ...bearer(key.text) }))).toMatchObject({ tenant: "acme" });
  });

  it("never gains a right: the rights of both, and without stated ones only to infer", async () => {
    const identify = await gate(yaml());
    const rights = async (headers: Record<string, string>, peer: Peer) =>
      (await identify(ask(headers, peer))).rights;
    const stating = (text: string) => ({ ...forAcme, "longshore-rights": text });
    expect(await rights(forAcme, edge)).toEqual(["infer"]);
    expect(await rights(stating("infer,segment:infer"), edge)).toEqual(["infer", "segment:infer"]);
    expect(await rights(stating("infer,segment:infer,manage,observe"), edge)).toEqual([
      "infer",
      "segment:infer",
    ]);
    expect(await rights(stating("segment:infer"), gateway)).toEqual([]);
    expect(await rights(stating(""), edge)).toEqual([]);
    expect(await rights(stating("root, __proto__"), edge)).toEqual([]);
    expect(await rights({ "longshore-rights": "infer,manage" }, edge)).toEqual(["infer"]);
  });

  it("is bounded by the view and rights of both tenants", async () => {
    const tenants = `
tenants:
  edge: { models: ["ocr*", voice] }
  acme: { models: [ocr-small, faces], rights: [infer] }
  gateway: {}
  pinned: {}
`;
    const identify = await gate(yaml(tenants));
    const both = await identify(ask({ ...forAcme, "longshore-rights": "infer,segment:infer" }, edge));
    expect(["ocr-small", "ocr-large", "faces", "voice"].filter((model) => both.sees?.(model))).toEqual([
      "ocr-small",
    ]);
    expect(both.rights).toEqual(["infer"]);
    const own = await identify(ask({}, edge));
    expect(["ocr", "ocr-large", "faces", "voice", "voices"].filter((model) => own.sees?.(model))).toEqual([
      "ocr",
      "ocr-large",
      "voice",
    ]);
    expect((await identify(ask({}, gateway))).sees).toBeUndefined();
    await expect(identify(ask(bearer(await token({ tenant: "zeta" }))))).rejects.toMatchObject(notPermitted);
    await expect(identify(ask({ "longshore-tenant": "zeta" }, gateway))).rejects.toMatchObject(notPermitted);
  });
});
