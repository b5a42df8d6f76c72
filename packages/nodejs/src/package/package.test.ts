import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Clock, LongshoreError, seededRandom } from "@longshore/core";
import {
  type BelievedManifest,
  housekeepingCall,
  manifestDigest,
  manifestFrom,
  manifestJson,
  type PackageManifest,
  type PackageSource,
  sign,
} from "@longshore/core/internal";
import { memoryStore } from "@longshore/testkit";
import { newOperatorKey, operatorRing, operatorSigner } from "../directory/index.ts";
import { sha256 } from "../store/index.ts";
import { packageCache } from "./cache.ts";
import { fetchPackage } from "./fetch-package.ts";
import { layeredStore, packageStore } from "./package-store.ts";

const key = newOperatorKey();
const operator = operatorSigner(key.privatePem);
const ring = operatorRing(key.publicLine);
const call = housekeepingCall("test");
const digestOf = (bytes: Uint8Array): string => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
const content = (size: number, seed: number): Uint8Array =>
  Uint8Array.from({ length: size }, (_, index) => (index * 31 + seed * 7 + (index >> 8)) & 255);

let folder: string;
let wallMs = 1_700_000_000_000;
/** The disk takes the time it takes: pauses are over at once, silence is none, and the time of day is what a test says. */
const clock: Clock = {
  nowMs: () => wallMs,
  wallMs: () => wallMs,
  timer(delayMs, fire) {
    const handle = setImmediate(() => delayMs < 20_000 && fire());
    return { [Symbol.dispose]: () => clearImmediate(handle) };
  },
};
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "longshore-package-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

interface Faults {
  /** Instead of the file's bytes from some byte on. */
  readonly serve?: (whole: Uint8Array, fromByte: number, tried: number) => AsyncIterable<Uint8Array>;
  readonly manifest?: (text: string) => string;
  /** Only whole files. */
  readonly noRanges?: boolean;
}

async function* chunks(bytes: Uint8Array, size = 1000): AsyncIterable<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += size) yield bytes.subarray(at, at + size);
}

/** A package of a model, and a source of it that may misbehave. */
async function packageOf(files: Readonly<Record<string, Uint8Array>>, faults: Faults = {}, by = operator) {
  const manifest: PackageManifest = {
    schemaVersion: 1,
    model: "vad",
    files: Object.entries(files).map(([path, bytes]) => ({
      path,
      bytes: bytes.byteLength,
      digest: digestOf(bytes),
    })),
  };
  const signed = JSON.stringify(await sign("package manifest", manifestJson(manifest), by));
  const asked: { readonly digest: string; readonly fromByte: number }[] = [];
  const source: PackageSource = {
    name: "the source",
    manifest: async () => new TextEncoder().encode(faults.manifest?.(signed) ?? signed),
    async file(_packageDigest, digest, fromByte) {
      asked.push({ digest, fromByte });
      const whole = Object.values(files).find((bytes) => digestOf(bytes) === digest);
      if (!whole) throw new LongshoreError("unknown-model", "resolve", "no such file");
      const from = faults.noRanges ? 0 : fromByte;
      const read = () => faults.serve?.(whole, from, asked.length) ?? chunks(whole.subarray(from));
      return { fromByte: from, read };
    },
  };
  return { manifest, digest: await manifestDigest(manifest, sha256), source, asked };
}

const fetched = (
  source: PackageSource,
  wanted: { digest: string } | { model: string },
  maxBytes = 1e6,
  rings = ring,
) => {
  const cache = packageCache(folder, { clock, maxBytes });
  const parts = { source, cache, clock, random: seededRandom(1), ring: rings };
  return fetchPackage(parts, wanted, call).then((one) => ({ one, cache }));
};
const kept = (): readonly string[] => [...readdirSync(join(folder, "blobs"))];
const underWay = (): readonly string[] => readdirSync(join(folder, "parts"));

