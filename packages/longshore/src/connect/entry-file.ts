import { existsSync } from "node:fs";
import { open, rm } from "node:fs/promises";
import { basename } from "node:path";
import { type DirectoryEntry, type Json, LongshoreError, type Signed } from "@longshore/core";
import { type AliasEntry, recordFrom, sleep } from "@longshore/core/internal";
import { parseDirectoryFile, replaceFile, systemClock } from "@longshore/nodejs";
import { readTextFile } from "./read-text.ts";

/** An alias of the operator's with its signature. */
export type SignedAlias = Signed<AliasEntry>;

/** The content of a directory file, with its signatures. */
export interface DirectoryFile {
  readonly entries: readonly Signed<DirectoryEntry>[];
  /** As they were signed: their content is checked where they are believed. */
  readonly aliases: readonly SignedAlias[];
  /**
   * The highest ever signed into the file: the next one begins after it, since readers that saw a higher one refuse a lower.
   */
  readonly lastSerial: number;
  readonly lastRevision: number;
}

function isAlias(record: Json): record is { readonly alias: Json } {
  return typeof record === "object" && record !== null && "alias" in record;
}

/** Reads a directory file. Throws `invalid-configuration` with the first entry that is wrong. */
export async function readDirectoryFile(file: string): Promise<DirectoryFile> {
  const what = basename(file);
  const { records, ...last } = parseDirectoryFile(await readTextFile(file, "the directory file"), what);
  const aliases = records.flatMap((record) =>
    // Only aliases have the field, and their readers read it whole.
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

/** How long to wait for another command that changes the same file, in milliseconds. */
const longestWaitMs = 10_000;
/** Interval between checks during the wait, in milliseconds. */
const lookEveryMs = 20;

/** Makes a file that is not there; false where it is. */
async function made(file: string): Promise<boolean> {
  try {
    await (await open(file, "wx", 0o600)).close();
    return true;
  } catch (thrown) {
    if (thrown instanceof Error && "code" in thrown && thrown.code === "EEXIST") return false;
    throw thrown;
  }
}

/**
 * Changes a directory file, or makes it: a reader meanwhile sees the one before or the new one. Of commands at the same time
 * each changes what the one before wrote. Throws `conflict` if another command has not finished for long.
 */
export async function changeDirectoryFile<T>(
  file: string,
  change: (before: DirectoryFile) => Promise<{ readonly now: DirectoryFile; readonly result: T }>,
): Promise<T> {
  const clock = systemClock();
  const lock = `${file}.lock`;
  const untilMs = clock.nowMs() + longestWaitMs;
  while (!(await made(lock))) {
    if (clock.nowMs() >= untilMs) {
      throw new LongshoreError(
        "conflict",
        "admission",
        `${basename(file)} is being changed by another command: try again, or delete ${basename(lock)} if there is none`,
      );
    }
    await sleep(clock, lookEveryMs);
  }
  try {
    const before = existsSync(file)
      ? await readDirectoryFile(file)
      : { entries: [], aliases: [], lastSerial: 0, lastRevision: 0 };
    const { now, result } = await change(before);
    const { entries, aliases, ...last } = now;
    const kept = aliases.length === 0 ? {} : { aliases };
    const written = { schemaVersion: 1, entries, ...kept, ...last };
    await replaceFile(file, `${JSON.stringify(written, undefined, 1)}\n`);
    return result;
  } finally {
    await rm(lock, { force: true });
  }
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
