import { bytesTensor, fromHalf, LongshoreError, numericView, type Tensor } from "@longshore/core";

function numbersOf(tensor: Tensor): ArrayLike<number> {
  const { datatype, name } = tensor.spec;
  if (datatype === "BYTES" || datatype === "BF16") {
    throw new LongshoreError(
      "invalid-input",
      "execute",
      `${name} is ${datatype}: its classes cannot be ranked`,
    );
  }
  const view = numericView(tensor);
  if (view instanceof BigInt64Array || view instanceof BigUint64Array) return Array.from(view, Number);
  return datatype === "FP16" ? Array.from(view as Uint16Array, fromHalf) : view;
}

/** Indices of the largest values, largest first; equal values in their order. */
function best(values: ArrayLike<number>, from: number, to: number, count: number): readonly number[] {
  const order = Array.from({ length: to - from }, (_, index) => index);
  order.sort((a, b) => (values[from + b] ?? 0) - (values[from + a] ?? 0) || a - b);
  return order.slice(0, count);
}

/**
 * The classification extension: the best classes of a tensor as BYTES `value:index[:label]`, `[batch, count]` for
 * models with a batch axis and `[count]` for others.
 */
export function classify(
  tensor: Tensor,
  count: number,
  batched: boolean,
  labels: readonly string[] | undefined,
): Tensor {
  const values = numbersOf(tensor);
  const rows = batched ? (tensor.spec.shape[0] ?? 1) : 1;
  const width = rows > 0 ? values.length / rows : 0;
  const taken = Math.min(count, width);
  const lines: string[] = [];
  for (let row = 0; row < rows; row++) {
    const from = row * width;
    for (const index of best(values, from, from + width, taken)) {
      const label = labels?.[index];
      lines.push(
        `${(values[from + index] ?? 0).toFixed(6)}:${index}${label === undefined ? "" : `:${label}`}`,
      );
    }
  }
  return bytesTensor(tensor.spec.name, lines, batched ? [rows, taken] : [taken]);
}
