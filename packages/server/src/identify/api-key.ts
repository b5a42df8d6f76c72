import { base64url } from "jose";

/** Marks a text as one of our keys, for the eye and for scanners of leaked secrets. */
const prefix = "lsk";

/** Characters of a key's public part. */
const idBytes = 8;
/** Bytes of a key's secret: 256 bits, beyond any guessing. */
const secretBytes = 32;

const shape = /^lsk_([0-9a-f]{16})_([A-Za-z0-9_-]{43})$/;

/** A key as its holder has it. Only `id` may be logged. */
export interface ApiKey {
  /** 16 hexadecimal digits: which key it is. */
  readonly id: string;
  /** `lsk_<id>_<secret>`. */
  readonly text: string;
}

/** Whether a bearer credential means to be one of our keys, well-formed or not. */
export function looksLikeApiKey(text: string): boolean {
  return text.startsWith(`${prefix}_`);
}

/** Reads a key; undefined when it cannot be one. */
export function parseApiKey(text: string): ApiKey | undefined {
  const id = shape.exec(text)?.[1];
  return id === undefined ? undefined : { id, text };
}

/** A new key out of the platform's own source of secrets. It is shown once and never kept. */
export function newApiKey(): ApiKey {
  const id = [...crypto.getRandomValues(new Uint8Array(idBytes))]
    .map((byte) => byte.toString(16).padStart(2, "0"))
    .join("");
  return {
    id,
    text: `${prefix}_${id}_${base64url.encode(crypto.getRandomValues(new Uint8Array(secretBytes)))}`,
  };
}

/**
 * Hashes keys with the server's pepper (HMAC-SHA-256): a file of hashes alone is worth nothing, neither to try keys
 * against nor to make entries for. Keys are random, so that no slow password hash is needed.
 */
export interface KeyHasher {
  hash(text: string): Uint8Array | Promise<Uint8Array>;
}

/**
 * A hasher on the platform's WebCrypto. Every request with a key waits for it; a platform that hashes at once can bring its
 * own.
 *
 * @param pepper At least 32 random bytes, kept apart from the file of hashes. */
export async function keyHasher(pepper: Uint8Array<ArrayBuffer>): Promise<KeyHasher> {
  const key = await crypto.subtle.importKey("raw", pepper, { name: "HMAC", hash: "SHA-256" }, false, [
    "sign",
  ]);
  const encoder = new TextEncoder();
  return {
    hash: async (text) => new Uint8Array(await crypto.subtle.sign("HMAC", key, encoder.encode(text))),
  };
}
