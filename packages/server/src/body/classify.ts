import { defaultWireLimits, LongshoreError, numericView, type Tensor, tensorOf } from "@longshore/core";
import { fromHalf, TextWriter } from "@longshore/core/internal";

/*
 * The classification extension over tensors of any size: a request may ask for the classes of thousands of rows, or for all of
 * a million. Sorting each row whole kept other requests waiting for seconds; here a row keeps its best in a heap, and long work
 * is done in steps.
 */

/** Values that are read, or lines that are written, before other work gets its turn: about two milliseconds. */
const atOnce = 8192;

type Value = number | bigint;

interface Values {
  readonly length: number;
  at(index: number): Value;
}

function valuesOf(tensor: Tensor): Values {
  const { datatype, name } = tensor.spec;
  if (datatype === "BYTES" || datatype === "BF16") {
    throw new LongshoreError(
      "invalid-input",
      "execute",
      `${name} is ${datatype}: its classes cannot be ranked`,
    );
  }
  const view = numericView(tensor);
  const { length } = view;
  return datatype === "FP16"
    ? { length, at: (index) => fromHalf(Number(view[index])) }
    : { length, at: (index) => view[index] ?? Number.NaN };
}

/** How a value stands in a line, as Triton writes it: whole numbers as they are, others with six decimals, as C's `%f`. */
function textOf(value: Value, whole: boolean): string {
  if (whole || typeof value === "bigint") return String(value);
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "nan" : value > 0 ? "inf" : "-inf";
  if (Object.is(value, -0)) return "-0.000000";
  // From here on `toFixed` writes an exponent.
  if (Math.abs(value) >= 1e21) return `${BigInt(value)}.000000`;
  const text = value.toFixed(6);
  // Halfway between two texts, which only odd multiples of 1/128 are, `toFixed` takes the larger and C the even one.
  const halfway = Math.abs((value * 128) % 2) === 1;
  return halfway && /[13579]$/.test(text) ? value.toFixed(7).slice(0, -1) : text;
}

/** Whether class `a` comes after class `b`: a smaller value, or an equal one and a later index. NaN comes last. */
function isWorse(at: (index: number) => Value, a: number, b: number): boolean {
  const left = at(a);
  const right = at(b);
  if (left < right) return true;
  if (left > right) return false;
  if (left === right) return a > b;
  return Number.isNaN(left) && (!Number.isNaN(right) || a > b);
}

/** Replaces the root of a heap of `size`, which is the worst, by a class. */
function sink(heap: number[], size: number, moved: number, at: (index: number) => Value): void {
  let position = 0;
  for (;;) {
    let child = 2 * position + 1;
    if (child >= size) break;
    if (child + 1 < size && isWorse(at, heap[child + 1] ?? 0, heap[child] ?? 0)) child++;
    const below = heap[child] ?? 0;
    if (!isWorse(at, below, moved)) break;
    heap[position] = below;
    position = child;
  }
  heap[position] = moved;
}

/** Adds a class to a heap. */
function rise(heap: number[], moved: number, at: (index: number) => Value): void {
  let position = heap.length;
  while (position > 0) {
    const parent = (position - 1) >> 1;
    const above = heap[parent] ?? 0;
    if (!isWorse(at, moved, above)) break;
    heap[position] = above;
    position = parent;
  }
  heap[position] = moved;
}

/** Indices of the largest values, largest first; equal values in their order. `step` says when it is time to yield. */
function* best(
  at: (index: number) => Value,
  from: number,
  to: number,
  count: number,
  step: () => boolean,
): Generator<void, readonly number[]> {
  if (count === 0) return [];
  const heap: number[] = [];
  for (let index = from; index < to; index++) {
    if (heap.length < count) {
      rise(heap, index, at);
    } else if (isWorse(at, heap[0] ?? 0, index)) {
      sink(heap, heap.length, index, at);
    }
    if (step()) yield;
  }
  // The worst of those that are left goes to the end each time.
  for (let size = heap.length - 1; size > 0; size--) {
    const last = heap[size] ?? 0;
    heap[size] = heap[0] ?? 0;
    sink(heap, size, last, at);
    if (step()) yield;
  }
  return heap;
}

/**
 * The classification extension: the best classes of a tensor as BYTES `value:index[:label]`, `[batch, count]` for
 * models with a batch axis and `[count]` for others. Yields after each two milliseconds or so of work. Throws
 * `invalid-input` for texts and BF16, rows of different lengths, and more classes in all than a tensor may hold.
 */
export function* classify(
  tensor: Tensor,
  count: number,
  batched: boolean,
  labels: readonly string[] | undefined,
): Generator<void, Tensor> {
  const { name, datatype, shape } = tensor.spec;
  const { length, at } = valuesOf(tensor);
  const whole = !datatype.startsWith("FP");
  const rows = batched ? (shape[0] ?? 1) : 1;
  const width = rows > 0 ? length / rows : 0;
  if (!Number.isInteger(width)) {
    throw new LongshoreError(
      "invalid-input",
      "execute",
      `${name} has rows of different lengths: request it whole`,
    );
  }
  const taken = Math.min(count, width);
  if (rows * taken > defaultWireLimits.maxTexts) {
    throw new LongshoreError(
      "invalid-input",
      "execute",
      `${name}: ${rows} times ${taken} classes are more than the ${defaultWireLimits.maxTexts} that a tensor may hold`,
    );
  }
  let done = 0;
  const step = (): boolean => ++done % atOnce === 0;
  const lines = new TextWriter(32 * rows * taken);
  for (let row = 0; row < rows; row++) {
    const from = row * width;
    for (const index of yield* best(at, from, from + width, taken, step)) {
      const label = labels?.[index - from];
      lines.add(`${textOf(at(index), whole)}:${index - from}${label === undefined ? "" : `:${label}`}`);
      if (step()) yield;
    }
  }
  return tensorOf(name, "BYTES", batched ? [rows, taken] : [taken], lines.bytes());
}
