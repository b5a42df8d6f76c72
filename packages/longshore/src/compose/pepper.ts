import { createHmac, randomBytes } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { LongshoreError } from "@longshore/core";
import { diskError } from "@longshore/nodejs";
import type { KeyHasher } from "@longshore/server";

/** Bytes of a pepper: as many as its hash gives. */
const pepperBytes = 32;

const shape = /^[A-Za-z0-9_-]{43,344}$/;

/** The secret that API keys are hashed under, from its file of base64url text. Throws `invalid-configuration`. */
export async function readPepper(file: string): Promise<Uint8Array<ArrayBuffer>> {
  let text: string;
  try {
    text = (await readFile(file, "utf8")).trim();
  } catch (thrown) {
    throw new LongshoreError(
      "invalid-configuration",
      "resolve",
      `the pepper '${file}' cannot be read; 'longshore keys add' makes one with the first key`,
      { cause: thrown },
    );
  }
  if (!shape.test(text)) {
    throw new LongshoreError(
      "invalid-configuration",
      "resolve",
      `the pepper '${file}' is not at least ${pepperBytes} bytes in base64url`,
    );
  }
  return new Uint8Array(Buffer.from(text, "base64url"));
}

/** Makes a pepper that only its owner can read. Throws `invalid-configuration` when the file is there already. */
export async function makePepper(file: string): Promise<void> {
  try {
    await writeFile(file, `${randomBytes(pepperBytes).toString("base64url")}\n`, { flag: "wx", mode: 0o600 });
  } catch (thrown) {
    const error = diskError(thrown, `the pepper '${file}'`);
    if (LongshoreError.is(error)) throw error;
    throw new LongshoreError("invalid-configuration", "resolve", `the pepper '${file}' cannot be made`, {
      cause: thrown,
    });
  }
}

/** A hasher of keys that needs no turn of the event loop, a tenth of the time of WebCrypto's for texts of this size. */
export function fastKeyHasher(pepper: Uint8Array): KeyHasher {
  return { hash: (text) => createHmac("sha256", pepper).update(text).digest() };
}
