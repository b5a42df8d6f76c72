import { base64url, exportJWK, exportSPKI, generateKeyPair, type JWTPayload, SignJWT } from "jose";
import { beforeAll, describe, expect, it } from "vitest";
import { manualClock, untyped } from "@longshore/testkit";
import { type IssuerRule, tokenMechanism } from "./token.ts";

const clock = manualClock();
const nowS = (): number => clock.wallMs() / 1000;
const never = (): void => undefined;

interface Issuer {
  readonly privateKey: CryptoKey;
  readonly publicKey: CryptoKey;
  readonly jwk: object;
}

async function issuer(alg: string, kid: string): Promise<Issuer> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
  return { privateKey, publicKey, jwk: { ...(await exportJWK(publicKey)), kid, alg, use: "sig" } };
}

let es: Issuer;
let rs: Issuer;
beforeAll(async () => {
  es = await issuer("ES256", "es-1");
  rs = await issuer("RS256", "rs-1");
});

const rule: IssuerRule = {
  issuer: "https://id.example/",
  audience: "longshore",
  keySet: "https://id.example/jwks.json",
  tenant: { claim: "tenant" },
  rights: { claim: "scope" },
};

const claims: JWTPayload = { sub: "alice", tenant: "acme", scope: "infer segment:infer openid" };

interface Change {
  readonly header?: object;
  readonly key?: CryptoKey | Uint8Array;
}

/** A good token, but for what a test changes. */
function token(payload: JWTPayload = {}, { header = {}, key = es.privateKey }: Change = {}): Promise<string> {
  return new SignJWT({
    iss: rule.issuer,
    aud: "longshore",
    iat: nowS(),
    exp: nowS() + 600,
    ...claims,
    ...payload,
  })
    .setProtectedHeader({ alg: "ES256", kid: "es-1", ...header })
    .sign(key);
}

const encode = (value: unknown): string => base64url.encode(JSON.stringify(value));

function mechanism(change: Partial<IssuerRule> = {}, keys: () => readonly object[] = () => [es.jwk, rs.jwk]) {
  const reports: string[] = [];
  let loads = 0;
  const identify = tokenMechanism([{ ...rule, ...change }], {
    clock,
    report: (text) => void reports.push(text),
    loadKeySet: async () => {
      loads += 1;
      return new TextEncoder().encode(JSON.stringify({ keys: keys() }));
    },
  });
  return { show: (text: string) => identify(text, never), reports, loads: () => loads, identify };
}

describe("a good token", () => {
  it("names tenant and rights by its claims, for any key", async () => {
    const { show } = mechanism();
    const wanted = { tenant: "acme", rights: new Set(["infer", "segment:infer"]), name: "token of alice" };
    expect(await show(await token())).toEqual(wanted);
    expect(
      await show(await token({}, { header: { alg: "RS256", kid: "rs-1" }, key: rs.privateKey })),
    ).toEqual(wanted);
    expect(await show(await token({ aud: ["others", "longshore"] }))).toEqual(wanted);
  });

  it("may name them in nested claims, by the operator's own words, or by its subject", async () => {
    const roles = mechanism({
      tenant: { claim: ["https://acme.example/org", "name"] },
      rights: {
        claim: ["realm_access", "roles"],
        grants: { runner: ["infer"], admin: ["manage", "observe"] },
      },
    });
    const text = await token({
      "https://acme.example/org": { name: "beta" },
      realm_access: { roles: ["runner", "admin", 7, "constructor"] },
    });
    expect(await roles.show(text)).toMatchObject({
      tenant: "beta",
      rights: new Set(["infer", "manage", "observe"]),
    });
    const { tenant: _tenant, rights: _rights, ...bare } = rule;
    const identify = tokenMechanism(
      [{ ...bare, subjects: [{ uri: "spiffe://store.example/till/*", tenant: "tills", rights: ["infer"] }] }],
      {
        clock,
        report: never,
        loadKeySet: async () => new TextEncoder().encode(JSON.stringify({ keys: [es.jwk] })),
      },
    );
    expect(await identify(await token({ sub: "spiffe://store.example/till/4" }), never)).toMatchObject({
      tenant: "tills",
    });
    for (const sub of ["spiffe://store.example/tills", "spiffe://store.example/till/../edge", "alice"]) {
      await expect(identify(await token({ sub }), never), sub).rejects.toMatchObject({
        reason: "not-permitted",
      });
    }
  });

  it("that names no tenant or no right may nothing", async () => {
    const { show } = mechanism();
    for (const payload of [
      { tenant: undefined },
      { tenant: "a b" },
      { tenant: 7 },
      { scope: "openid" },
      { scope: {} },
    ]) {
      await expect(show(await token(untyped(payload))), JSON.stringify(payload)).rejects.toMatchObject({
        reason: "not-permitted",
      });
    }
    const inherited = mechanism({ tenant: { claim: ["constructor", "name"] } });
    await expect(inherited.show(await token())).rejects.toMatchObject({ reason: "not-permitted" });
  });

  it("is checked once a minute, and forgotten when it expires", async () => {
    const { identify } = mechanism();
    let checks = 0;
    const count = (): void => void (checks += 1);
    await identify(await token(), never);
    const text = await token({ exp: nowS() + 30 });
    await identify(text, count);
    await identify(text, count);
    expect(checks).toBe(1);
    await clock.advance(29_000);
    await identify(text, count);
    expect(checks).toBe(1);
    // Past its own time, but within the skew that clocks are allowed.
    await clock.advance(10_000);
    await identify(text, count);
    expect(checks).toBe(2);
    await clock.advance(30_000);
    await expect(identify(text, count)).rejects.toMatchObject({ reason: "unauthenticated" });
  });
});

