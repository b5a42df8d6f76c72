import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  believeManifest,
  type BelievedManifest,
  manifestJson,
  type PackageManifest,
  sign,
} from "@longshore/core/internal";
import { newOperatorKey, operatorRing, operatorSigner } from "../directory/index.ts";
import { sha256 } from "../store/index.ts";
import { keptManifests } from "./kept-manifests.ts";
import { listedPackages } from "./listed-packages.ts";

const key = newOperatorKey();
const ring = operatorRing(key.publicLine);
let folder: string;
let reports: string[];
const report = (text: string): void => void reports.push(text);
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "longshore-kept-"));
  reports = [];
});
afterEach(() => rmSync(folder, { recursive: true }));

async function believed(model: string, bytes: number, serial = 0, by = key): Promise<BelievedManifest> {
  const files = [{ path: "1/model.onnx", bytes, digest: `sha256:${"0".repeat(64)}` }];
  const manifest: PackageManifest =
    serial === 0 ? { schemaVersion: 1, model, files } : { schemaVersion: 2, model, serial, files };
  const signed = await sign("package manifest", manifestJson(manifest), operatorSigner(by.privatePem));
  const rules = { ring: operatorRing(by.publicLine), hash: sha256 };
  return believeManifest(new TextEncoder().encode(JSON.stringify(signed)), rules);
}
const kept = (keys = ring) => keptManifests(folder, { ring: keys, report });
const only = (kind: string): string => join(folder, kind, readdirSync(join(folder, kind))[0]!);

