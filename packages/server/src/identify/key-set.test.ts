import { exportJWK, generateKeyPair, jwtVerify, SignJWT } from "jose";
import { describe, expect, it } from "vitest";
import { type ManualClock, manualClock, settle } from "@longshore/testkit";
import { fetchKeySet, keySetAddress } from "./fetch-key-set.ts";
import { createKeySet, type KeySet } from "./key-set.ts";

interface Signer {
  readonly jwk: object;
  sign(): Promise<string>;
}

async function signer(kid: string): Promise<Signer> {
  const { privateKey, publicKey } = await generateKeyPair("ES256", { extractable: true });
  return {
    jwk: { ...(await exportJWK(publicKey)), kid },
    sign: () => new SignJWT({}).setProtectedHeader({ alg: "ES256", kid }).sign(privateKey),
  };
}

const options = { refreshMs: 600_000, keepMs: 3_600_000, cooldownMs: 30_000 };

/** An issuer that turns its keys over and goes away. */
function turning(clock: ManualClock, first: readonly object[]) {
  const state = { keys: first, down: false, loads: 0, reports: [] as string[] };
  const set = createKeySet(
    clock,
    async () => {
      state.loads += 1;
      await settle();
      if (state.down) throw new Error("connection refused");
      return new TextEncoder().encode(JSON.stringify({ keys: state.keys }));
    },
    options,
    (text) => void state.reports.push(text),
  );
  return { state, set };
}

const good = async (set: KeySet, one: Signer): Promise<boolean> => {
  await jwtVerify(await one.sign(), set.keyFor);
  return true;
};

describe("a key set", () => {
  it("is read with the first token, once for all that wait, and not again", async () => {
    const clock = manualClock();
    const one = await signer("1");
    const { state, set } = turning(clock, [one.jwk]);
    expect(state.loads).toBe(0);
    await Promise.all([good(set, one), good(set, one), good(set, one)]);
    await clock.advance(500_000);
    await good(set, one);
    expect(state.loads).toBe(1);
  });

  it("finds a new key at once, but fetches again for unknown ones only once in a while", async () => {
    const clock = manualClock();
    const [one, two, invented] = [await signer("1"), await signer("2"), await signer("../x")];
    const { state, set } = turning(clock, [one.jwk]);
    await good(set, one);
    await clock.advance(30_000);
    state.keys = [one.jwk, two.jwk];
    expect(await good(set, two)).toBe(true);
    expect(state.loads).toBe(2);
    expect(set.generation).toBe(2);
    for (let attempt = 0; attempt < 20; attempt += 1)
      await expect(good(set, invented)).rejects.toThrow(/no applicable key/);
    expect(state.loads).toBe(2);
    await clock.advance(30_000);
    await expect(good(set, invented)).rejects.toThrow(/no applicable key/);
    expect(state.loads).toBe(3);
  });

  it("stops believing a key that the issuer withdrew, when it is refreshed", async () => {
    const clock = manualClock();
    const [one, two] = [await signer("1"), await signer("2")];
    const { state, set } = turning(clock, [one.jwk, two.jwk]);
    await good(set, one);
    state.keys = [two.jwk];
    await clock.advance(600_001);
    // This one still goes by the old keys: the refresh runs beside it.
    await good(set, one);
    await clock.advance(0);
    await settle();
    await expect(good(set, one)).rejects.toThrow(/no applicable key/);
    expect(await good(set, two)).toBe(true);
  });

  it.each([
    ["nothing", []],
    ["what is no key for signatures", [{ kty: "RSA", use: "enc", n: "AQAB", e: "AQAB" }]],
  ])(
    "stops believing the only key of an issuer that has withdrawn it and left %s, and says so",
    async (_what, left) => {
      const clock = manualClock();
      const [one, two] = [await signer("1"), await signer("2")];
      const { state, set } = turning(clock, [one.jwk]);
      await good(set, one);
      state.keys = left;
      await clock.advance(600_001);
      // Refreshed beside the request that noticed.
      await good(set, one);
      await settle();
      await expect(good(set, one)).rejects.toMatchObject({ code: "ERR_JWKS_NO_MATCHING_KEY" });
      expect(state.reports).toEqual(["a token issuer has no public key for signatures"]);
      state.keys = [two.jwk];
      await clock.advance(30_001);
      await good(set, two);
    },
  );

  it("keeps the last known keys while the issuer is away, and not for ever", async () => {
    const clock = manualClock();
    const one = await signer("1");
    const { state, set } = turning(clock, [one.jwk]);
    await good(set, one);
    state.down = true;
    await clock.advance(3_600_000);
    expect(await good(set, one)).toBe(true);
    await clock.advance(30_001);
    await expect(good(set, one)).rejects.toMatchObject({ reason: "rejected", retryAfterMs: 30_000 });
    expect(state.reports.at(-1)).toContain("connection refused");
    state.down = false;
    await clock.advance(30_001);
    expect(await good(set, one)).toBe(true);
  });

  it.each([
    ["no JSON", "<html>"],
    ["no keys", '{"keys":{}}'],
    ["only secrets", '{"keys":[{"kty":"oct","k":"AAAA"}]}'],
    ["too many keys", JSON.stringify({ keys: Array.from({ length: 65 }, () => ({ kty: "EC" })) })],
  ])("with %s is no key set, and identifies no sender", async (_name, text) => {
    const reports: string[] = [];
    const set = createKeySet(
      manualClock(),
      async () => new TextEncoder().encode(text),
      options,
      (one) => void reports.push(one),
    );
    await expect(good(set, await signer("1"))).rejects.toMatchObject({ reason: "rejected" });
    expect(reports).toHaveLength(1);
  });
});

describe("fetching a key set", () => {
  const answer =
    (response: () => Response | Promise<Response>): typeof fetch =>
    async () =>
      response();
  const at = "https://id.example/jwks.json";

  it.each([
    "http://id.example/jwks",
    "ftp://id.example/",
    "//id.example",
    "file:///etc/passwd",
    "http://169.254.169.254/",
  ])("refuses the address %s", (address) => {
    expect(() => keySetAddress(address)).toThrow(
      expect.objectContaining({ reason: "invalid-configuration" }),
    );
  });

  it("follows no redirect, sends no credentials, and reads the reply", async () => {
    const asked: RequestInit[] = [];
    const get: typeof fetch = async (_url, init = {}) => {
      asked.push(init);
      return new Response("{}");
    };
    expect(await fetchKeySet(at, { clock: manualClock(), fetch: get })).toEqual(
      new TextEncoder().encode("{}"),
    );
    expect(asked[0]).toMatchObject({ redirect: "error", credentials: "omit" });
  });

  it("gives up on replies that are too large, too slow, or no key set", async () => {
    const clock = manualClock();
    const endless = new ReadableStream<Uint8Array>({
      pull: (controller) => controller.enqueue(new Uint8Array(65_536)),
    });
    await expect(fetchKeySet(at, { clock, fetch: answer(() => new Response(endless)) })).rejects.toThrow(
      /more than 262144/,
    );
    await expect(
      fetchKeySet(at, { clock, fetch: answer(() => new Response("", { status: 503 })) }),
    ).rejects.toThrow(/503/);
    const silent: typeof fetch = (_url, init) =>
      new Promise((_, reject) => {
        init?.signal?.addEventListener("abort", () => reject(init.signal?.reason as Error));
      });
    await expect(clock.finish(fetchKeySet(at, { clock, fetch: silent }))).rejects.toThrow(/within 5000 ms/);
    expect(clock.armed()).toBe(0);
  });
});
