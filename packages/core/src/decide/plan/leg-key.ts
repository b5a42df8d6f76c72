import type { Call } from "../../words/base/index.ts";
import type { Leg } from "./plan.ts";
import { fingerprint, type Tensors } from "../../words/tensor/index.ts";

/** As long as a key may be before the mark of a leg; endpoints on the way add one each. */
const longest = 256;

/**
 * The idempotency key of a leg. Legs of one request are requests of their own, with other versions, parts and codings, and
 * each must run; the same leg that is sent to the same endpoint again must not. Where that endpoint cannot tell the tenants of this one apart,
 * their keys must not meet there; `~` is in no tenant's name, and servers know of none longer than 64 characters.
 */
export function legKey(call: Call, { segment, codecs, state }: Leg): string {
  const { id, tenant, idempotencyKey = id } = call;
  const { version, digest, variant, from, to } = segment;
  // All of it is in the mark, so that shortening makes no two keys the same. Lengths say where each word ends.
  let what = [tenant, idempotencyKey, version, digest, variant, from, to].map(word).join("") + (state ?? "");
  for (const name in codecs) what += `;${word(name)}${word(codecs[name] ?? "")}`;
  return `${plain(tenant).slice(-64)}~${plain(idempotencyKey).slice(-longest)}.${fingerprint(what, nothing) ?? ""}`;
}

const nothing: Tensors = new Map();
const word = (text: string): string => `${text.length}:${text}`;

/** In characters that headers carry as they are: encoded there, a key would be longer than it may be, or none (half a sign). */
const plain = (text: string): string =>
  text.replaceAll(/[^\w.!~*'()-]/gu, (sign) => `~${(sign.codePointAt(0) ?? 0).toString(16)}`);