describe("manifests of installed packages", () => {
  it("are found by digest and, the last one that was installed, by model", async () => {
    const [first, second, other] = [
      await believed("ocr", 1),
      await believed("ocr", 2),
      await believed("a", 3),
    ];
    for (const one of [first, second, other]) await kept().keep(one);
    expect(await kept().find({ model: "ocr" })).toEqual(second);
    expect(await kept().find({ digest: first.digest })).toEqual(first);
    expect(await kept().find({ model: "none" })).toBeUndefined();
    expect(await kept().find({ digest: "sha256:../../etc/passwd" })).toBeUndefined();
    expect(reports).toEqual([]);
  });

  it("are believed by the keys of today, and without keys by their digest only", async () => {
    const one = await believed("ocr", 1);
    await kept().keep(one);
    const without = keptManifests(folder, { report });
    expect(await without.find({ digest: one.digest })).toEqual(one);
    expect(await without.find({ model: "ocr" })).toBeUndefined();
    const other = operatorRing(newOperatorKey().publicLine);
    expect(await kept(other).find({ digest: one.digest })).toBeUndefined();
    expect(reports).toEqual([
      expect.stringMatching(/a kept manifest cannot be used .*not one of the operator's/),
    ]);
  });

  it.each([
    ["torn", '{"schemaVersion":1,"mod'],
    [
      "of another model",
      JSON.stringify({ schemaVersion: 1, model: "vad", digest: `sha256:${"0".repeat(64)}` }),
    ],
    ["of a later version", JSON.stringify({ schemaVersion: 2, model: "ocr", digest: "" })],
    ["long", "x".repeat(5000)],
  ])(
    "a record that is %s is reported and set aside, and the manifests give the serial",
    async (_what, text) => {
      const one = await believed("ocr", 1);
      await kept().keep(one);
      const path = only("installed");
      writeFileSync(path, text);
      const again = kept();
      expect(await again.find({ model: "ocr" })).toEqual(one);
      expect(reports).toEqual([expect.stringMatching(/installed package of ocr cannot be used \(.+\)/)]);
      await again.keep(one);
      expect(readFileSync(`${path}.damaged`, "utf8")).toBe(text);
      reports.length = 0;
      expect(await kept().find({ model: "ocr" })).toEqual(one);
      expect(reports).toEqual([]);
    },
  );

  it("a manifest that is torn, or another one than its name says, costs no other anything", async () => {
    const [one, other] = [await believed("ocr", 1), await believed("vad", 2)];
    await kept().keep(one);
    const path = only("manifests");
    await kept().keep(other);
    for (const text of ["{", JSON.stringify(other.signed), "x".repeat(5 * 2 ** 20)]) {
      writeFileSync(path, text);
      expect(await kept().find({ model: "ocr" })).toBeUndefined();
      expect(await kept().find({ model: "vad" })).toEqual(other);
    }
    expect(reports).toHaveLength(3);
    await kept().keep(one);
    expect(await kept().find({ model: "ocr" })).toEqual(one);
  });

  it("that cannot be written fail nothing, and are reported", async () => {
    writeFileSync(join(folder, "manifests"), "a file where a folder should be");
    await kept().keep(await believed("ocr", 1));
    expect(reports).toEqual([
      expect.stringMatching(/of ocr is here and cannot be remembered for a restart: \w+/),
    ]);
  });
});

describe("serials of installed packages", () => {
  const [older, newer] = [(by = key) => believed("ocr", 1, 5, by), () => believed("ocr", 2, 6)];
  const refused = { reason: "package-outdated" };

  it("refuse older ones, after a restart and for each model by itself", async () => {
    await kept().keep(await older());
    await kept().keep(await newer());
    await expect(kept().check(await older())).rejects.toMatchObject(refused);
    await expect(kept().check(await believed("ocr", 3, 6))).rejects.toMatchObject({ reason: "conflict" });
    await expect(kept().check(await believed("ocr", 3))).rejects.toMatchObject(refused);
    await kept().check(await newer());
    await kept().check(await believed("ocr", 3, 7));
    await kept().check(await believed("vad", 1, 1));
    await keptManifests(folder, { report }).check(await older());
    expect(reports).toEqual([]);
  });

  it.each(["installed", "manifests"])(
    "are known while one of their two files is there: without %s",
    async (kind) => {
      await kept().keep(await older());
      await kept().keep(await newer());
      rmSync(join(folder, kind), { recursive: true });
      await expect(kept().check(await older())).rejects.toMatchObject(refused);
    },
  );

  it("are not lowered by another process's later install", async () => {
    const [one, other] = [kept(), kept()];
    await one.keep(await newer());
    await other.keep(await older());
    await expect(kept().check(await older())).rejects.toMatchObject(refused);
    expect((await kept().find({ model: "ocr" }))?.manifest.serial).toBe(6);
  });

  it("count while they cannot be written down, and no longer than their key is the operator's", async () => {
    writeFileSync(join(folder, "manifests"), "a file where a folder should be");
    const full = kept();
    await full.keep(await newer());
    await expect(full.check(await older())).rejects.toMatchObject(refused);
    rmSync(join(folder, "manifests"));
    await kept().keep(await newer());
    const next = newOperatorKey();
    await kept(operatorRing(next.publicLine)).check(await older(next));
    const both = operatorRing(`${key.publicLine}\n${next.publicLine}\n`);
    await expect(kept(both).check(await older(next))).rejects.toMatchObject(refused);
  });
});

describe("the packages that a directory last named for a server", () => {
  const digests = [`sha256:${"1".repeat(64)}`];
  it("is there after a restart, for this server only", async () => {
    await listedPackages(folder, "till", report).save(digests);
    expect(await listedPackages(folder, "till", report).load()).toEqual(digests);
    expect(await listedPackages(folder, "other", report).load()).toEqual([]);
    expect(reports).toEqual([]);
  });

  it("are none, with a report, if their file is damaged or cannot be written", async () => {
    await listedPackages(folder, "till", report).save(digests);
    writeFileSync(only("told"), "{");
    expect(await listedPackages(folder, "till", report).load()).toEqual([]);
    rmSync(join(folder, "told"), { recursive: true });
    mkdirSync(join(folder, "none"));
    await listedPackages(join(folder, "none", "\0"), "till", report).save(digests);
    expect(reports).toEqual([
      expect.stringMatching(/gave till cannot be read; .*JSON/),
      expect.stringMatching(/gave till cannot be kept for a restart/),
    ]);
  });
});
