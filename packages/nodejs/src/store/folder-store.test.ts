import { execFileSync } from "node:child_process";
import { linkSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { folderStore } from "./folder-store.ts";
import { sha256 } from "./sha256.ts";

let outside: string;
let root: string;

beforeAll(() => {
  outside = mkdtempSync(join(tmpdir(), "longshore-store-"));
  root = join(outside, "repository");
  mkdirSync(join(root, "vad", "1"), { recursive: true });
  writeFileSync(join(root, "vad", "1", "model.onnx"), "abc");
  writeFileSync(join(root, "vad", "model.yaml"), "name: vad\n");
  writeFileSync(join(outside, "secret"), "secret");
  mkdirSync(join(outside, "repository-twin"));
  writeFileSync(join(outside, "repository-twin", "secret"), "secret");
  symlinkSync(join(outside, "secret"), join(root, "vad", "leads-out"));
  symlinkSync("../../../repository-twin/secret", join(root, "vad", "1", "to-twin"));
  symlinkSync("1", join(root, "vad", "latest"));
  symlinkSync("itself", join(root, "vad", "itself"));
  symlinkSync("nowhere", join(root, "vad", "dangling"));
  linkSync(join(outside, "secret"), join(root, "vad", "hard"));
});
afterAll(() => rmSync(outside, { recursive: true }));

const text = (bytes: Uint8Array | undefined): string | undefined => bytes && new TextDecoder().decode(bytes);

describe("folderStore", () => {
  it("lists names in order, with folders and sizes, and leaves out links that lead out or nowhere", async () => {
    const store = folderStore(root);
    expect(await store.list("")).toEqual([{ name: "vad", directory: true, bytes: 0 }]);
    expect(await store.list("vad")).toEqual([
      { name: "1", directory: true, bytes: 0 },
      { name: "hard", directory: false, bytes: 6, modifiedMs: expect.any(Number) as number },
      { name: "latest", directory: true, bytes: 0 },
      { name: "model.yaml", directory: false, bytes: 10, modifiedMs: expect.any(Number) as number },
    ]);
  });

  it("lists folders whose names cannot be read, so that they can be told of, and reads nothing of them", async () => {
    const odd = join(outside, "odd-names");
    for (const name of ["ocr:2", "a\\b", "c\nd"]) mkdirSync(join(odd, "vad", name), { recursive: true });
    for (const name of ["ocr:2", "a\\b", "c\nd"]) mkdirSync(join(odd, name));
    writeFileSync(join(odd, "no:folder"), "x");
    symlinkSync(outside, join(odd, "leads:out"));
    const store = folderStore(odd);
    const names = (await store.list(""))?.map(({ name }) => name).sort();
    expect(names).toEqual(["a\\b", "c\nd", "ocr:2", "vad"]);
    expect(await store.list("vad")).toEqual([]);
    await expect(store.list("ocr:2")).rejects.toMatchObject({ reason: "not-permitted" });
  });

  it("reads files, through links inside the folder too", async () => {
    const store = folderStore(root);
    expect(text(await store.read("vad/1/model.onnx"))).toBe("abc");
    expect(text(await store.read("vad/latest/model.onnx"))).toBe("abc");
  });

  it("gives undefined for what is missing, and for what is not a file", async () => {
    const store = folderStore(root);
    expect(await store.read("vad/2/model.onnx")).toBeUndefined();
    expect(await store.read("vad/1")).toBeUndefined();
    expect(await store.read("vad/itself")).toBeUndefined();
    expect(await store.read("vad/dangling")).toBeUndefined();
    expect(await store.read("vad/model.yaml/deeper")).toBeUndefined();
    expect(await store.list("ocr")).toBeUndefined();
    expect(await store.list("vad/model.yaml")).toBeUndefined();
    expect(await folderStore(join(root, "not-there")).list("")).toBeUndefined();
  });

  it("does not wait at pipes and sockets, which are no files", async () => {
    const store = folderStore(join(outside, "odd"));
    mkdirSync(join(outside, "odd"));
    execFileSync("sh", ["-c", 'mkfifo "$0"', join(outside, "odd", "pipe")]);
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(join(outside, "odd", "socket"), resolve));
    expect(await store.read("pipe")).toBeUndefined();
    expect(await store.read("socket")).toBeUndefined();
    expect(await store.list("")).toEqual([]);
    server.close();
  });

  it.each([
    "../secret",
    "vad/../../secret",
    "/etc/hostname",
    "vad//model.yaml",
    "vad/./model.yaml",
    "..",
    "vad\\..\\..\\secret",
    "vad/model.yaml\u0000.onnx",
    "C:/secret",
    "vad/leads-out",
    "vad/1/to-twin",
    "x".repeat(256),
  ])("refuses %j", async (path) => {
    await expect(folderStore(root).read(path)).rejects.toMatchObject({ reason: "not-permitted" });
  });

  it("never gives what lies outside, whatever the path", async () => {
    const part = fc.constantFrom(
      "..",
      ".",
      "",
      "vad",
      "1",
      "secret",
      "leads-out",
      "to-twin",
      "latest",
      "repository",
    );
    await fc.assert(
      fc.asyncProperty(fc.array(part, { maxLength: 6 }), async (parts) => {
        const bytes = await folderStore(root)
          .read(parts.join("/"))
          .catch((thrown: { reason: string }) => {
            expect(thrown.reason).toBe("not-permitted");
            return undefined;
          });
        expect(text(bytes)).not.toBe("secret");
      }),
    );
  });

  it("refuses files and folders beyond the limits", async () => {
    await expect(folderStore(root, { maxFileBytes: 2 }).read("vad/1/model.onnx")).rejects.toMatchObject({
      reason: "memory-limit",
    });
    await expect(folderStore(root, { maxEntries: 1 }).list("vad")).rejects.toMatchObject({
      reason: "invalid-configuration",
    });
  });
});

describe("sha256", () => {
  it("is the digest of exactly the bytes that a view shows", async () => {
    const bytes = new TextEncoder().encode("xabcx").subarray(1, 4);
    // FIPS 180-2, appendix B.1.
    expect(await sha256(bytes)).toBe(
      "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    );
  });
});
