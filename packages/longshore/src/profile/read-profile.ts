import { readFile } from "node:fs/promises";
import { LongshoreError, type Profile } from "@longshore/core";
import { parseProfile } from "@longshore/core/internal";

/** The profile in a file. Throws `invalid-input`, which names the file. */
export async function readProfile(file: string): Promise<Profile> {
  let value: unknown;
  try {
    value = JSON.parse(await readFile(file, "utf8"));
  } catch (error) {
    const why = error instanceof SyntaxError ? "is not JSON" : "cannot be read";
    throw new LongshoreError("invalid-input", "decode", `the profile ${file} ${why}`, { cause: error });
  }
  return parseProfile(value);
}
