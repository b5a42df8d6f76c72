import { existsSync } from "node:fs";
import { basename } from "node:path";
import {
  type AliasEntry,
  type DirectoryEntry,
  type Json,
  LongshoreError,
  recordFrom,
  type Signed,
} from "@longshore/core";
import { parseDirectoryFile, replaceFile } from "@longshore/nodejs";
import { readText } from "./read-text.ts";

/** An alias of the operator's with its signature. */
export type SignedAlias = Signed<AliasEntry>;

/** What a directory file consists of, with its signatures. */
export interface DirectoryFile {
  readonly entries: readonly Signed<DirectoryEntry>[];
  /** As they were signed: what they are is checked where they are believed. */
  readonly aliases: readonly SignedAlias[];
  /** The highest ever signed into the file: what comes anew begins after it, since whoever saw a higher one refuses a lower. */
  readonly lastSerial: number;
  readonly lastRevision: number;
}

function isAlias(record: Json): record is { readonly alias: Json } {
  return typeof record === "object" && record !== null && "alias" in record;
}

/** Reads a directory file. Throws `invalid-configuration` with the first entry that is wrong. */
export async function readDirectoryFile(file: string): Promise<DirectoryFile> {
  const what = basename(file);
  const { records, ...last } = parseDirectoryFile(await readText(file, "the directory file"), what);
  const aliases = records.flatMap((record) =>
    // Only aliases have the field, and who believes one reads it whole.
    isAlias(record) ? [record.alias as unknown as SignedAlias] : [],
  );
  const entries = records
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
  return { entries, aliases, ...last };
}

/** The same of a file that need not be there yet. */
export async function directoryFileSoFar(file: string): Promise<DirectoryFile> {
  return existsSync(file)
    ? readDirectoryFile(file)
    : { entries: [], aliases: [], lastSerial: 0, lastRevision: 0 };
}

/** Writes a directory file; whoever reads it meanwhile sees the one before or this one. */
export async function writeDirectoryFile(file: string, written: DirectoryFile): Promise<void> {
  const { entries, aliases, ...last } = written;
  const kept = aliases.length === 0 ? {} : { aliases };
  await replaceFile(
    file,
    `${JSON.stringify({ schemaVersion: 1, entries, ...kept, ...last }, undefined, 1)}\n`,
  );
}

/** The one entry of a file. */
export async function readEntry(file: string): Promise<Signed<DirectoryEntry>> {
  const { entries } = await readDirectoryFile(file);
  const [first] = entries;
  if (first && entries.length === 1) return first;
  throw new LongshoreError(
    "invalid-configuration",
    "resolve",
    `${basename(file)} has ${entries.length} entries, and one is needed`,
  );
}
