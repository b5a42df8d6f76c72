import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign as signBytes,
  verify as verifyBytes,
} from "node:crypto";
import { promisify } from "node:util";
import { type KeyRing, LongshoreError } from "@longshore/core";
import type { Signer } from "@longshore/core/internal";

const signOff = promisify<null, Uint8Array, KeyObject, Buffer>(signBytes);
const verifyOff = promisify<null, Uint8Array, KeyObject, Uint8Array, boolean>(verifyBytes);

/** The bytes before the 32 bytes of an Ed25519 public key in DER (RFC 8410). */
const derLead = Buffer.from("302a300506032b6570032100", "hex");

function bad(message: string, cause?: unknown): LongshoreError {
  return new LongshoreError("invalid-configuration", "resolve", message, { cause });
}

function rawOf(key: KeyObject): Buffer {
  return key.export({ format: "der", type: "spki" }).subarray(derLead.length);
}

function idOf(raw: Uint8Array): string {
  return createHash("sha256").update(raw).digest("hex").slice(0, 16);
}

/**
 * A new key of an operator: the private one as PEM, the public one as the line that `operatorRing` reads.
 *
 * @example
 * ```ts
 * import { newOperatorKey } from "@longshore/nodejs";
 *
 * const { privatePem, publicLine } = newOperatorKey();
 * console.log(publicLine.startsWith("ed25519:"), privatePem.includes("PRIVATE KEY")); // true true
 * ```
 */
export function newOperatorKey(): {
  readonly id: string;
  readonly privatePem: string;
  readonly publicLine: string;
} {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  const raw = rawOf(publicKey);
  return {
    id: idOf(raw),
    privatePem: privateKey.export({ format: "pem", type: "pkcs8" }).toString(),
    publicLine: `ed25519:${raw.toString("base64url")}`,
  };
}

/**
 * An operator's private key from its PEM. Throws `invalid-configuration` for anything but Ed25519.
 *
 * @example
 * ```ts
 * import { newOperatorKey, operatorSigner } from "@longshore/nodejs";
 *
 * const signer = operatorSigner(newOperatorKey().privatePem);
 * console.log(signer.key.length); // 16
 * ```
 */
export function operatorSigner(pem: string): Signer {
  let key: KeyObject;
  try {
    key = createPrivateKey(pem);
  } catch (thrown) {
    throw bad("the operator's key is not a private key in PEM", thrown);
  }
  if (key.asymmetricKeyType !== "ed25519") throw bad("the operator's key is not one of Ed25519");
  return {
    key: idOf(rawOf(createPublicKey(key))),
    sign: (message) => signOff(null, message, key),
  };
}

/**
 * The public keys that are believed: lines of `ed25519:<base64url of 32 bytes>`; blank lines and what follows a `#` are
 * left out. Several keys let an operator change from one to the next. Throws `invalid-configuration`.
 *
 * @example
 * ```ts
 * import { newOperatorKey, operatorRing } from "@longshore/nodejs";
 *
 * const ring = operatorRing(newOperatorKey().publicLine);
 * console.log(typeof ring); // object
 * ```
 */
export function operatorRing(text: string): KeyRing {
  const keys = new Map<string, KeyObject>();
  for (const line of text.split("\n")) {
    const written = (line.split("#")[0] ?? "").trim();
    if (written === "") continue;
    const [, encoded] = /^ed25519:([A-Za-z0-9_-]{43})$/.exec(written) ?? [];
    if (encoded === undefined) throw bad("a public key of the operator is written 'ed25519:' and 43 letters");
    const raw = Buffer.from(encoded, "base64url");
    keys.set(idOf(raw), createPublicKey({ key: Buffer.concat([derLead, raw]), format: "der", type: "spki" }));
  }
  if (keys.size === 0) throw bad("there is no public key of the operator");
  return {
    keys: [...keys.keys()],
    async verify(id, message, signature) {
      const key = keys.get(id);
      // Off the event loop: a directory has thousands of signatures.
      return key !== undefined && verifyOff(null, message, key, signature);
    },
  };
}
