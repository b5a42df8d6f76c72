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
  it("lists names in order, with folders and sizes, and says of links that lead out or nowhere that they do", async () => {
    const store = folderStore(root);
    expect(await store.list("")).toEqual([{ name: "vad", directory: true, bytes: 0 }]);
    const nowhere = (name: string) => ({
      name,
      directory: false,
      bytes: 0,
      problem: `'${name}' is a symbolic link that leads nowhere`,
    });
    expect(await store.list("vad")).toEqual([
      { name: "1", directory: true, bytes: 0 },
      nowhere("dangling"),
      { name: "hard", directory: false, bytes: 6, modifiedMs: expect.any(Number) as number },
      nowhere("itself"),
      { name: "latest", directory: true, bytes: 0 },
      {
        name: "leads-out",
        directory: false,
        bytes: 0,
        problem: expect.stringMatching(
          /^'vad\/leads-out' is a symbolic link that leads out of the repository/,
        ) as string,
      },
      { name: "model.yaml", directory: false, bytes: 10, modifiedMs: expect.any(Number) as number },
    ]);
  });

  it("lists folders whose names cannot be read, so that they can be reported, and reads nothing of them", async () => {
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

  it("follows links into the folders that are named, and no further", async () => {
    const cache = join(outside, "cache");
    mkdirSync(join(cache, "blobs"), { recursive: true });
    writeFileSync(join(cache, "blobs", "abc123"), "weights");
    writeFileSync(join(outside, "cache-secret"), "secret");
    const linked = join(outside, "linked");
    mkdirSync(join(linked, "m", "1"), { recursive: true });
    symlinkSync(join(cache, "blobs", "abc123"), join(linked, "m", "1", "model.onnx"));
    symlinkSync(join(outside, "cache-secret"), join(linked, "m", "1", "other"));
    const store = folderStore(linked, { linkRoots: [cache, join(outside, "not-there")] });
    expect(text(await store.read("m/1/model.onnx"))).toBe("weights");
    expect(await store.list("m/1")).toMatchObject([
      { name: "model.onnx", bytes: 7 },
      { name: "other", problem: expect.stringContaining("--link-root") as string },
    ]);
    await expect(store.read("m/1/other")).rejects.toMatchObject({ reason: "not-permitted" });
    await expect(folderStore(linked).read("m/1/model.onnx")).rejects.toMatchObject({
      reason: "not-permitted",
    });
  });

  it.runIf(process.getuid?.() !== 0)("lists what this user may not read with the reason", async () => {
    const closed = join(outside, "closed");
    mkdirSync(closed);
    writeFileSync(join(closed, "model.onnx"), "x", { mode: 0 });
    expect(await folderStore(closed).list("")).toMatchObject([
      { name: "model.onnx", problem: "'model.onnx' cannot be read (EACCES)" },
    ]);
  });

  it("reads files, through links inside the folder too", async () => {
    const store = folderStore(root);
    expect(text(await store.read("vad/1/model.onnx"))).toBe("abc");
    expect(text(await store.read("vad/latest/model.onnx"))).toBe("abc");
  });

  it("gives undefined for a missing path, and for one that is not a file", async () => {
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

  it("never gives content outside, for any path", async () => {
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
