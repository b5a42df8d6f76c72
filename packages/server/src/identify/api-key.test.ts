import { describe, expect, it } from "vitest";
import { emptyBody } from "@longshore/core";
import { manualClock } from "@longshore/testkit";
import { keyHasher, newApiKey, parseApiKey } from "./api-key.ts";
import { equalBytes } from "./equal-bytes.ts";
import { keyFileWork, type KeyRecord, parseKeyFile, writeKeyFile } from "./key-file.ts";
import { createKeyRing } from "./key-ring.ts";

const pepper = new Uint8Array(32).fill(7);
const request = { method: "GET", path: "/v2", headers: {}, body: emptyBody } as const;

async function record(text: string, more: Partial<KeyRecord> = {}): Promise<KeyRecord> {
  const hasher = await keyHasher(pepper);
  return {
    id: parseApiKey(text)!.id,
    hash: await hasher.hash(text),
    tenant: "acme",
    rights: ["infer"],
    createdMs: 1_700_000_000_000,
    ...more,
  };
}

describe("API keys", () => {
  it("are of the form that scanners know, never twice the same, and read back", () => {
    const keys = Array.from({ length: 50 }, () => newApiKey());
    for (const { id, text } of keys) {
      expect(text).toMatch(/^lsk_[0-9a-f]{16}_[A-Za-z0-9_-]{43}$/);
      expect(parseApiKey(text)).toEqual({ id, text });
    }
    expect(new Set(keys.map(({ text }) => text)).size).toBe(50);
  });

  it.each([
    "",
    "lsk_",
    "lsk_0123456789abcdef_short",
    "LSK_0123456789abcdef_",
    "lsk_0123456789abcdeg_x",
    "a".repeat(9000),
  ])("cannot be '%s'", (text) => {
    expect(parseApiKey(text)).toBeUndefined();
  });

  it("are hashed under the pepper: another pepper gives another hash", async () => {
    const { text } = newApiKey();
    const one = await (await keyHasher(pepper)).hash(text);
    const other = await (await keyHasher(new Uint8Array(32).fill(8))).hash(text);
    expect(one.byteLength).toBe(32);
    expect(equalBytes(one, other)).toBe(false);
    expect(equalBytes(one, await (await keyHasher(pepper)).hash(text))).toBe(true);
  });
});

describe("equalBytes", () => {
  it("looks at every byte, wherever the first difference is", () => {
    const secret = Uint8Array.from({ length: 32 }, (_, index) => index);
    const reads = (differsAt: number | undefined): number => {
      const guess = secret.slice();
      if (differsAt !== undefined) guess[differsAt]! ^= 0xff;
      let count = 0;
      const watched = new Proxy(guess, {
        get(target, key) {
          if (typeof key === "string" && /^\d+$/.test(key)) count += 1;
          return Reflect.get(target, key, target) as unknown;
        },
      });
      expect(equalBytes(secret, watched)).toBe(differsAt === undefined);
      return count;
    };
    expect([reads(undefined), reads(0), reads(15), reads(31)]).toEqual([32, 32, 32, 32]);
  });

  it("never takes bytes of another length for the same", () => {
    expect(equalBytes(new Uint8Array(31), new Uint8Array(32))).toBe(false);
    expect(equalBytes(new Uint8Array(0), new Uint8Array(0))).toBe(true);
  });
});

