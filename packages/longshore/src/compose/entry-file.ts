import { basename } from "node:path";
import { type DirectoryEntry, LongshoreError, recordFrom, type Signed } from "@longshore/core";
import { parseDirectoryFile } from "@longshore/nodejs";
import { readText } from "./read-text.ts";

/** All entries of a directory file, with their signatures. Throws `invalid-configuration` with the first that is wrong. */
export async function readEntries(file: string): Promise<readonly Signed<DirectoryEntry>[]> {
  const what = basename(file);
  const records = parseDirectoryFile(await readText(file, "the directory file"), what);
  return records.map((record, index) => {
    try {
      return recordFrom(record, `entries[${index}]`).signed;
    } catch (thrown) {
      const { message } = LongshoreError.from(thrown, "resolve", `reading ${what}`);
      throw new LongshoreError("invalid-configuration", "resolve", `${what}: ${message}`, { cause: thrown });
    }
  });
}

/** The one entry of a file. */
export async function readEntry(file: string): Promise<Signed<DirectoryEntry>> {
  const entries = await readEntries(file);
  const [first] = entries;
  if (first && entries.length === 1) return first;
  throw new LongshoreError(
    "invalid-configuration",
    "resolve",
    `${basename(file)} has ${entries.length} entries, and one is needed`,
  );
}