describe("fetching a package", () => {
  const files = {
    "1/model.onnx": content(5000, 1),
    "model.yaml": content(40, 2),
    "empty.txt": new Uint8Array(0),
  };

  it("brings every file, checked, and fetches none twice", async () => {
    const { source, digest, asked } = await packageOf({ ...files, "2/model.onnx": files["1/model.onnx"] });
    const { one, cache } = await fetched(source, { model: "vad" });
    expect(one.digest).toBe(digest);
    expect(asked).toHaveLength(2);
    for (const bytes of Object.values(files)) expect(await cache.read(digestOf(bytes))).toEqual(bytes);
    await fetched(source, { digest });
    expect(asked).toHaveLength(2);
    expect(underWay()).toEqual([]);
  });

  it("goes on where a connection broke off, also in another process", async () => {
    const breaking: Faults = {
      async *serve(whole, fromByte, tried) {
        yield whole.subarray(fromByte, fromByte + 1500);
        if (tried < 4) throw new LongshoreError("no-answer", "transport", "the connection broke");
        yield* chunks(whole.subarray(fromByte + 1500));
      },
    };
    const { source, asked } = await packageOf({ "1/model.onnx": files["1/model.onnx"] }, breaking);
    await fetched(source, { model: "vad" });
    expect(asked.map(({ fromByte }) => fromByte)).toEqual([0, 1500, 3000, 4500]);
  });

  it("begins again if only whole files can be had, and if the earlier bytes are useless", async () => {
    const { source, asked, manifest } = await packageOf(
      { "1/model.onnx": files["1/model.onnx"] },
      { noRanges: true },
    );
    const [file] = manifest.files;
    const cache = packageCache(folder, { clock });
    const broken = async () => ({ fromByte: 0, read: () => chunks(content(2000, 9)) });
    await expect(cache.fill(file!, broken, call)).rejects.toMatchObject({ reason: "no-answer" });
    await fetched(source, { model: "vad" });
    expect(asked.map(({ fromByte }) => fromByte)).toEqual([2000]);
    rmSync(join(folder, "blobs", file!.digest.slice(7)));
    await expect(cache.fill(file!, broken, call)).rejects.toMatchObject({ reason: "no-answer" });
    const ranged = await packageOf({ "1/model.onnx": files["1/model.onnx"] });
    await fetched(ranged.source, { model: "vad" });
    expect(ranged.asked.map(({ fromByte }) => fromByte)).toEqual([2000, 0]);
  });

  it.each<readonly [string, Faults, LongshoreError["reason"]]>([
    [
      "other bytes of the right length",
      { serve: (whole) => chunks(whole.map((byte) => byte ^ 1)) },
      "bad-reply",
    ],
    [
      "a body that does not end",
      {
        async *serve(whole) {
          for (;;) yield whole.subarray(0, 100);
        },
      },
      "bad-reply",
    ],
    ["one byte too many", { serve: (whole) => chunks(Uint8Array.of(...whole, 0)) }, "bad-reply"],
    [
      "too few bytes, again and again",
      { noRanges: true, serve: (whole) => chunks(whole.subarray(0, 9)) },
      "no-answer",
    ],
    ["a manifest that was changed", { manifest: (text) => text.replace("5000", "4999") }, "not-permitted"],
    [
      "a manifest without signature",
      { manifest: (text) => `{"body":${JSON.stringify(JSON.parse(text).body)}}` },
      "not-permitted",
    ],
    ["a manifest that is none", { manifest: () => "<html>" }, "bad-reply"],
    [
      "a manifest with a path that leads out",
      { manifest: (text) => text.replace("1/model.onnx", "../model.onnx") },
      "bad-reply",
    ],
  ])("refuses %s, and keeps nothing of it", async (_name, faults, reason) => {
    const { source } = await packageOf({ "1/model.onnx": files["1/model.onnx"] }, faults);
    await expect(fetched(source, { model: "vad" })).rejects.toMatchObject({ reason });
    const cache = packageCache(folder, { clock });
    expect(await cache.read(digestOf(files["1/model.onnx"]))).toBeUndefined();
    if (reason === "bad-reply" && faults.serve) expect([...kept(), ...underWay()]).toEqual([]);
  });

  it("refuses a stranger's signature, another digest, and another model than requested", async () => {
    const strange = await packageOf(files, {}, operatorSigner(newOperatorKey().privatePem));
    await expect(fetched(strange.source, { model: "vad" })).rejects.toMatchObject({
      reason: "not-permitted",
    });
    const { source } = await packageOf(files);
    const other = { digest: `sha256:${"0".repeat(64)}` };
    await expect(fetched(source, other)).rejects.toMatchObject({ reason: "bad-reply" });
    await expect(fetched(source, { model: "ocr" })).rejects.toMatchObject({ reason: "bad-reply" });
  });

  it("without keys believes only the given digest", async () => {
    const { source, digest } = await packageOf(files);
    const cache = packageCache(folder, { clock });
    const parts = { source, cache, clock, random: seededRandom(1) };
    await expect(fetchPackage(parts, { model: "vad" }, call)).rejects.toMatchObject({
      reason: "not-permitted",
    });
    expect((await fetchPackage(parts, { digest }, call)).manifest.model).toBe("vad");
  });
});

