import { numbersOf, type Tensor, type Tensors } from "../../words/tensor/index.ts";

/** How far two answers to one question may lie apart and still be the same answer. */
export interface Tolerance {
  /** Of each number, in its own unit. */
  readonly absolute: number;
  /** Of each number, as a share of it. */
  readonly relativeRatio: number;
  /** Tolerance of each number as a share of the largest number in its tensor: numbers near zero may differ by that. */
  readonly ofLargestRatio: number;
  /** Share of a tensor's elements that may differ by more; of texts and whole numbers, that may differ at all. */
  readonly strayRatio: number;
}

/** Between two machines that run the very same numbers: other kernels round otherwise, and no more. */
export const sameBody: Tolerance = {
  absolute: 1e-6,
  relativeRatio: 0.01,
  ofLargestRatio: 0.005,
  strayRatio: 0,
};

/** Tolerance for another variant or a lossy codec, whose answers agree in almost all cases but not to the digit. */
export const similarBody: Tolerance = {
  absolute: 1e-3,
  relativeRatio: 0.1,
  ofLargestRatio: 0.05,
  strayRatio: 0.05,
};

/** The tolerance for answers that agree in this share of cases, as the profile states for variant and codecs. */
export function toleranceFor(agreementRatio: number): Tolerance {
  return agreementRatio >= 1 ? sameBody : similarBody;
}

/** Why `given` is not the same answer as `meant`, in words without any of its content; undefined when it is. */
export function difference(meant: Tensors, given: Tensors, tolerance: Tolerance): string | undefined {
  for (const [name, tensor] of meant) {
    const other = given.get(name);
    if (!other) return `${name} is missing`;
    const why = differs(tensor, other, tolerance);
    if (why !== undefined) return `${name} ${why}`;
  }
  return undefined;
}

function differs(meant: Tensor, given: Tensor, tolerance: Tolerance): string | undefined {
  const { datatype, shape } = meant.spec;
  if (given.spec.datatype !== datatype) return `is ${given.spec.datatype}, not ${datatype}`;
  if (given.spec.shape.length !== shape.length || shape.some((size, axis) => given.spec.shape[axis] !== size))
    return `has another shape`;
  // Of ragged tensors the sizes of each element.
  if (meant.rows && JSON.stringify(meant.rows) !== JSON.stringify(given.rows)) return "has other elements";
  if (datatype === "BYTES") return equalBytes(meant.bytes, given.bytes) ? undefined : "has other texts";
  const stray = strays(meant, given, tolerance);
  const count = Math.max(1, stray.count);
  if (stray.found <= tolerance.strayRatio * count) return undefined;
  return `differs in ${stray.found} of ${stray.count} numbers, by up to ${stray.worst.toPrecision(2)} times what is allowed`;
}

/** Numbers that lie further apart than they may. */
function strays(
  meant: Tensor,
  given: Tensor,
  tolerance: Tolerance,
): { readonly found: number; readonly count: number; readonly worst: number } {
  const one = numbersOf(meant);
  const other = numbersOf(given);
  if (one.length !== other.length) return { found: Infinity, count: one.length, worst: Infinity };
  const whole = !meant.spec.datatype.startsWith("FP") && meant.spec.datatype !== "BF16";
  let largest = 0;
  for (const value of one) {
    const size = Math.abs(Number(value));
    if (size > largest && size < Infinity) largest = size;
  }
  const floor = whole ? 0 : tolerance.absolute + tolerance.ofLargestRatio * largest;
  const relative = whole ? 0 : tolerance.relativeRatio;
  let found = 0;
  let worst = 0;
  for (let at = 0; at < one.length; at++) {
    const a = Number(one[at]);
    const b = Number(other[at]);
    if (a === b || (Number.isNaN(a) && Number.isNaN(b))) continue;
    const apart = Math.abs(a - b);
    const allowed = floor + relative * Math.abs(a);
    // Also true if one of them is NaN.
    if (apart <= allowed) continue;
    found++;
    worst = Math.max(worst, Number.isFinite(apart) && allowed > 0 ? apart / allowed : Infinity);
  }
  return { found, count: one.length, worst };
}

function equalBytes(one: Uint8Array, other: Uint8Array): boolean {
  return one.byteLength === other.byteLength && one.every((byte, at) => byte === other[at]);
}
