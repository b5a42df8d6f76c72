import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LongshoreError } from "../../words/base/index.ts";
import { checkPackageEnd, checkPackageSerial } from "./freshness.ts";
import { manifestFrom, type PackageManifest } from "./manifest.ts";

const manifest = (change: Partial<PackageManifest> = {}): PackageManifest => ({
  schemaVersion: 2,
  model: "ocr",
  files: [],
  serial: 5,
  ...change,
});
const plain: PackageManifest = { schemaVersion: 1, model: "ocr", files: [] };
const reasonOf = (attempt: () => void): string => {
  try {
    attempt();
    return "taken";
  } catch (thrown) {
    return LongshoreError.from(thrown, "identify", "a test").reason;
  }
};

describe("a manifest", () => {
  it.each([
    ["with a serial", manifest()],
    ["with a serial and an end", manifest({ notAfterMs: 1_800_000_000_000 })],
    ["of the first schema, without a serial", plain],
  ])("%s is read as it was written", (_what, one) => {
    expect(manifestFrom(one, "m")).toEqual(one);
  });

  it.each([
    ["of the second schema without a serial", { ...plain, schemaVersion: 2 }],
    ["of the first schema with a serial", { ...plain, serial: 1 }],
    ["of the first schema with an end", { ...plain, notAfterMs: 1 }],
    ["with serial 0", { ...plain, schemaVersion: 2, serial: 0 }],
    ["with half a serial", { ...plain, schemaVersion: 2, serial: 1.5 }],
    ["with an end after the year 9999", { ...plain, schemaVersion: 2, serial: 1, notAfterMs: 9e15 }],
    ["of a third schema", { ...plain, schemaVersion: 3 }],
  ])("%s is refused", (_what, one) => {
    expect(reasonOf(() => manifestFrom(one, "m"))).toBe("invalid-input");
  });
});

describe("the end of a package", () => {
  it("is the first instant at which it is refused, with a reason of its own", () => {
    const one = manifest({ notAfterMs: 1000 });
    expect(reasonOf(() => checkPackageEnd(one, 999))).toBe("taken");
    expect(reasonOf(() => checkPackageEnd(one, 1000))).toBe("package-expired");
    expect(reasonOf(() => checkPackageEnd(manifest(), Number.MAX_SAFE_INTEGER))).toBe("taken");
    expect(() => checkPackageEnd(one, 1000)).toThrow(
      "could be used until 1970-01-01T00:00:01.000Z: sign it again",
    );
  });
});

describe("the serial of a package", () => {
  const seen = { serial: 5, digest: "sha256:seen" };
  it.each([
    ["a later one", manifest({ serial: 6 }), "taken"],
    ["the same again", manifest(), "conflict"],
    ["an earlier one", manifest({ serial: 4 }), "package-outdated"],
    ["one without a serial", plain, "package-outdated"],
  ])("%s", (_what, one, reason) => {
    expect(reasonOf(() => checkPackageSerial({ digest: "sha256:other", manifest: one }, seen))).toBe(reason);
    expect(reasonOf(() => checkPackageSerial({ digest: "sha256:seen", manifest: one }, seen))).toBe("taken");
    expect(reasonOf(() => checkPackageSerial({ digest: "sha256:other", manifest: one }, undefined))).toBe(
      "taken",
    );
    expect(
      reasonOf(() =>
        checkPackageSerial({ digest: "sha256:other", manifest: one }, { serial: 0, digest: "" }),
      ),
    ).toBe("taken");
  });

  it("never goes down, in any order of packages", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(20), { maxLength: 30 }), (serials) => {
        let installed: { serial: number; digest: string } | undefined;
        for (const serial of serials) {
          const one = serial === 0 ? plain : manifest({ serial });
          const digest = `sha256:${serial}`;
          if (reasonOf(() => checkPackageSerial({ digest, manifest: one }, installed)) !== "taken") continue;
          expect(serial).toBeGreaterThanOrEqual(installed?.serial ?? 0);
          installed = { serial, digest };
        }
      }),
    );
  });
});