describe("the cache", () => {
  const wanted = (bytes: Uint8Array) => ({ digest: digestOf(bytes), bytes: bytes.byteLength });
  const from = (bytes: Uint8Array) => async () => ({ fromByte: 0, read: () => chunks(bytes) });

  it("makes room by the least recently used, never by pinned files, and refuses files that do not fit", async () => {
    const cache = packageCache(folder, { clock, maxBytes: 3000 });
    const [a, b, c, d] = [1, 2, 3, 4].map((seed) => content(1000, seed)) as [
      Uint8Array,
      Uint8Array,
      Uint8Array,
      Uint8Array,
    ];
    for (const one of [a, b, c]) {
      await cache.fill(wanted(one), from(one), call);
      wallMs += 5000;
    }
    // Used again, so b is the one that was used least recently.
    await cache.read(digestOf(a));
    wallMs += 5000;
    await cache.fill(wanted(d), from(d), call);
    expect(await Promise.all([a, b, c, d].map((one) => cache.has(digestOf(one))))).toEqual([
      true,
      false,
      true,
      true,
    ]);
    {
      using _two = cache.pin([c, d].map(digestOf));
      const two = content(2000, 6);
      // Even without the removable files it would not fit: they stay.
      await expect(cache.fill(wanted(two), from(two), call)).rejects.toMatchObject({
        reason: "disk-full",
      });
    }
    using _pin = cache.pin([a, c, d].map(digestOf));
    await expect(cache.fill(wanted(b), from(b), call)).rejects.toMatchObject({ reason: "disk-full" });
    expect(await Promise.all([a, b, c, d].map((one) => cache.has(digestOf(one))))).toEqual([
      true,
      false,
      true,
      true,
    ]);
    const large = content(4000, 5);
    await expect(cache.fill(wanted(large), from(large), call)).rejects.toMatchObject({
      reason: "disk-full",
    });
  });

  it("fetches a file once for all callers at the same time", async () => {
    const cache = packageCache(folder, { clock });
    const bytes = content(5000, 1);
    let asked = 0;
    const open = async () => ({ fromByte: 0, read: () => (asked++, chunks(bytes)) });
    await Promise.all([1, 2, 3].map(() => cache.fill(wanted(bytes), open, call)));
    expect(asked).toBe(1);
  });

  it("throws away a file that has changed on disk, and does not follow names that are no digests", async () => {
    const cache = packageCache(folder, { clock });
    const bytes = content(100, 1);
    await cache.fill(wanted(bytes), from(bytes), call);
    writeFileSync(join(folder, "blobs", digestOf(bytes).slice(7)), content(100, 2));
    expect(await cache.read(digestOf(bytes))).toBeUndefined();
    expect(await cache.has(digestOf(bytes))).toBe(false);
    await expect(cache.read("sha256:../../../etc/passwd")).rejects.toMatchObject({ reason: "invalid-input" });
  });

  it("reports a disk that cannot be written as a lack of room", async () => {
    const bytes = content(100, 1);
    // A file where the folder of parts should be stands for a disk that refuses.
    const cache = packageCache(join(folder, "cache"), { clock });
    await cache.fill(wanted(bytes), from(bytes), call);
    const other = content(100, 2);
    const failing = async () => ({
      fromByte: 0,
      async *read(): AsyncIterable<Uint8Array> {
        yield other.subarray(0, 10);
        throw Object.assign(new Error("no space left on device"), { code: "ENOSPC" });
      },
    });
    await expect(cache.fill(wanted(other), failing, call)).rejects.toMatchObject({ reason: "disk-full" });
    expect(readdirSync(join(folder, "cache", "parts"))).toEqual([]);
    expect(statSync(join(folder, "cache", "blobs", digestOf(bytes).slice(7))).mode & 0o077).toBe(0);
    expect(readFileSync(join(folder, "cache", "blobs", digestOf(bytes).slice(7))).byteLength).toBe(100);
  });
});

