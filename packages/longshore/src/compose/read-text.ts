import { readFile } from "node:fs/promises";
import { LongshoreError } from "@longshore/core";

/** A text file that a configuration names. Throws `invalid-configuration`, which says `what` could not be read and why. */
export async function readTextFile(file: string, what: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (thrown) {
    const code = thrown instanceof Error && "code" in thrown ? String(thrown.code) : "it cannot be read";
    throw new LongshoreError("invalid-configuration", "resolve", `${what} '${file}': ${code}`, {
      cause: thrown,
    });
  }
}
