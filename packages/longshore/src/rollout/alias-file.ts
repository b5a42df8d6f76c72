import { readFile } from "node:fs/promises";
import { LongshoreError } from "@longshore/core";
import { aliasFrom, aliasJson, type AliasShelf, parseJson, read } from "@longshore/core/internal";
import { replaceFile } from "@longshore/nodejs";

const fileFrom = read.fields({
  schemaVersion: read.readWord(1),
  aliases: read.list(aliasFrom, 1024),
  removedRevision: read.optional(read.readWhole(0)),
});

/** Aliases in a file, which is replaced whole. One that is not there is empty. Throws `invalid-configuration`. */
export function aliasFile(path: string): AliasShelf {
  const name = `the file of aliases '${path}'`;
  return {
    async read() {
      let bytes: Uint8Array;
      try {
        bytes = await readFile(path);
      } catch (thrown) {
        if (thrown instanceof Error && "code" in thrown && thrown.code === "ENOENT")
          return { aliases: [], removedRevision: 0 };
        throw new LongshoreError("invalid-configuration", "resolve", `${name} cannot be read`, {
          cause: thrown,
        });
      }
      try {
        const { aliases, removedRevision = 0 } = fileFrom(parseJson(bytes, name), name);
        return { aliases, removedRevision };
      } catch (thrown) {
        const { message } = LongshoreError.from(thrown, "resolve", "reading aliases");
        throw new LongshoreError("invalid-configuration", "resolve", message, { cause: thrown });
      }
    },
    async write({ aliases, removedRevision }) {
      const file = { schemaVersion: 1, aliases: aliases.map(aliasJson), removedRevision };
      try {
        await replaceFile(path, `${JSON.stringify(file, null, 1)}\n`);
      } catch (thrown) {
        if (LongshoreError.is(thrown))
          throw new LongshoreError(thrown.reason, "admission", `${thrown.message}; nothing was changed`, {
            cause: thrown,
          });
        const code =
          thrown instanceof Error && "code" in thrown ? String(thrown.code) : "it cannot be written";
        throw new LongshoreError(
          "internal",
          "admission",
          `the file of aliases: ${code}; nothing was changed`,
          {
            cause: thrown,
          },
        );
      }
    },
  };
}
