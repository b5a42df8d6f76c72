import { createHash } from "node:crypto";
import { type Clock, type DirectoryMemory, type Json, LongshoreError } from "@longshore/core";
import type { AliasShelf, KeptAliases } from "@longshore/core/internal";
import type { PackageCache } from "@longshore/nodejs";
import { after } from "./parts.ts";

/** The disk of a machine, which outlives its processes. */
export interface Disk {
  /** Nothing can be written. */
  full: boolean;
  readonly files: Map<string, string>;
  readonly blobs: Map<string, Uint8Array>;
}

/** An empty disk. */
export function emptyDisk(): Disk {
  return { full: false, files: new Map(), blobs: new Map() };
}

/** How long what was written takes until it outlives a loss of power, in milliseconds. */
const syncMs = 8;

function noRoom(): LongshoreError {
  return new LongshoreError("disk-full", "resolve", "the disk is full");
}

/** Replaces a file as a whole: a machine that loses power before it is done has the file from before. */
async function replaced(disk: Disk, clock: Clock, name: string, text: string): Promise<void> {
  if (disk.full) throw noRoom();
  await after(clock, syncMs);
  if (disk.full) throw noRoom();
  disk.files.set(name, text);
}

/** Keeps what a directory knew last. */
export function memoryOn(disk: Disk, clock: Clock): DirectoryMemory {
  return {
    load: () => Promise.resolve(JSON.parse(disk.files.get("directory") ?? "null") ?? undefined),
    save: (state: Json) => replaced(disk, clock, "directory", JSON.stringify(state)),
  };
}

/** Keeps aliases. */
export function aliasesOn(disk: Disk, clock: Clock): AliasShelf {
  return {
    read: () =>
      Promise.resolve(
        JSON.parse(disk.files.get("aliases") ?? '{"aliases":[],"removedRevision":0}') as KeptAliases,
      ),
    write: (kept) => replaced(disk, clock, "aliases", JSON.stringify(kept)),
  };
}

/** A cache of packages on a disk: a file is here when all of it has come, is what it should be, and was synchronised. */
export function packagesOn(disk: Disk, clock: Clock): PackageCache {
  const { blobs } = disk;
  const digestOf = (bytes: Uint8Array): string =>
    `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
  return {
    maxBytes: 2 ** 20,
    has: (digest) => Promise.resolve(blobs.has(digest)),
    seen: (digest) => blobs.has(digest),
    read: (digest) => Promise.resolve(blobs.get(digest)?.slice()),
    open: (digest, fromByte) => {
      const bytes = blobs.get(digest);
      return Promise.resolve(bytes && { bytes: bytes.byteLength, read: () => once(bytes.slice(fromByte)) });
    },
    async fill({ digest, bytes }, open) {
      if (blobs.has(digest)) return;
      if (disk.full) throw noRoom();
      const { read } = await open(0);
      const chunks: Uint8Array[] = [];
      for await (const chunk of read()) chunks.push(chunk.slice());
      const whole = Buffer.concat(chunks);
      if (whole.byteLength < bytes)
        throw new LongshoreError("no-answer", "transport", `${digest} ended after ${whole.byteLength} bytes`);
      if (digestOf(whole) !== digest)
        throw new LongshoreError("bad-reply", "decode", `${digest} was asked for, and something else came`);
      await after(clock, syncMs);
      if (disk.full) throw noRoom();
      blobs.set(digest, Uint8Array.from(whole));
    },
    pin: () => ({ [Symbol.dispose]: () => undefined }),
  };
}

async function* once(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  yield bytes;
}