describe("the file of keys", () => {
  it("holds everything but the key, and reads back its own output", async () => {
    const { text } = newApiKey();
    const records = [
      await record(text, { note: "till 4", expiresMs: 1_800_000_000_000, revokedMs: 1_750_000_000_000 }),
      await record(newApiKey().text, { rights: ["infer", "segment:infer", "head:read"] }),
    ];
    const written = writeKeyFile(records);
    expect(written).not.toContain(text.slice(21));
    expect(parseKeyFile(written)).toEqual(records);
  });

  it.each([
    ["not JSON", "{", "is not JSON"],
    ["another version", '{"schemaVersion":2,"keys":[]}', "schemaVersion"],
    ["an unknown field", '{"schemaVersion":1,"keys":[],"more":1}', "unknown key"],
    [
      "an unknown right",
      '{"schemaVersion":1,"keys":[{"id":"0123456789abcdef","hash":"' +
        "A".repeat(43) +
        '","tenant":"a","rights":["root"],"created":"2026-01-01T00:00:00.000Z"}]}',
      "keys.0.rights.0",
    ],
  ])("refuses %s", (_name, text, message) => {
    expect(() => parseKeyFile(text)).toThrow(
      expect.objectContaining({ reason: "invalid-configuration", message: expect.stringContaining(message) }),
    );
  });

  it("is read in steps, and names the entry that is wrong in whichever it is", async () => {
    const one = await record(newApiKey().text);
    const records = Array.from({ length: 2000 }, (_, index) => ({
      ...one,
      id: index.toString(16).padStart(16, "0"),
    }));
    const text = writeKeyFile(records);
    const work = keyFileWork(text);
    let steps = 1;
    while (work.next().done !== true) steps += 1;
    expect(steps).toBeGreaterThan(10);
    expect(parseKeyFile(text)).toEqual(records);
    const wrong = text.replace(/("id": "0{13}7cf",\s+"hash": ")/, "$1-");
    expect(() => parseKeyFile(wrong)).toThrow(/keys\.1999\.hash must be/);
  });

  it("has one list of keys", () => {
    expect(() => parseKeyFile('{"schemaVersion":1,"keys":[],"keys":[1]}')).toThrow(/keys must be one list/);
    expect(() => parseKeyFile('{"schemaVersion":1,"keys":1}')).toThrow(/the file of keys: keys /);
  });

  it("refuses two entries of one id", async () => {
    const one = await record(newApiKey().text);
    expect(() => parseKeyFile(writeKeyFile([one, one]))).toThrow(/two entries/);
  });
});

const byId = (...records: KeyRecord[]): ReadonlyMap<string, KeyRecord> =>
  new Map(records.map((one) => [one.id, one]));

describe("a key ring", () => {
  it("knows a key until it expires or is revoked, and never says which", async () => {
    const clock = manualClock();
    const ring = createKeyRing(clock);
    const [good, brief, revoked] = [newApiKey(), newApiKey(), newApiKey()];
    ring.replace(
      byId(
        await record(good.text),
        await record(brief.text, { expiresMs: clock.wallMs() + 1000 }),
        await record(revoked.text, { revokedMs: clock.wallMs() }),
      ),
      await keyHasher(pepper),
    );
    const show = (apiKey: string) => ring.identify(request, { apiKey });
    expect(await show(good.text)).toMatchObject({ tenant: "acme", name: `key ${good.id}` });
    expect(await show(brief.text)).toMatchObject({ tenant: "acme" });
    expect(await ring.identify(request, {})).toBeUndefined();
    await clock.advance(1000);
    const wrongSecret = `${good.text.slice(0, -1)}${good.text.endsWith("A") ? "B" : "A"}`;
    const bad = [brief.text, revoked.text, newApiKey().text, wrongSecret, "lsk_nonsense", `${good.text}x`];
    for (const text of bad) {
      await expect(show(text)).rejects.toMatchObject({
        reason: "unauthenticated",
        message: "the API key is not valid here",
      });
    }
  });

  it("forgets keys that are not in the file any more", async () => {
    const ring = createKeyRing(manualClock());
    const [first, second] = [newApiKey(), newApiKey()];
    const hasher = await keyHasher(pepper);
    ring.replace(byId(await record(first.text)), hasher);
    expect(await ring.identify(request, { apiKey: first.text })).toBeDefined();
    ring.replace(byId(await record(second.text)), hasher);
    await expect(ring.identify(request, { apiKey: first.text })).rejects.toMatchObject({
      reason: "unauthenticated",
    });
    expect(await ring.identify(request, { apiKey: second.text })).toBeDefined();
  });
});
