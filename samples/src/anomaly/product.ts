/**
 * `out[i, j] += sum over k of a[i, k] * b[j, k]`: the one heavy loop of training. Rows of both lie along k. Two by four results
 * are summed in registers, which is what a scalar engine can hold. Doubles in a fixed order, so results are the same everywhere.
 */
export function addProduct(
  out: Float64Array,
  a: Float64Array,
  b: Float64Array,
  rows: number,
  columns: number,
  depth: number,
): void {
  let i = 0;
  for (; i + 1 < rows; i += 2) {
    const a0 = i * depth;
    const a1 = a0 + depth;
    let j = 0;
    for (; j + 3 < columns; j += 4) {
      const b0 = j * depth;
      const b1 = b0 + depth;
      const b2 = b1 + depth;
      const b3 = b2 + depth;
      let [s00, s01, s02, s03, s10, s11, s12, s13] = [0, 0, 0, 0, 0, 0, 0, 0];
      for (let k = 0; k < depth; k++) {
        const x = a[a0 + k] as number;
        const y = a[a1 + k] as number;
        const u = b[b0 + k] as number;
        const v = b[b1 + k] as number;
        const w = b[b2 + k] as number;
        const z = b[b3 + k] as number;
        s00 += x * u;
        s01 += x * v;
        s02 += x * w;
        s03 += x * z;
        s10 += y * u;
        s11 += y * v;
        s12 += y * w;
        s13 += y * z;
      }
      const at = i * columns + j;
      const below = at + columns;
      out[at] = (out[at] as number) + s00;
      out[at + 1] = (out[at + 1] as number) + s01;
      out[at + 2] = (out[at + 2] as number) + s02;
      out[at + 3] = (out[at + 3] as number) + s03;
      out[below] = (out[below] as number) + s10;
      out[below + 1] = (out[below + 1] as number) + s11;
      out[below + 2] = (out[below + 2] as number) + s12;
      out[below + 3] = (out[below + 3] as number) + s13;
    }
    for (; j < columns; j++) {
      out[i * columns + j] = (out[i * columns + j] as number) + dot(a, a0, b, j * depth, depth);
      out[(i + 1) * columns + j] = (out[(i + 1) * columns + j] as number) + dot(a, a1, b, j * depth, depth);
    }
  }
  for (; i < rows; i++) {
    for (let j = 0; j < columns; j++) {
      out[i * columns + j] = (out[i * columns + j] as number) + dot(a, i * depth, b, j * depth, depth);
    }
  }
}

function dot(a: Float64Array, from: number, b: Float64Array, to: number, depth: number): number {
  let sum = 0;
  for (let k = 0; k < depth; k++) sum += (a[from + k] as number) * (b[to + k] as number);
  return sum;
}

/** The matrix `[rows, columns]` with rows and columns changed. */
export function transposed(matrix: Float64Array, rows: number, columns: number): Float64Array {
  const out = new Float64Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      out[column * rows + row] = matrix[row * columns + column] as number;
    }
  }
  return out;
}
