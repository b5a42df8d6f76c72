import type { Call } from "../../words/base/index.ts";
import type { Leg } from "./plan.ts";
import { fingerprint, type Tensors } from "../../words/tensor/index.ts";

/** Longest key before the mark of a leg. Endpoints on the path add one mark each. */
const longest = 256;

/**
 * The idempotency key of a leg. The legs of one request are requests of their own, with different versions, parts and encodings, and each
 * must run. The same leg that is sent to the same endpoint again must not run twice. An endpoint that cannot tell this one's tenants apart
 * must not mix up their keys: `~` occurs in no tenant name, and names have at most 64 characters.
 */
export function legKey(
  call: Call,
  { segment, codecs, state }: Pick<Leg, "segment" | "codecs" | "state">,
): string {
  const { id, tenant, idempotencyKey = id } = call;
  const { version, digest, variant, from, to } = segment;
  // The mark covers all of these, so that shortened keys stay different. Lengths show where each word ends.
  let covered =
    [tenant, idempotencyKey, version, digest, variant, from, to].map(word).join("") + (state ?? "");
  for (const name in codecs) covered += `;${word(name)}${word(codecs[name] ?? "")}`;
  return `${beginOf(tenant, idempotencyKey)}${fingerprint(covered, nothing) ?? ""}`;
}

/** Whether a key is that of a leg of a request with the same idempotency key as this one; false if this one has none. */
export function isLegKeyOf({ tenant, idempotencyKey }: Call, key: string): boolean {
  return idempotencyKey !== undefined && key.startsWith(beginOf(tenant, idempotencyKey));
}

const beginOf = (tenant: string, idempotencyKey: string): string =>
  `${plain(tenant).slice(-64)}~${plain(idempotencyKey).slice(-longest)}.`;

const nothing: Tensors = new Map();
const word = (text: string): string => `${text.length}:${text}`;

/** In characters that headers carry unchanged. Escaped in a header, a key could exceed its limit or end in half a character. */
const plain = (text: string): string =>
  text.replaceAll(/[^\w.!~*'()-]/gu, (sign) => `~${(sign.codePointAt(0) ?? 0).toString(16)}`);
