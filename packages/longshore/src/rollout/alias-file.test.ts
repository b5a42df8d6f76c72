import { existsSync } from "node:fs";
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
