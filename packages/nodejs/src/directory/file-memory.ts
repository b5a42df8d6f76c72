import { readFile, stat } from "node:fs/promises";
import { type DirectoryMemory, LongshoreError } from "@longshore/core";
import { replaceFile } from "../file/index.ts";

/** A larger file was not written here. */
const maxBytes = 256 * 2 ** 20;

function codeOf(thrown: unknown): string {
  if (thrown instanceof SyntaxError) return "it is not JSON: it may be torn";
  if (!(thrown instanceof Error)) return "it cannot be used";
  return "code" in thrown ? String(thrown.code) : thrown.message;
}

/**
 * Keeps the last known state of a directory in a file, which is replaced whole.
 *
 * @example
 * ```ts
 * import { fileMemory } from "@longshore/nodejs";
 *
 * const memory = fileMemory("directory-state.json");
 * console.log(await memory.load()); // undefined
 * ```
 */
export function fileMemory(path: string): DirectoryMemory {
  const failed = (what: string, thrown: unknown): LongshoreError =>
    new LongshoreError(
      "invalid-configuration",
      "resolve",
      `the state of the directory cannot be ${what} '${path}': ${codeOf(thrown)}`,
      { cause: thrown },
    );
  return {
    async load() {
      try {
        const { size } = await stat(path);
        if (size > maxBytes) throw new Error(`it has ${size} bytes`);
        return JSON.parse(await readFile(path, "utf8")) as unknown;
      } catch (thrown) {
        if (codeOf(thrown) === "ENOENT") return undefined;
        throw failed("read from", thrown);
      }
    },
    async save(state) {
      await replaceFile(path, JSON.stringify(state)).catch((thrown: unknown) => {
        throw LongshoreError.is(thrown) ? thrown : failed("kept in", thrown);
      });
    },
  };
}
