import type { Call, InferenceRequest, Rules, Tensor, Tensors } from "@longshore/core";
import { exactJson } from "@longshore/core/internal";

/** `sha256:<hex>` of bytes; at once or later, as suits their number. */
export type KeyHash = (bytes: Uint8Array) => string | Promise<string>;

/** All rules of a call. Its type names each, so that none that is added is left out. */
export function rulesKey(rules: Rules): Readonly<Record<keyof Rules, unknown>> {
  const { dataClass, leastTrust, zones = null, confirm = false } = rules;
  return { dataClass, leastTrust, zones, confirm };
}

/** The bytes of a tensor do not say where one element of a ragged tensor ends, nor what shape a plain one has. */
async function tensorKey({ spec, bytes, rows }: Tensor, hash: KeyHash): Promise<readonly unknown[]> {
  const { name, datatype, shape } = spec;
  return [name, datatype, shape, rows ?? null, await hash(bytes)];
}

/**
 * The facts that two requests must share to have the same answer: the tenant and its rules, the content of the model, the part
 * of it, the outputs, classes and parameters, and every input. Inputs are compared by SHA-256, for which collisions cannot be
 * made: with a shorter or faster hash the inputs themselves would have to be kept and compared. It is JSON, so that no two
 * lists of parts read the same.
 */
export async function answerKey(
  { segment, codecs, outputs, classes, parameters }: InferenceRequest,
  inputs: Tensors,
  { tenant, rules }: Call,
  hash: KeyHash,
): Promise<string> {
  const tensors = [...inputs.values()].sort((a, b) => (a.spec.name < b.spec.name ? -1 : 1));
  const sorted = (object: object | undefined): unknown[] =>
    Object.entries(object ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));
  return exactJson([
    tenant,
    rulesKey(rules),
    [segment.model, segment.version, segment.digest, segment.variant, segment.from, segment.to],
    outputs ? [...outputs].sort() : null,
    classes ? [...classes].sort(([one], [other]) => (one < other ? -1 : 1)) : null,
    sorted(parameters),
    sorted(codecs),
    await Promise.all(tensors.map((tensor) => tensorKey(tensor, hash))),
  ]);
}
