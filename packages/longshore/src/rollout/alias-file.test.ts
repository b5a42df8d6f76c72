import { existsSync } from "node:fs";
import { mkdtemp, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { aliasFile } from "./alias-file.ts";

it.skipIf(!existsSync("/sys/kernel"))(
  "a disk that cannot be written is named, and the folder is not",
  async () => {
    const shelf = aliasFile("/sys/kernel/aliases.json");
    await expect(shelf.write({ aliases: [], removedRevision: 0 })).rejects.toMatchObject({
      reason: "disk-failed",
      message: expect.stringMatching(
        /^the file aliases\.json cannot be written: E[A-Z]+; nothing was changed$/,
      ) as string,
    });
  },
);

it.each([
  ["torn", '{"schemaVersion": 1, "ali', "is not valid JSON"],
  ["of another format", "[1, 2]", "must be an object"],
  ["of a later version", '{"schemaVersion": 2, "aliases": []}', "schemaVersion must be one of 1"],
])("a file that is %s is named, and stays as it is", async (_, text, why) => {
  const path = join(await mkdtemp(join(tmpdir(), "longshore-aliases-")), "aliases.json");
  await writeFile(path, text);
  await expect(aliasFile(path).read()).rejects.toMatchObject({
    reason: "invalid-configuration",
    message: expect.stringMatching(new RegExp(`^the file of aliases '${path}'.*${why}`)) as string,
  });
  expect(await readFile(path, "utf8")).toBe(text);
});