describe("manifests", () => {
  const manifest = (...paths: readonly string[]): unknown => ({
    schemaVersion: 1,
    model: "m",
    files: paths.map((path) => ({ path, bytes: 1, digest: `sha256:${"0".repeat(64)}` })),
  });

  it.each([
    "../up",
    "a/../b",
    "/etc/passwd",
    "a//b",
    "./a",
    "a/.",
    "a\\b",
    "C:/a",
    "a:b",
    ".hidden",
    "a/..",
    "end.",
    "end ",
    "con",
    "AUX.onnx",
    "1/nul",
    "x\u0000y",
    "\u202emodel",
    "package.json",
    `${"d/".repeat(9)}x`,
    "x".repeat(200),
    "",
  ])("refuse the path %j", (path) => {
    expect(() => manifestFrom(manifest(path), "m")).toThrow(
      expect.objectContaining({ reason: "invalid-input" }) as Error,
    );
  });

  it("refuse names that differ in case only, files that are folders too, and unknown fields", () => {
    for (const wrong of [
      manifest("a", "A"),
      manifest("a", "a/b"),
      { ...(manifest("a") as object), run: "me" },
    ]) {
      expect(() => manifestFrom(wrong, "m")).toThrow();
    }
    expect(manifestFrom(manifest("model.yaml", "1/model.onnx", "con-fig/x"), "m").files).toHaveLength(3);
  });

  it("accept no path that leads out of a folder, of any form", () => {
    const part = fc.constantFrom("..", ".", "", "a", "b.onnx", "~", "\\", "c:", "..a", "a..");
    fc.assert(
      fc.property(fc.array(part, { minLength: 1, maxLength: 6 }), (parts) => {
        const path = parts.join("/");
        let taken = true;
        try {
          manifestFrom(manifest(path), "m");
        } catch {
          taken = false;
        }
        if (taken) expect(join("/root", path)).toBe(`/root/${path}`);
      }),
    );
  });
});

describe("a store of packages", () => {
  it("is a repository of the fetched models, beside another", async () => {
    const files = { "1/model.onnx": content(50, 1), "model.yaml": content(9, 2) };
    const { source } = await packageOf(files);
    const { one, cache } = await fetched(source, { model: "vad" });
    const store = packageStore(cache);
    store.put(one);
    const both = layeredStore(memoryStore({ "ocr/model.yaml": "x", "ocr/1/model.onnx": "y" }), store);
    expect((await both.list(""))?.map(({ name }) => name).sort()).toEqual(["ocr", "vad"]);
    expect((await both.list("vad"))?.map(({ name, directory }) => [name, directory])).toEqual([
      ["1", true],
      ["model.yaml", false],
    ]);
    expect(await both.list("vad/2")).toBeUndefined();
    expect(await both.list("none")).toBeUndefined();
    expect(await both.read("vad/1/model.onnx")).toEqual(files["1/model.onnx"]);
    expect(new TextDecoder().decode(await both.read("ocr/model.yaml"))).toBe("x");
    const manifest = JSON.parse(
      new TextDecoder().decode(await both.read("vad/package.json")),
    ) as BelievedManifest["signed"];
    expect(manifest.body.model).toBe("vad");
    const opened = await both.open?.("vad/1/model.onnx", 40);
    const rest: Uint8Array[] = [];
    for await (const chunk of opened!.read()) rest.push(chunk);
    expect([opened?.bytes, Buffer.concat(rest)]).toEqual([
      50,
      Buffer.from(files["1/model.onnx"].subarray(40)),
    ]);
    rmSync(join(folder, "blobs", digestOf(files["model.yaml"]).slice(7)));
    await expect(both.read("vad/model.yaml")).rejects.toMatchObject({ reason: "invalid-model" });
    store.remove("vad");
    expect(await both.read("vad/1/model.onnx")).toBeUndefined();
  });
});
