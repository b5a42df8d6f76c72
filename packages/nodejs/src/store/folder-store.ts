import { LongshoreError } from "@longshore/core";
import type { ModelStore, StoredEntry } from "@longshore/engine";
import { constants } from "node:fs";
import { access, type FileHandle, open, readdir, realpath, stat } from "node:fs/promises";
import { basename, join, sep } from "node:path";

/** Options of a store on a folder. */
export interface FolderStoreOptions {
  /** A larger file is refused with `memory-limit`. Default 2 GiB, the most that one ONNX file can be. */
  readonly maxFileBytes?: number;
  /** A folder with more entries is refused with `invalid-configuration`. Default 10,000. */
  readonly maxEntries?: number;
  /**
   * Folders besides the repository into which symbolic links may lead, such as a cache of Hugging Face. Default: none; a link that leads elsewhere is
   * refused by its name.
   */
  readonly linkRoots?: readonly string[];
}

const usualMaxFileBytes = 2 * 1024 ** 3;

/** Bytes that are read at a time where a file is not held whole. */
const chunkBytes = 262_144;

/** A name is one path segment of ordinary characters; characters with another meaning on some platform are refused. */
function isPlain(segment: string): boolean {
  if (segment === "" || segment === "." || segment === ".." || segment.length > 255) return false;
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  return !/[\\/:\u0000-\u001f]/.test(segment);
}

/** Whether a real path is a folder or lies in it. */
function isWithin(real: string, folder: string): boolean {
  return real === folder || real.startsWith(folder.endsWith(sep) ? folder : folder + sep);
}

/** The file or folder is missing, or a part of its path is of another kind. */
function isAbsent(thrown: unknown): boolean {
  const { code } = thrown as NodeJS.ErrnoException;
  return code === "ENOENT" || code === "ENOTDIR" || code === "ELOOP";
}

interface OpenedFile {
  readonly file: FileHandle;
  readonly size: number;
}

/**
 * The entry of a folder under a name; undefined if it is neither folder nor file. A link that leads out or nowhere, and an entry that
 * this user may not read, are listed with the reason.
 */
async function entryOf(
  name: string,
  path: string,
  locate: () => Promise<string | undefined>,
): Promise<StoredEntry | undefined> {
  let real: string | undefined;
  try {
    real = await locate();
  } catch (thrown) {
    if (!LongshoreError.is(thrown)) throw thrown;
    const directory = await stat(path).then(
      (found) => found.isDirectory(),
      () => false,
    );
    return { name, directory, bytes: 0, problem: thrown.message };
  }
  if (real === undefined)
    return { name, directory: false, bytes: 0, problem: `'${name}' is a symbolic link that leads nowhere` };
  const facts = await stat(real);
  const directory = facts.isDirectory();
  if (!directory && !facts.isFile()) return undefined;
  const may = directory ? constants.R_OK | constants.X_OK : constants.R_OK;
  const problem = await access(real, may).then(
    () => undefined,
    (thrown: NodeJS.ErrnoException) => `'${name}' cannot be read (${thrown.code ?? "no reason given"})`,
  );
  return {
    name,
    directory,
    ...(directory ? { bytes: 0 } : { bytes: facts.size, modifiedMs: facts.mtimeMs }),
    ...(problem === undefined ? {} : { problem }),
  };
}

/** A file, open; undefined when there is none. Never waits for a writer. */
async function openRegular(path: string, further = 0): Promise<OpenedFile | undefined> {
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK | further).catch(
    (thrown: unknown) => {
      // Sockets cannot even be opened.
      if (isAbsent(thrown) || (thrown as NodeJS.ErrnoException).code === "ENXIO") return undefined;
      throw thrown;
    },
  );
  if (!file) return undefined;
  const facts = await file.stat();
  // Folders, pipes, sockets and devices are not files of a model, and some of them never end.
  if (facts.isFile()) return { file, size: facts.size };
  await file.close();
  return undefined;
}

