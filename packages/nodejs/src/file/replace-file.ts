import { open, rename, rm } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { randomBytes } from "node:crypto";
import { diskError } from "./disk-error.ts";

/** Makes what was done in a folder last, where the platform can: not every file system opens folders. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r").catch(() => undefined);
  try {
    await handle?.sync();
  } catch {
    // The new name may be lost with the power then, and the old content is there.
  } finally {
    await handle?.close();
  }
}

/**
 * Replaces a whole file, or makes it: a reader, also after a crash, finds the old content or the new. Only its owner can read
 * it. Throws `disk-full` and `disk-failed`, else the platform's error; then the old content is there, and no temporary file is
 * left.
 *
 * @example
 * ```ts
 * import { readFile } from "node:fs/promises";
 * import { replaceFile } from "@longshore/nodejs";
 *
 * await replaceFile("state.json", "{}");
 * console.log(await readFile("state.json", "utf8")); // {}
 * ```
 */
export async function replaceFile(path: string, content: string | Uint8Array): Promise<void> {
  const next = `${path}.${randomBytes(6).toString("hex")}.next`;
  try {
    const file = await open(next, "wx", 0o600);
    try {
      await file.writeFile(content);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(next, path);
  } catch (thrown) {
    await rm(next, { force: true });
    throw diskError(thrown, `the file ${basename(path)}`);
  }
  await syncFolder(dirname(path));
}
