import { basename } from "node:path";
import {
  type AliasEntry,
  type DirectoryEntry,
  type Json,
  LongshoreError,
  recordFrom,
  type Signed,
} from "@longshore/core";
import { parseDirectoryFile } from "@longshore/nodejs";
import { readText } from "./read-text.ts";

/** The operator's aliases in a directory file, as they were signed. */
export async function readAliases(file: string): Promise<readonly SignedAlias[]> {
  const records = parseDirectoryFile(await readText(file, "the directory file"), basename(file));
  // Only those have the field; what they are is checked where they are believed.
  return records.flatMap((record) => (isAlias(record) ? [record.alias as unknown as SignedAlias] : []));
}

/** An alias of the operator's with its signature. */
export type SignedAlias = Signed<AliasEntry>;

function isAlias(record: Json): record is { readonly alias: Json } {
  return typeof record === "object" && record !== null && "alias" in record;
}

/** All entries of a directory file, with their signatures. Throws `invalid-configuration` with the first that is wrong. */
export async function readEntries(file: string): Promise<readonly Signed<DirectoryEntry>[]> {
  const what = basename(file);
  const records = parseDirectoryFile(await readText(file, "the directory file"), what);
  return records
    .filter((record) => !isAlias(record))
    .map((record, index) => {
      try {
        return recordFrom(record, `entries[${index}]`).signed;
      } catch (thrown) {
        const { message } = LongshoreError.from(thrown, "resolve", `reading ${what}`);
        throw new LongshoreError("invalid-configuration", "resolve", `${what}: ${message}`, {
          cause: thrown,
        });
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
