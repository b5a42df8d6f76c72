import { LongshoreError } from "@longshore/core";
import type { ModelStore, StoredEntry } from "@longshore/engine";
import { constants } from "node:fs";
import { open, readdir, realpath, stat } from "node:fs/promises";
import { join, sep } from "node:path";

/** Options of a store on a folder. */
export interface FolderStoreOptions {
  /** A larger file is refused with `memory-limit`. Default 2 GiB, the most that one ONNX file can be. */
  readonly maxFileBytes?: number;
  /** A folder with more entries is refused with `invalid-configuration`. Default 10,000. */
  readonly maxEntries?: number;
}

/** A name is one path segment of ordinary characters; what a platform reads as more than a name is refused. */
function isPlain(segment: string): boolean {
  if (segment === "" || segment === "." || segment === ".." || segment.length > 255) return false;
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  return !/[\\/:\u0000-\u001f]/.test(segment);
}

/** Something is missing there, or is not what its place says. */
function isAbsent(thrown: unknown): boolean {
  const { code } = thrown as NodeJS.ErrnoException;
  return code === "ENOENT" || code === "ENOTDIR" || code === "ELOOP";
}

/**
 * Model files in a folder. Paths use `/` and are checked twice: by their letters (no `..`, no absolute path, no backslash,
 * colon or control character) and by where they really lead, so that a symbolic link is followed only within the folder.
 * What leads out is `not-permitted`; what is missing is undefined.
 *
 * A hard link cannot be told from the file that it is another name of, so whoever may create hard links in the folder may
 * make any file of the same file system readable that the program itself may read.
 */
export function folderStore(root: string, options: FolderStoreOptions = {}): ModelStore {
  const maxFileBytes = options.maxFileBytes ?? 2 * 1024 ** 3;
  const maxEntries = options.maxEntries ?? 10_000;

  const refused = (path: string): LongshoreError =>
    new LongshoreError(
      "not-permitted",
      "resolve",
      `'${path.slice(0, 100).replace(/[^\x20-\x7e]/g, "?")}' is not a path inside the repository`,
    );

  /** The real place of a path; undefined when nothing is there. */
  const locate = async (path: string): Promise<string | undefined> => {
    const segments = path === "" ? [] : path.split("/");
    if (!segments.every(isPlain)) throw refused(path);
    try {
      const base = await realpath(root);
      const real = await realpath(join(base, ...segments));
      if (real !== base && !real.startsWith(base.endsWith(sep) ? base : base + sep)) throw refused(path);
      return real;
    } catch (thrown) {
      if (isAbsent(thrown)) return undefined;
      throw thrown;
    }
  };

  return {
    async list(path) {
      const real = await locate(path);
      if (real === undefined) return undefined;
      const names = await readdir(real).catch((thrown: unknown) => {
        if (isAbsent(thrown)) return undefined;
        throw thrown;
      });
      if (!names) return undefined;
      if (names.length > maxEntries) {
        throw new LongshoreError(
          "invalid-configuration",
          "resolve",
          `'${path}' has ${names.length} entries; at most ${maxEntries} are read`,
        );
      }
      const entries: StoredEntry[] = [];
      for (const name of names.filter(isPlain).sort()) {
        const entry = await locate(path === "" ? name : `${path}/${name}`).catch((thrown: unknown) => {
          // A link that leads out is not part of the repository: it is not listed, and reading it says why.
          if (LongshoreError.is(thrown)) return undefined;
          throw thrown;
        });
        const facts = entry === undefined ? undefined : await stat(entry);
        if (facts?.isDirectory()) entries.push({ name, directory: true, bytes: 0 });
        else if (facts?.isFile()) {
          entries.push({ name, directory: false, bytes: facts.size, modifiedMs: facts.mtimeMs });
        }
      }
      return entries;
    },
    async read(path) {
      const real = await locate(path);
      if (real === undefined) return undefined;
      // The real path has no links left, so one that appears between the check and this is not followed.
      const file = await open(real, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK).catch(
        (thrown: unknown) => {
          // Sockets cannot even be opened.
          if (isAbsent(thrown) || (thrown as NodeJS.ErrnoException).code === "ENXIO") return undefined;
          throw thrown;
        },
      );
      if (!file) return undefined;
      try {
        const facts = await file.stat();
        // Folders, pipes, sockets and devices are not files of a model, and some of them never end.
        if (!facts.isFile()) return undefined;
        if (facts.size > maxFileBytes) {
          throw new LongshoreError(
            "memory-limit",
            "resolve",
            `'${path}' has ${facts.size} bytes; at most ${maxFileBytes} are read`,
          );
        }
        const bytes = new Uint8Array(facts.size);
        let filled = 0;
        while (filled < bytes.byteLength) {
          const { bytesRead } = await file.read(bytes, filled, bytes.byteLength - filled, filled);
          if (bytesRead === 0) break;
          filled += bytesRead;
        }
        return filled === bytes.byteLength ? bytes : bytes.slice(0, filled);
      } finally {
        await file.close();
      }
    },
  };
}