describe("a hostile token", () => {
  const bad: readonly [string, () => Promise<string>][] = [
    [
      "unsigned (alg none)",
      async () => `${encode({ alg: "none", kid: "es-1" })}.${(await token()).split(".")[1]}.`,
    ],
    [
      "unsigned in another spelling",
      async () => `${encode({ alg: "nOnE" })}.${(await token()).split(".")[1]}.`,
    ],
    [
      "signed by HMAC with the public key as secret (PEM)",
      async () =>
        token(
          {},
          {
            header: { alg: "HS256", kid: "rs-1" },
            key: new TextEncoder().encode(await exportSPKI(rs.publicKey)),
          },
        ),
    ],
    [
      "signed by HMAC with the public key as secret (JWK)",
      () =>
        token(
          {},
          { header: { alg: "HS256", kid: "rs-1" }, key: new TextEncoder().encode(JSON.stringify(rs.jwk)) },
        ),
    ],
    [
      "with a key of its own in the header",
      async () => {
        const own = await issuer("ES256", "own");
        return token({}, { header: { jwk: own.jwk, kid: "own" }, key: own.privateKey });
      },
    ],
    [
      "with a key of its own under a known kid",
      async () => token({}, { key: (await issuer("ES256", "es-1")).privateKey }),
    ],
    [
      "that names the address of its keys",
      async () => {
        const own = await issuer("ES256", "own");
        return token({}, { header: { jku: "http://169.254.169.254/jwks", kid: "own" }, key: own.privateKey });
      },
    ],
    ["whose kid is a path", () => token({}, { header: { kid: "../../../../dev/null" } })],
    ["whose kid is a query", () => token({}, { header: { kid: "es-1' OR '1'='1" } })],
    ["whose kid is a property of objects", () => token({}, { header: { kid: "__proto__" } })],
    ["for one key under the kid of another", () => token({}, { header: { kid: "rs-1" } })],
    [
      "with a critical header that is not understood",
      async () => {
        const [, payload, signature] = (await token()).split(".");
        return `${encode({ alg: "ES256", kid: "es-1", crit: ["b64", "exp"], exp: 0 })}.${payload}.${signature}`;
      },
    ],
    ["that has expired", () => token({ exp: nowS() - 31 })],
    ["that never expires", () => token(untyped({ exp: undefined }))],
    ["that expires at a text", () => token({ exp: untyped("tomorrow") })],
    ["that is not valid yet", () => token({ nbf: nowS() + 31 })],
    ["that was issued in the future", () => token({ iat: nowS() + 3600 })],
    ["for another audience", () => token({ aud: "others" })],
    ["for an audience that begins like ours", () => token({ aud: "longshore-admin" })],
    ["for nobody", () => token({ aud: [] })],
    ["of another issuer", () => token({ iss: "https://evil.example/" })],
    ["of an issuer that is a list", () => token({ iss: untyped([rule.issuer]) })],
    [
      "with a changed claim",
      async () => {
        const [header, payload, signature] = (await token()).split(".");
        const changed = {
          ...(JSON.parse(new TextDecoder().decode(base64url.decode(payload!))) as object),
          tenant: "beta",
        };
        return `${header}.${encode(changed)}.${signature}`;
      },
    ],
    ["without its signature", async () => `${(await token()).split(".").slice(0, 2).join(".")}.`],
    ["with a signature in another form", async () => `${await token()}AA`],
    ["encrypted instead of signed", async () => "eyJhbGciOiJkaXIiLCJlbmMiOiJBMTI4R0NNIn0..AAAA.AAAA.AAAA"],
    ["that is no token", async () => "abc"],
    ["of empty parts", async () => ".."],
    ["whose header is a list", async () => `${encode([])}.${encode(claims)}.AAAA`],
    ["nested deeply", async () => `${base64url.encode(`{"alg":${"[".repeat(3000)}`)}.e30.AAAA`],
  ];
  it.each(bad)("%s is refused without saying why", async (_name, make) => {
    const { show, loads } = mechanism();
    await expect(show(await make())).rejects.toMatchObject({
      reason: "unauthenticated",
      message: "the token is not valid here",
    });
    expect(loads()).toBeLessThanOrEqual(2);
  });

  it("is refused in any algorithm that the operator does not list", async () => {
    const { show } = mechanism({ algorithms: ["RS256"] });
    await expect(show(await token())).rejects.toMatchObject({ reason: "unauthenticated" });
  });

  it("of the wrong type or too old is refused where the operator says so", async () => {
    const { show } = mechanism({ type: "at+jwt", maxAgeMs: 60_000 });
    await expect(show(await token())).rejects.toMatchObject({ reason: "unauthenticated" });
    const header = { typ: "at+jwt" };
    await expect(show(await token({ iat: nowS() - 120 }, { header }))).rejects.toMatchObject({
      reason: "unauthenticated",
    });
    expect(await show(await token({}, { header }))).toMatchObject({ tenant: "acme" });
  });

  it("makes no issuer of a secret in the key set", async () => {
    const secret = new Uint8Array(32).fill(1);
    const oct = { kty: "oct", k: base64url.encode(secret), kid: "oct", alg: "HS256" };
    const { show } = mechanism({}, () => [oct, es.jwk]);
    await expect(
      show(await token({}, { header: { alg: "HS256", kid: "oct" }, key: secret })),
    ).rejects.toMatchObject({
      reason: "unauthenticated",
    });
  });
});
