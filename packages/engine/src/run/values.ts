import { give, LongshoreError, type Tensor, type Tensors } from "@longshore/core";
import { borrowed, elementCount } from "@longshore/core/internal";

/**
 * The values of one run, by name. A value that is taken for the last time is given away, so that lanes and runtimes in other
 * threads may move its memory instead of copying it (7 ms for 6 MB). It is copied if its memory has another reader: a caller
 * that only lent an input, or another value that shares it.
 */
export interface RunValues {
  /** Borrowed views of some values; those in `last` are given where that is safe, and are gone afterwards. */
  take(names: readonly string[], last: readonly string[]): Tensors;
  put(values: Tensors): void;
  get(name: string): Tensor | undefined;
  /** The most bytes that it held at one time, inputs left out. */
  readonly peakBytes: number;
}

export function runValues(inputs: Tensors): RunValues {
  const values = new Map(inputs);
  const lent = new Set<ArrayBufferLike>();
  let heldBytes = 0;
  let peakBytes = 0;
  const drop = (name: string): void => {
    if (!inputs.has(name)) heldBytes -= values.get(name)?.bytes.byteLength ?? 0;
    values.delete(name);
  };
  for (const { bytes, given } of inputs.values()) if (!given) lent.add(bytes.buffer);

  /** Only whole buffers can be moved; a part of one may be part of many things, unless its giver says otherwise. */
  function movable({ bytes, back }: Tensor): boolean {
    const whole = bytes.byteOffset === 0 && bytes.byteLength === bytes.buffer.byteLength;
    if (lent.has(bytes.buffer) || !(whole || back)) return false;
    for (const other of values.values()) if (other.bytes.buffer === bytes.buffer) return false;
    return true;
  }

  return {
    get peakBytes() {
      return peakBytes;
    },
    get: (name) => values.get(name),
    put(made) {
      for (const [name, tensor] of made) {
        drop(name);
        values.set(name, tensor);
        if (!inputs.has(name)) heldBytes += tensor.bytes.byteLength;
      }
      peakBytes = Math.max(peakBytes, heldBytes);
    },
    take(names, last) {
      const taken = new Map<string, Tensor>();
      for (const name of names) {
        const tensor = values.get(name);
        if (tensor) taken.set(name, borrowed(tensor));
      }
      for (const name of last) drop(name);
      const buffers = new Map<ArrayBufferLike, number>();
      for (const { bytes } of taken.values()) buffers.set(bytes.buffer, (buffers.get(bytes.buffer) ?? 0) + 1);
      for (const name of last) {
        const tensor = taken.get(name);
        if (tensor && buffers.get(tensor.bytes.buffer) === 1 && movable(tensor))
          taken.set(name, give(tensor));
      }
      return taken;
    },
  };
}

/** The shape that is stated for a port; undefined if none is. A port may be called `__proto__`. */
export function statedShape(
  shapes: Readonly<Record<string, readonly number[]>>,
  name: string,
): readonly number[] | undefined {
  return Object.hasOwn(shapes, name) ? shapes[name] : undefined;
}

/**
 * The same elements in another shape (Triton's `reshape`). In `target` the first -1 of a batched port keeps the first
 * size, and at most one further -1 is worked out. Throws `invalid-input` when the elements do not fit.
 */
export function reshaped(tensor: Tensor, target: readonly number[]): Tensor {
  const { shape, name } = tensor.spec;
  const total = elementCount(shape, name);
  const wanted = [...target];
  if (wanted.filter((size) => size === -1).length > 1) wanted[0] = shape[0] ?? 1;
  const open = wanted.indexOf(-1);
  if (open >= 0) {
    const known = wanted.reduce((count, size) => (size === -1 ? count : count * size), 1);
    wanted[open] = known > 0 ? total / known : 0;
  }
  if (!wanted.every((size) => Number.isInteger(size) && size >= 0) || elementCount(wanted, name) !== total) {
    throw new LongshoreError(
      "invalid-input",
      "execute",
      `${name} is [${shape.join(", ")}], which cannot be seen as [${target.join(", ")}]`,
    );
  }
  return { ...tensor, spec: { ...tensor.spec, shape: wanted } };
}
