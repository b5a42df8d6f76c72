import { elementBytes, LongshoreError, type Tensor, type Tensors, elementOffsets } from "@longshore/core";

/** Rows along axis 0 that all inputs of a request agree on; undefined when they do not, or have no such axis. */
export function rowsOf(feeds: Tensors): number | undefined {
  let rows: number | undefined;
  for (const { spec, rows: ragged } of feeds.values()) {
    const first = spec.shape[0];
    if (first === undefined || ragged || (rows !== undefined && rows !== first)) return undefined;
    rows = first;
  }
  return rows;
}

/**
 * What requests must have in common to share a run: the sharers (a tenant, unless the graph's rows tell nothing of each
 * other), the outputs asked for, and every input's name, datatype and sizes but the first. Undefined: it cannot share one.
 */
export function batchKey(feeds: Tensors, fetches: readonly string[], sharers: string): string | undefined {
  if (rowsOf(feeds) === undefined) return undefined;
  const inputs: string[] = [];
  for (const { spec } of feeds.values()) {
    inputs.push(`${spec.name} ${spec.datatype} ${spec.shape.slice(1).join("x")}`);
  }
  if (inputs.length > 1) inputs.sort();
  return sized([sharers]) + sized(fetches) + sized(inputs);
}

/** Texts in one, with how many and how long they are before them, so that no other list gives the same text. */
function sized(texts: readonly string[]): string {
  let all = `${texts.length};`;
  for (const text of texts) all += `${text.length}:${text}`;
  return all;
}

/** One tensor with the rows of all, in order (copies). */
function joinRows(parts: readonly Tensor[]): Tensor {
  const [first] = parts;
  if (!first) throw new LongshoreError("internal", "queue", "a batch of nothing was joined");
  const rows = parts.reduce((sum, { spec }) => sum + (spec.shape[0] ?? 0), 0);
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.bytes.byteLength, 0));
  let offset = 0;
  for (const part of parts) {
    bytes.set(part.bytes, offset);
    offset += part.bytes.byteLength;
  }
  return { spec: { ...first.spec, shape: [rows, ...first.spec.shape.slice(1)] }, bytes };
}

/** Bytes of one row of all inputs: what tells apart the kinds of work that one graph is given. */
export function rowBytesOf(feeds: Tensors, rows: number): number {
  let bytes = 0;
  for (const tensor of feeds.values()) bytes += tensor.bytes.byteLength;
  return bytes / rows;
}

/** The feeds of all members as one. */
export function joinFeeds(members: readonly Tensors[]): Tensors {
  const [first] = members;
  return new Map(
    [...(first ?? new Map<string, Tensor>()).keys()].map((name): [string, Tensor] => [
      name,
      joinRows(members.flatMap((feeds) => feeds.get(name) ?? [])),
    ]),
  );
}

/** Whether all outputs have so many rows. */
export function followRows(outputs: Tensors, rows: number): boolean {
  return [...outputs.values()].every((tensor) => tensor.spec.shape[0] === rows && !tensor.rows);
}

/** Each member's rows of the outputs, in memory of their own; undefined when an output does not follow the batch axis. */
export function splitOutputs(outputs: Tensors, rows: readonly number[]): readonly Tensors[] | undefined {
  const total = rows.reduce((sum, count) => sum + count, 0);
  const members = rows.map(() => new Map<string, Tensor>());
  for (const [name, tensor] of outputs) {
    if (tensor.spec.shape[0] !== total || tensor.rows) return undefined;
    const begins = rowBegins(tensor);
    let row = 0;
    for (const [index, count] of rows.entries()) {
      const { spec, bytes } = tensor;
      members[index]?.set(name, {
        spec: { ...spec, shape: [count, ...spec.shape.slice(1)] },
        bytes: new Uint8Array(bytes.subarray(begins(row), begins(row + count))),
      });
      row += count;
    }
  }
  return members;
}

/** Where a row of a tensor begins among its bytes. */
function rowBegins(tensor: Tensor): (row: number) => number {
  const { datatype, shape } = tensor.spec;
  const perRow = shape.slice(1).reduce((count, size) => count * size, 1);
  const width = elementBytes(datatype);
  if (width > 0) return (row) => row * perRow * width;
  const offsets = elementOffsets(tensor);
  return (row) => offsets[row * perRow] ?? 0;
}
