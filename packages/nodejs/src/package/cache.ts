import { createHash, type Hash } from "node:crypto";
import { createReadStream } from "node:fs";
import {
  copyFile,
  type FileHandle,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  utimes,
} from "node:fs/promises";
import { basename, join } from "node:path";
import { type Call, type Clock, type Digest, LongshoreError } from "@longshore/core";
import { abortError, type FileBytes } from "@longshore/core/internal";
import { diskError, isOfDisk } from "../file/index.ts";
import { sha256 } from "../store/index.ts";
import { inUse } from "./in-use.ts";

/** A file that is wanted, as a manifest that is believed names it. */
export interface WantedFile {
  readonly digest: Digest;
  readonly bytes: number;
}

/** Files by content, in a folder with a limit. */
export interface PackageCache {
  /** The most that all files take together, in bytes. */
  readonly maxBytes: number;
  has(digest: Digest): Promise<boolean>;
  /** The same at once, as far as it was seen to be here: `has`, `read` and `fill` see. */
  seen(digest: Digest): boolean;
  /** The file, checked again; undefined when it is not here. One that has changed on disk is thrown away. */
  read(digest: Digest): Promise<Uint8Array | undefined>;
  /** The file from some byte on; undefined when it is not here. */
  open(
    digest: Digest,
    fromByte: number,
  ): Promise<{ readonly bytes: number; read(): AsyncIterable<Uint8Array> } | undefined>;
  /**
   * Gets a file that is not here, or the rest of it: `open` is called for the missing bytes. It is here when this resolves, and
   * only with exactly its content. Throws `bad-reply` for other content, `no-answer` for less of it, which is kept, `disk-full`
   * and `disk-failed` for the disk, and the errors of `open`.
   */
  fill(wanted: WantedFile, open: (fromByte: number) => Promise<FileBytes>, call: Call): Promise<void>;
  /** These files are not evicted until it is disposed, by other processes on the same folder either. */
  pin(digests: readonly Digest[]): Disposable;
}

function hexOf(digest: Digest): string {
  const [, hex] = /^sha256:([0-9a-f]{64})$/.exec(digest) ?? [];
  if (hex !== undefined) return hex;
  throw new LongshoreError(
    "invalid-input",
    "resolve",
    "a file is known by sha256: and 64 hexadecimal digits",
  );
}

function codeOf(thrown: unknown): string {
  return thrown instanceof Error && "code" in thrown ? String(thrown.code) : "";
}

/** A file of the cache, as a path within its folder. */
interface KeptFile {
  readonly name: string;
  readonly size: number;
  /** When it was used last. */
  readonly atMs: number;
}

/** A file that another process has moved or deleted is absent. */
function unlessAbsent(thrown: unknown): undefined {
  if (codeOf(thrown) !== "ENOENT") throw thrown;
}

async function sizeOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).size;
  } catch (thrown) {
    if (codeOf(thrown) === "ENOENT") return undefined;
    throw thrown;
  }
}

/** The error of a full or broken disk: it is this machine's trouble, and another may have room. */
function fromDisk(thrown: unknown): unknown {
  return diskError(thrown, "the cache of packages");
}

/** A file under way, with what is here of it hashed. */
interface Part {
  readonly file: FileHandle;
  hash: Hash;
  bytes: number;
}

/** A disk with room for a part takes that part and reports its length; only the next write fails. */
async function writeAll(file: FileHandle, chunk: Uint8Array, at: number): Promise<void> {
  for (let done = 0; done < chunk.byteLength;) {
    done += (await file.write(chunk, done, chunk.byteLength - done, at + done)).bytesWritten;
  }
}

async function openPart(path: string, most: number): Promise<Part> {
  const here = (await sizeOf(path)) ?? 0;
  const file = await open(path, here > 0 && here <= most ? "r+" : "w", 0o600);
  const part: Part = { file, hash: createHash("sha256"), bytes: 0 };
  if (here === 0 || here > most) return part;
  for await (const chunk of createReadStream(path) as AsyncIterable<Uint8Array>) part.hash.update(chunk);
  part.bytes = here;
  return part;
}

