import { type Json, LongshoreError } from "../../words/base/index.ts";
import { read, type Reader } from "../../wire/protocol/index.ts";
import { canonicalJson } from "./canonical.ts";

/** A signature and the ID of its key. */
export interface Signature {
  /** ID of the key: the first 16 hexadecimal digits of the SHA-256 of the public key's 32 bytes. */
  readonly key: string;
  /** 64 bytes of Ed25519 (RFC 8032) in base64url. */
  readonly value: string;
}

/** A statement of the operator with its signature. */
export interface Signed<T> {
  readonly body: T;
  readonly signature?: Signature;
}

/** Purpose of a signature. Two purposes never share a signature, so a manifest cannot pass for an entry. */
export type SignedPurpose = "directory entry" | "alias entry" | "package manifest";

/** The trusted public keys. */
export interface KeyRing {
  /** IDs of all keys. */
  readonly keys: readonly string[];
  /** Whether the key with that ID made this signature. False for unknown keys. */
  verify(key: string, message: Uint8Array, signature: Uint8Array): Promise<boolean>;
}

/** An operator's private key. */
export interface Signer {
  readonly key: string;
  sign(message: Uint8Array): Promise<Uint8Array>;
}

const encoder = new TextEncoder();

/** The signed bytes: purpose, a line feed, and the canonical JSON of the body. */
export function signedMessage(purpose: SignedPurpose, body: Json): Uint8Array {
  return encoder.encode(`longshore ${purpose} 1\n${canonicalJson(body)}`);
}

function toBase64Url(bytes: Uint8Array): string {
  let binary = "";
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** The 64 bytes of a signature; undefined for text that is not exactly their encoding. */
function signatureBytes(value: string): Uint8Array | undefined {
  if (!/^[A-Za-z0-9_-]{86}$/.test(value)) return undefined;
  const binary = atob(value.replaceAll("-", "+").replaceAll("_", "/"));
  const bytes = Uint8Array.from(binary, (letter) => letter.charCodeAt(0));
  // Bits beyond the last byte must be zero, or one signature would have several texts.
  return toBase64Url(bytes) === value ? bytes : undefined;
}

/** Parses a signature. */
export const signatureFrom: Reader<Signature> = read.fields({
  key: read.readText(64),
  value: read.readText(128),
});

/** Signs a body. */
export async function sign<T extends Json>(
  purpose: SignedPurpose,
  body: T,
  signer: Signer,
): Promise<Signed<T>> {
  const bytes = await signer.sign(signedMessage(purpose, body));
  return { body, signature: { key: signer.key, value: toBase64Url(bytes) } };
}

/** Throws `not-permitted` unless a key of the ring signed exactly this body. The message names the key, not the body. */
export async function checkSignature(
  purpose: SignedPurpose,
  { body, signature }: Signed<Json>,
  ring: KeyRing,
): Promise<void> {
  const refuse = (why: string): never => {
    throw new LongshoreError("not-permitted", "identify", `this ${purpose} is not believed: ${why}`);
  };
  if (!signature) return refuse("it is not signed");
  const key = signature.key.replaceAll(/[^0-9a-f]/g, "?").slice(0, 16);
  if (!ring.keys.includes(signature.key))
    return refuse(`it is signed with key ${key}, which is not one of the operator's`);
  const bytes = signatureBytes(signature.value);
  if (!bytes || !(await ring.verify(signature.key, signedMessage(purpose, body), bytes))) {
    refuse(`its signature with key ${key} is not good`);
  }
}
