import { LongshoreError } from "../base/index.ts";
import { maxElements, type Tensor } from "../tensor/index.ts";
import type { Encoded } from "./codec.ts";

/** The bytes from the wire do not make the tensor that its spec states. */
export function codingMismatch(encoded: Encoded, message: string): LongshoreError {
  return new LongshoreError(
    "body-mismatch",
    "decode",
    `${encoded.spec.name}, coded ${encoded.codec}: ${message}`,
  );
}

function product(sizes: Iterable<number>): number | undefined {
  let count = 1;
  for (const size of sizes) {
    if (!Number.isSafeInteger(size) || size < 0) return undefined;
    count *= size;
    if (count > maxElements) return undefined;
  }
  return count;
}

/**
 * How many scalars the spec and the rows state, before anything is allocated. Throws `body-mismatch` when sizes are
 * negative or absurd, or when the rows do not go with the shape.
 */
export function statedCount(encoded: Encoded): number {
  const { spec, rows } = encoded;
  // elements of rank 0 have no row figures: without this the loop below would count to whatever the shape says
  if (!rows || (spec.shape.length <= 1 && rows.length === 0)) {
    const count = spec.shape.length <= 32 ? product(spec.shape) : undefined;
    if (count === undefined) throw codingMismatch(encoded, `shape [${spec.shape.join(", ")}] cannot be`);
    return count;
  }
  const [elements = -1, ...inner] = spec.shape;
  if (rows.length !== elements * inner.length) {
    throw codingMismatch(
      encoded,
      `${rows.length} row figures do not go with shape [${spec.shape.join(", ")}]`,
    );
  }
  let total = 0;
  for (let index = 0; index < elements; index++) {
    const row = rows.subarray(index * inner.length, (index + 1) * inner.length);
    const count = product(row);
    const fits = inner.every((size, axis) => size === -1 || size === row[axis]);
    if (count === undefined || !fits || total + count > maxElements) {
      throw codingMismatch(
        encoded,
        `element ${index} has a shape that does not go with [${spec.shape.join(", ")}]`,
      );
    }
    total += count;
  }
  return total;
}

/** Checks the length of the bytes against the bytes per scalar; returns the number of scalars. */
export function checkedCount(encoded: Encoded, bytesPerScalar: number): number {
  const count = statedCount(encoded);
  if (encoded.bytes.byteLength !== count * bytesPerScalar) {
    throw codingMismatch(
      encoded,
      `${count} values take ${count * bytesPerScalar} bytes, but ${encoded.bytes.byteLength} came`,
    );
  }
  return count;
}

/** A finite figure from the parameters. Throws `body-mismatch`. */
export function figure(encoded: Encoded, name: string, least: number, most: number): number {
  const value = encoded.parameters[name];
  if (typeof value !== "number" || !(value >= least && value <= most)) {
    throw codingMismatch(
      encoded,
      `its ${name} is ${String(value)}; a number from ${least} to ${most} is needed`,
    );
  }
  return value;
}

/** The decoded tensor under the spec and rows that travelled. */
export function decodedTensor({ spec, rows }: Encoded, bytes: Uint8Array): Tensor {
  return rows ? { spec, bytes, rows } : { spec, bytes };
}

/** The coded tensor; `rows` go beside it when there are any. */
export function encodedAs(
  codec: string,
  { spec, rows }: Tensor,
  bytes: Uint8Array,
  parameters: Encoded["parameters"],
): Encoded {
  const common = { spec, codec, bytes, parameters };
  return rows ? { ...common, rows } : common;
}
