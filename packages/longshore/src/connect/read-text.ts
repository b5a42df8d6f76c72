import { readFile } from "node:fs/promises";
import { LongshoreError } from "@longshore/core";

const reasons: Readonly<Record<string, string>> = {
  ENOENT: "there is no such file (ENOENT)",
  EACCES: "reading it is not permitted (EACCES)",
  EISDIR: "it is a folder (EISDIR)",
};

/** A text file that a configuration names. Throws `invalid-configuration`, which says `what` could not be read and why. */
export async function readTextFile(file: string, what: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (thrown) {
    const code = thrown instanceof Error && "code" in thrown ? String(thrown.code) : "";
    const why = reasons[code] ?? `it cannot be read${code && ` (${code})`}`;
    throw new LongshoreError("invalid-configuration", "resolve", `${what} '${file}': ${why}`, {
      cause: thrown,
    });
  }
}