/** All bytes of an open file, which is closed. `path` is what the error names. */
async function wholeOf({ file, size }: OpenedFile, path: string, maxFileBytes: number): Promise<Uint8Array> {
  try {
    if (size > maxFileBytes) {
      throw new LongshoreError(
        "memory-limit",
        "resolve",
        `'${path}' has ${size} bytes; at most ${maxFileBytes} are read`,
      );
    }
    const bytes = new Uint8Array(size);
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
}

/**
 * A model file that the user named, in any folder; undefined when there is none. Throws `memory-limit`.
 *
 * @example
 * ```ts
 * import { readModelFile } from "@longshore/nodejs";
 *
 * const bytes = await readModelFile("models/double/1/model.onnx");
 * console.log(bytes !== undefined, await readModelFile("nothing.onnx")); // true undefined
 * ```
 */
export async function readModelFile(path: string): Promise<Uint8Array | undefined> {
  const opened = await openRegular(path);
  return opened && wholeOf(opened, basename(path), usualMaxFileBytes);
}

/** Bytes of a file up to the size that it had. Opened when they are wanted, so that a caller that never reads leaves nothing open. */
async function* streamed(
  openFile: () => Promise<OpenedFile | undefined>,
  fromByte: number,
  size: number,
): AsyncIterable<Uint8Array> {
  const opened = await openFile();
  if (!opened) return;
  const { file } = opened;
  try {
    for (let at = fromByte; at < size;) {
      const chunk = new Uint8Array(Math.min(chunkBytes, size - at));
      const { bytesRead } = await file.read(chunk, 0, chunk.byteLength, at);
      if (bytesRead === 0) return;
      yield chunk.subarray(0, bytesRead);
      at += bytesRead;
    }
  } finally {
    await file.close();
  }
}

/**
 * Model files in a folder. Paths use `/` and are checked twice: by their letters (no `..`, no absolute path, no backslash,
 * colon or control character) and by where they really lead, so that a symbolic link is followed only within the folder and
 * `linkRoots`. A path that leads out is `not-permitted`; a missing file is undefined.
 *
 * A hard link looks the same as the file that it is another name of. A user who may create hard links in the folder can
 * therefore expose any file of the same file system that the program itself may read.
 *
 * @example
 * ```ts
 * import { folderStore } from "@longshore/nodejs";
 *
 * const store = folderStore("models");
 * const models = await store.list("");
 * console.log(models?.map(({ name }) => name).join()); // double
 * ```
 */
export function folderStore(root: string, options: FolderStoreOptions = {}): ModelStore {
  const maxFileBytes = options.maxFileBytes ?? usualMaxFileBytes;
  const maxEntries = options.maxEntries ?? 10_000;

  const refused = (path: string): LongshoreError =>
    new LongshoreError(
      "not-permitted",
      "resolve",
      `'${path.slice(0, 100).replace(/[^\x20-\x7e]/g, "?")}' is not a path inside the repository`,
    );

  /** The folders into which paths may lead. One that is not there holds nothing. */
  const allowed = async (base: string): Promise<readonly string[]> => [
    base,
    ...(await Promise.all((options.linkRoots ?? []).map((one) => realpath(one).catch(() => [])))).flat(),
  ];

  /** The real path of a path; undefined when nothing is there. */
  const locate = async (path: string): Promise<string | undefined> => {
    const segments = path === "" ? [] : path.split("/");
    if (!segments.every(isPlain)) throw refused(path);
    try {
      const base = await realpath(root);
      const real = await realpath(join(base, ...segments));
      if ((await allowed(base)).some((one) => isWithin(real, one))) return real;
      throw new LongshoreError(
        "not-permitted",
        "resolve",
        `'${path.slice(0, 100)}' is a symbolic link that leads out of the repository; allow the folder that it leads to with --link-root`,
      );
    } catch (thrown) {
      if (isAbsent(thrown)) return undefined;
      throw thrown;
    }
  };

  /** A file of the folder, open; undefined when there is none. */
  const openFile = async (path: string): Promise<OpenedFile | undefined> => {
    const real = await locate(path);
    // The real path has no links left, so one that appears between the check and this is not followed.
    return real === undefined ? undefined : openRegular(real, constants.O_NOFOLLOW);
  };

  return {
    async open(path, fromByte) {
      const opened = await openFile(path);
      if (!opened) return undefined;
      const { file, size } = opened;
      await file.close();
      return { bytes: size, read: () => streamed(() => openFile(path), fromByte, size) };
    },
    async list(path) {
      const real = await locate(path);
      if (real === undefined) return undefined;
      const found = await readdir(real, { withFileTypes: true }).catch((thrown: unknown) => {
        if (isAbsent(thrown)) return undefined;
        throw thrown;
      });
      if (!found) return undefined;
      if (found.length > maxEntries) {
        throw new LongshoreError(
          "invalid-configuration",
          "resolve",
          `'${path}' has ${found.length} entries; at most ${maxEntries} are read`,
        );
      }
      const entries: StoredEntry[] = [];
      const names = found.map(({ name }) => name).filter(isPlain);
      for (const name of names.sort()) {
        const inner = path === "" ? name : `${path}/${name}`;
        const entry = await entryOf(name, join(real, name), () => locate(inner));
        if (entry) entries.push(entry);
      }
      if (path !== "") return entries;
      // Unreadable folders are listed here nevertheless: the reader of models reports them.
      for (const one of found) {
        if (one.isDirectory() && !isPlain(one.name))
          entries.push({ name: one.name, directory: true, bytes: 0 });
      }
      return entries;
    },
    async read(path) {
      const opened = await openFile(path);
      if (!opened) return undefined;
      return wholeOf(opened, path, maxFileBytes);
    },
  };
}