/**
 * Opens the cache in a folder, which is made. The least recently used file makes room for a new one, but never a pinned file;
 * the order comes from the times of the files, so that it outlives restarts. Several processes may share the folder.
 *
 * @param options `maxBytes` defaults to 10 GiB.
 *
 * @example
 * ```ts
 * import { packageCache, systemClock } from "@longshore/nodejs";
 *
 * const cache = await packageCache("packages", { clock: systemClock(), maxBytes: 2 ** 30 });
 * console.log(typeof cache); // object
 * ```
 */
export function packageCache(
  folder: string,
  options: { readonly clock: Clock; readonly maxBytes?: number },
): PackageCache {
  const { clock, maxBytes = 10 * 2 ** 30 } = options;
  const blobs = join(folder, "blobs");
  const parts = join(folder, "parts");
  /** Pinned files and those under way, as paths within the folder. */
  const uses = inUse(join(folder, "in-use"), clock);
  const filling = new Map<string, Promise<void>>();
  /** Names of files that were here when they were looked for last. */
  const seen = new Set<string>();
  /** Bytes that files under way will take. */
  let promised = 0;
  let making: Promise<void> = Promise.resolve();
  const pathOf = (digest: Digest): string => join(blobs, hexOf(digest));

  /** Makes room for a file, and reserves it. One at a time, so that two do not count on the same bytes. */
  function reserve(bytes: number): Promise<void> {
    const turn = making.then(async () => {
      const kept = [...(await filesIn("blobs")), ...(await filesIn("parts"))];
      const others = await uses.others();
      // Of what is under way here the whole is promised.
      let used = promised + kept.reduce((sum, { name, size }) => sum + (isUnderWay(name) ? 0 : size), 0);
      const loose = kept.filter(({ name }) => !uses.uses(name) && !others.has(name));
      const mostFreed = loose.reduce((sum, { size }) => sum + size, 0);
      // Files that would not make enough room together are not deleted for it.
      if (used - mostFreed + bytes <= maxBytes) {
        for (const { name, size } of loose.toSorted((a, b) => a.atMs - b.atMs)) {
          if (used + bytes <= maxBytes) break;
          if (await evict(name)) used -= size;
        }
      }
      if (used + bytes > maxBytes) {
        throw new LongshoreError(
          "disk-full",
          "resolve",
          `a file of ${bytes} bytes does not fit into a cache of ${maxBytes}: the rest of it is in use`,
        );
      }
      promised += bytes;
    });
    making = turn.catch(() => undefined);
    return turn;
  }

  const isUnderWay = (name: string): boolean => name.startsWith("parts/") && uses.uses(name);

  async function filesIn(within: "blobs" | "parts"): Promise<readonly KeptFile[]> {
    const files: KeptFile[] = [];
    for (const file of await readdir(join(folder, within))) {
      const found = await stat(join(folder, within, file)).catch(unlessAbsent);
      if (found) files.push({ name: `${within}/${file}`, size: found.size, atMs: found.mtimeMs });
    }
    return files;
  }

  /**
   * Deletes a file, unless a process has begun to use it meanwhile: a user announces itself first, and then looks whether the
   * file is there.
   */
  async function evict(name: string): Promise<boolean> {
    const path = join(folder, name);
    const going = join(parts, `${basename(name)}-${uses.id}`);
    await rename(path, going).catch(unlessAbsent);
    const wanted = uses.uses(name) || (await uses.others()).has(name);
    if (wanted) await rename(going, path).catch(unlessAbsent);
    else {
      await rm(going, { force: true });
      seen.delete(basename(name));
    }
    return !wanted;
  }

  function note(digest: Digest, isHere: boolean): boolean {
    if (isHere) seen.add(hexOf(digest));
    else seen.delete(hexOf(digest));
    return isHere;
  }

  async function touch(digest: Digest): Promise<void> {
    const now = new Date(clock.wallMs());
    // Another process may just have deleted it.
    await utimes(pathOf(digest), now, now).catch(() => undefined);
  }

  async function take(part: Part, wanted: WantedFile, content: FileBytes, call: Call): Promise<void> {
    if (content.fromByte !== part.bytes) {
      await part.file.truncate(0);
      part.hash = createHash("sha256");
      part.bytes = 0;
      if (content.fromByte !== 0)
        throw new LongshoreError("bad-reply", "decode", "another range came than was asked for");
    }
    for await (const chunk of content.read()) {
      if (call.abort.aborted) throw abortError(call.abort, "transport");
      if (part.bytes + chunk.byteLength > wanted.bytes) {
        throw new LongshoreError(
          "bad-reply",
          "decode",
          `${wanted.digest} has ${wanted.bytes} bytes, and more came`,
        );
      }
      await writeAll(part.file, chunk, part.bytes);
      part.hash.update(chunk);
      part.bytes += chunk.byteLength;
    }
    if (part.bytes < wanted.bytes) {
      const message = `${wanted.digest} has ${wanted.bytes} bytes, and it ended after ${part.bytes}`;
      throw new LongshoreError("no-answer", "transport", message);
    }
  }

  async function fill(
    wanted: WantedFile,
    from: (fromByte: number) => Promise<FileBytes>,
    call: Call,
  ): Promise<void> {
    try {
      for (const one of [blobs, parts]) await mkdir(one, { recursive: true });
    } catch (thrown) {
      throw fromDisk(thrown);
    }
    const name = await partFor(wanted.digest);
    const path = join(folder, name);
    let part: Part | undefined;
    let reserved = 0;
    try {
      await reserve(wanted.bytes);
      reserved = wanted.bytes;
      part = await openPart(path, wanted.bytes);
      if (part.bytes < wanted.bytes) await take(part, wanted, await from(part.bytes), call);
      const found = `sha256:${part.hash.digest("hex")}`;
      if (found !== wanted.digest) {
        throw new LongshoreError("bad-reply", "decode", `${wanted.digest} was requested, and ${found} came`);
      }
      await part.file.sync();
      await part.file.close();
      part = undefined;
      await rename(path, pathOf(wanted.digest));
      note(wanted.digest, true);
      await touch(wanted.digest);
    } catch (thrown) {
      await part?.file.close();
      const error = fromDisk(thrown);
      // A fetch that broke off goes on later; wrong content, or content that fills the disk, is not kept.
      const wrong = LongshoreError.is(error) && (error.reason === "bad-reply" || isOfDisk(error));
      if (wrong) await rm(path, { force: true });
      throw error;
    } finally {
      promised -= reserved;
      uses.leave([name]);
    }
  }

  /**
   * The file that this process writes as bytes come: the earlier part, or a copy of it if another process goes on with that.
   */
  async function partFor(digest: Digest): Promise<string> {
    const name = `parts/${hexOf(digest)}`;
    uses.use([name]);
    if (!(await uses.others()).has(name)) return name;
    uses.leave([name]);
    const own = `${name}-${uses.id}`;
    uses.use([own]);
    // Its user may have been killed with most of it here. Without a copy all of it is fetched.
    await copyFile(join(folder, name), join(folder, own)).catch(() => undefined);
    return own;
  }

  const cache: PackageCache = {
    maxBytes,
    async has(digest) {
      return note(digest, (await sizeOf(pathOf(digest))) !== undefined);
    },
    seen: (digest) => seen.has(hexOf(digest)),
    async read(digest) {
      let bytes: Uint8Array;
      try {
        const read = await readFile(pathOf(digest));
        // Its memory may be handed on to a thread: it must not be shared with other buffers.
        bytes =
          read.byteLength === read.buffer.byteLength ? new Uint8Array(read.buffer) : Uint8Array.from(read);
      } catch (thrown) {
        if (codeOf(thrown) !== "ENOENT") throw thrown;
        note(digest, false);
        return undefined;
      }
      if (!note(digest, (await sha256(bytes)) === digest)) {
        await rm(pathOf(digest), { force: true });
        return undefined;
      }
      await touch(digest);
      return bytes;
    },
    async open(digest, fromByte) {
      const bytes = await sizeOf(pathOf(digest));
      if (bytes === undefined) return undefined;
      await touch(digest);
      const path = pathOf(digest);
      return { bytes, read: () => createReadStream(path, { start: fromByte }) as AsyncIterable<Uint8Array> };
    },
    async fill(wanted, from, call) {
      if (await cache.has(wanted.digest)) return touch(wanted.digest);
      const under = filling.get(wanted.digest);
      if (under) return under;
      const work = fill(wanted, from, call).finally(() => filling.delete(wanted.digest));
      filling.set(wanted.digest, work);
      return work;
    },
    pin(digests) {
      const names = digests.map((digest) => `blobs/${hexOf(digest)}`);
      uses.use(names);
      let held = true;
      return {
        [Symbol.dispose]() {
          if (held) uses.leave(names);
          held = false;
        },
      };
    },
  };
  return cache;
}
