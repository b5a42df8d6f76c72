import { type Datatype, numbersOf, type Tensors } from "@longshore/core";

/** Sums of squares over some elements, so that several crossings can be taken together. */
export interface Squares {
  /** Of what arrived less what was sent. */
  readonly apart: number;
  /** Of what was sent. */
  readonly sent: number;
}

const fractions: ReadonlySet<Datatype> = new Set(["FP16", "BF16", "FP32", "FP64"]);

/** How far a crossing arrives from what was sent: all its fractions, and of other tensors those in `coded`, such as pictures. */
export function squaresOf(sent: Tensors, arrived: Tensors, coded: ReadonlySet<string>): Squares {
  let [apart, size] = [0, 0];
  for (const [name, tensor] of sent) {
    const other = arrived.get(name);
    if (!other || (!fractions.has(tensor.spec.datatype) && !coded.has(name))) continue;
    const [a, b] = [numbersOf(other), numbersOf(tensor)];
    for (let index = 0; index < b.length; index++) {
      const [x, y] = [Number(a[index]), Number(b[index])];
      if (!Object.is(x, y)) apart += (x - y) ** 2;
      // An infinity that arrives as it is says nothing of the others.
      else if (!Number.isFinite(y)) continue;
      size += y ** 2;
    }
  }
  return { apart, sent: size };
}

/** Root mean square of the difference over that of what was sent; undefined where that is no number. */
export function errorRatioOf(all: readonly Squares[]): number | undefined {
  const [apart, sent] = [sumOf(all.map((one) => one.apart)), sumOf(all.map((one) => one.sent))];
  if (apart === 0) return 0;
  const ratio = Math.sqrt(apart / sent);
  return Number.isFinite(sent) && Number.isFinite(ratio) ? ratio : undefined;
}

function sumOf(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
