import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import { LongshoreError } from "@longshore/core";

/**
 * POSIX shared memory as files, which on Linux it is: `/dev/shm/<key>`. A client that maps the same object sees what is
 * written here at once. Reading with a length that is checked each time, instead of mapping, costs one copy; a mapping
 * would end the process when a client shortens its object.
 */

/** One open object. Offsets and lengths in bytes. */
export interface SharedFile {
  readonly byteLength: number;
  /** Fills `into` from `offset` on. Throws `invalid-input` when the object has become shorter. */
  read(offset: number, into: Uint8Array): Promise<void>;
  write(offset: number, bytes: Uint8Array): Promise<void>;
  close(): Promise<void>;
}

/** Objects that may be opened. */
export interface SharedFolder {
  /** Throws `not-permitted` for keys without the prefix, and `invalid-input` for what is no object of this user. */
  open(key: string): Promise<SharedFile>;
}

function invalid(message: string): LongshoreError {
  return new LongshoreError("invalid-input", "admission", message);
}

/** One name in the folder: no way up, no way down, no end in its middle. */
const plainName = /^[^/\0]{1,255}$/;

class OpenFile implements SharedFile {
  readonly byteLength: number;
  readonly #handle: FileHandle;

  constructor(handle: FileHandle, byteLength: number) {
    this.#handle = handle;
    this.byteLength = byteLength;
  }

  async read(offset: number, into: Uint8Array): Promise<void> {
    let done = 0;
    while (done < into.byteLength) {
      const { bytesRead } = await this.#handle.read(into, done, into.byteLength - done, offset + done);
      if (bytesRead === 0) throw invalid("the object of shared memory has become shorter than its region");
      done += bytesRead;
    }
  }

  async write(offset: number, bytes: Uint8Array): Promise<void> {
    // Writing beyond the end would extend the object, which is its owner's decision.
    const { size } = await this.#handle.stat();
    if (offset + bytes.byteLength > size) {
      throw invalid("the object of shared memory has become shorter than its region");
    }
    let done = 0;
    while (done < bytes.byteLength) {
      const { bytesWritten } = await this.#handle.write(bytes, done, bytes.byteLength - done, offset + done);
      done += bytesWritten;
    }
  }

  close(): Promise<void> {
    return this.#handle.close();
  }
}

/**
 * @param prefix What a key must begin with, without the slash that POSIX puts before it. Anything of this user under it
 *   can be read and written by clients, so it should be theirs alone.
 * @param folder Where the system keeps shared memory. Default `/dev/shm`.
 *
 * @example
 * ```ts
 * import { sharedFolder } from "@longshore/nodejs";
 *
 * const folder = sharedFolder("longshore-");
 * console.log(typeof folder.open); // function
 * ```
 */
export function sharedFolder(prefix: string, folder = "/dev/shm"): SharedFolder {
  return {
    async open(key) {
      const name = key.startsWith("/") ? key.slice(1) : key;
      if (!plainName.test(name) || name === "." || name === "..") {
        throw invalid("the key is not one that shared memory can have");
      }
      if (!name.startsWith(prefix)) {
        throw new LongshoreError(
          "not-permitted",
          "admission",
          "the key does not begin as the operator allows it for shared memory",
        );
      }
      let handle: FileHandle;
      try {
        // A link would lead out of the folder, and a pipe would hold the thread that opens it.
        const { O_RDWR, O_NOFOLLOW, O_NONBLOCK } = constants;
        handle = await open(join(folder, name), O_RDWR | O_NOFOLLOW | O_NONBLOCK);
      } catch {
        throw invalid("there is no object of shared memory under this key that this server may use");
      }
      const facts = await handle.stat();
      if (!facts.isFile() || facts.nlink !== 1 || facts.uid !== process.geteuid?.()) {
        await handle.close();
        throw invalid("there is no object of shared memory under this key that this server may use");
      }
      return new OpenFile(handle, facts.size);
    },
  };
}
