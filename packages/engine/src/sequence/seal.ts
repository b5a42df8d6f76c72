import { type Call, LongshoreError, type SequencePosition, type Tensors } from "@longshore/core";
import { nextStep } from "@longshore/core/internal";
import type { SequenceKey } from "./sequence-store.ts";

/**
 * Exported state leaves this endpoint and comes back through hands that are not ours. Two kinds of callers bring state. Callers
 * that may feed parts of models (`segment:infer`) may treat a state as one more tensor. All others may only continue from a
 * state that this endpoint gave them. A seal proves that this endpoint gave the state: a keyed hash over tenant, model,
 * content, sequence id, step and the tensors. A seal that was made here and does not fit is refused for every caller; a seal by
 * an unknown key counts as none.
 */

/** Makes and checks seals. */
export interface SealKey {
  /** Tells keys apart: letters and digits, at most 32. */
  readonly id: string;
  /** Keyed hash of some bytes (HMAC with SHA-256), as hexadecimal digits. */
  mac(bytes: Uint8Array): Promise<string>;
}

/** A seal for the state after a step. */
export async function sealState(
  { id, mac }: SealKey,
  key: SequenceKey,
  step: number,
  state: Tensors,
): Promise<string> {
  return `1.${id}.${step}.${await mac(sealed(key, step, state))}`;
}

/**
 * Refuses carried state of callers who may not make one up and bring no seal for it, and whatever carries a seal of ours
 * that does not fit: rejects with `not-permitted`, and with `sequence-step` where it is not of the step before. Nothing has to
 * be waited for where no state was brought.
 */
export function checkSeal(
  own: SealKey | undefined,
  key: SequenceKey,
  position: SequencePosition,
  call: Call,
): Promise<void> | undefined {
  return position.state && checkCarried(own, key, position.state, position, call);
}

async function checkCarried(
  own: SealKey | undefined,
  key: SequenceKey,
  state: Tensors,
  { seal, step: wanted }: SequencePosition,
  { rights }: Call,
): Promise<void> {
  const [, keyId, step, mac] = /^1\.([A-Za-z0-9]{1,32})\.(\d{1,15})\.([0-9a-f]{64})$/.exec(seal ?? "") ?? [];
  if (own && keyId === own.id && step !== undefined && mac !== undefined) {
    if (same(await own.mac(sealed(key, Number(step), state)), mac)) {
      if (wanted === nextStep || wanted === Number(step) + 1) return;
      throw new LongshoreError(
        "sequence-step",
        "admission",
        `the state is that after step ${step}, which step ${wanted} does not follow`,
      );
    }
    throw new LongshoreError(
      "not-permitted",
      "admission",
      "the state was exported for another tenant, model, content, sequence or step, or was changed since",
    );
  }
  if (rights === undefined || rights.includes("segment:infer")) return;
  throw new LongshoreError(
    "not-permitted",
    "admission",
    "state without this endpoint's seal is taken only from those who may run parts of models ('segment:infer'); send the seal that came with the state",
  );
}

/** The bytes under a seal, with one reading only: JSON with all names and sizes, then the bytes in that order. */
function sealed({ tenant, model, digest, id }: SequenceKey, step: number, state: Tensors): Uint8Array {
  const tensors = [...state.values()].sort((a, b) => (a.spec.name < b.spec.name ? -1 : 1));
  const facts = tensors.map(({ spec, bytes }) => [spec.name, spec.datatype, spec.shape, bytes.byteLength]);
  const head = new TextEncoder().encode(JSON.stringify([tenant, model, digest, id, step, facts]));
  const all = new Uint8Array(head.byteLength + tensors.reduce((sum, { bytes }) => sum + bytes.byteLength, 0));
  all.set(head);
  let offset = head.byteLength;
  for (const { bytes } of tensors) {
    all.set(bytes, offset);
    offset += bytes.byteLength;
  }
  return all;
}

/** Whether two texts of one length are equal, in a time that does not tell where they differ. */
function same(a: string, b: string): boolean {
  let difference = a.length ^ b.length;
  for (let index = 0; index < b.length; index++) difference |= a.charCodeAt(index) ^ b.charCodeAt(index);
  return difference === 0;
}
