import { link, mkdir, mkdtemp, rm, symlink, truncate, writeFile, readFile } from "node:fs/promises";
import { execFileSync } from "node:child_process";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { sharedFolder } from "./shared-folder.ts";

let folder = "";

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "longshore-shared-"));
});

afterAll(() => rm(folder, { recursive: true }));

describe("a folder of shared memory", () => {
  it("reads and writes an object in place, with or without the slash before its key", async () => {
    await writeFile(join(folder, "ours-a"), new Uint8Array(16));
    const shared = sharedFolder("ours-", folder);
    const object = await shared.open("/ours-a");
    await object.write(4, Uint8Array.of(1, 2, 3));
    const into = new Uint8Array(5);
    await object.read(3, into);
    expect([...into]).toEqual([0, 1, 2, 3, 0]);
    expect([...(await readFile(join(folder, "ours-a")))].slice(4, 7)).toEqual([1, 2, 3]);
    expect(object.byteLength).toBe(16);
    await object.close();
    await (await shared.open("ours-a")).close();
  });

  it("notices when its owner has shortened the object, and does not make it longer again", async () => {
    const path = join(folder, "ours-b");
    await writeFile(path, new Uint8Array(64));
    const object = await sharedFolder("ours-", folder).open("ours-b");
    await truncate(path, 8);
    await expect(object.read(0, new Uint8Array(16))).rejects.toMatchObject({ reason: "invalid-input" });
    await expect(object.write(8, new Uint8Array(1))).rejects.toMatchObject({ reason: "invalid-input" });
    expect(await readFile(path)).toHaveLength(8);
    await object.close();
  });

  it("opens nothing else", async () => {
    const outside = join(folder, "..", `outside-${process.pid}`);
    await writeFile(outside, "secret");
    await symlink(outside, join(folder, "ours-link"));
    await writeFile(join(folder, "theirs"), "other");
    await link(join(folder, "theirs"), join(folder, "ours-hard"));
    await mkdir(join(folder, "ours-folder"));
    const makePipe = "mkfifo";
    execFileSync(makePipe, [join(folder, "ours-pipe")]);
    const shared = sharedFolder("ours-", folder);
    const reasonFor = (key: string): Promise<unknown> =>
      shared.open(key).then(
        () => "opened",
        (thrown: { reason?: unknown }) => thrown.reason,
      );
    expect(await reasonFor("theirs")).toBe("not-permitted");
    for (const key of [
      "ours-link",
      "ours-hard",
      "ours-folder",
      "ours-pipe",
      "ours-none",
      "ours-/../theirs",
      "../theirs",
      "..",
      ".",
      "",
      "/",
      "//ours-a",
      "ours-\0",
      `ours-${"x".repeat(300)}`,
    ]) {
      expect(["invalid-input", "not-permitted"], key).toContain(await reasonFor(key));
    }
    await rm(outside);
  });
});
