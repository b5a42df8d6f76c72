import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";

/*
 * Linux shows devices as folders of small text files. Any of them may be missing, unreadable (energy counters are, for
 * everyone but root) or refuse to be read at the moment: all that means "not known".
 */

/** The text of a file; undefined when it cannot be read. */
export async function readSysText(...path: readonly string[]): Promise<string | undefined> {
  try {
    return (await readFile(join(...path), "utf8")).trim();
  } catch {
    return undefined;
  }
}

/** A whole number; undefined when it cannot be read or is none. */
export async function readSysNumber(...path: readonly string[]): Promise<number | undefined> {
  const text = await readSysText(...path);
  return text !== undefined && /^-?\d+$/.test(text) ? Number(text) : undefined;
}

/** Names in a folder, in order; none when it cannot be read. */
export async function readNames(...path: readonly string[]): Promise<readonly string[]> {
  try {
    return (await readdir(join(...path))).sort();
  } catch {
    return [];
  }
}
