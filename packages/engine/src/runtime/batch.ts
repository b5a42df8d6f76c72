import {
  type Batching,
  type Call,
  type Clock,
  give,
  LongshoreError,
  type Tensor,
  type Tensors,
  type TensorSpec,
} from "@longshore/core";
import {
  allSteps,
  copiedAtOnce,
  elementBytes,
  elementOffsets,
  inSteps,
  steppedCopy,
  turnWhileWanted,
} from "@longshore/core/internal";

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
 * Properties that requests must share to share a run: the tenant (unless the graph's rows are independent), the requested
 * outputs, and every input's name, datatype and sizes but the first. Undefined for a request that cannot share one, such as one
 * without rows.
 */
export function batchKey(feeds: Tensors, fetches: readonly string[], sharers: string): string | undefined {
  if (!rowsOf(feeds)) return undefined;
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

/** Bytes of one row of all inputs: what tells apart the kinds of work that one graph is given. */
export function rowBytesOf(feeds: Tensors, rows: number): number {
  let bytes = 0;
  for (const tensor of feeds.values()) bytes += tensor.bytes.byteLength;
  return bytes / rows;
}

/** With how many rows a run of `rows` is made: the next of the sizes that the model is run with. */
export function paddedRows(rows: number, { maxBatchSize, buckets }: Batching): number {
  return (maxBatchSize > 1 ? buckets?.rows?.find((size) => size >= rows) : undefined) ?? rows;
}

/** An input of a run, with the members' bytes that are copied into it, and their lengths at the beginning: a member that leaves moves its bytes away. */
interface Joining {
  readonly name: string;
  readonly joined: Tensor;
  readonly sources: readonly { readonly bytes: Uint8Array; readonly byteLength: number }[];
}

/** Memory for one input of all members, in which the first row is repeated until there are `ran`: a row that the model surely takes. */
function joiningOf(members: readonly Tensors[], name: string, first: Tensor, ran: number): Joining {
  const parts = members.flatMap((feeds) => feeds.get(name) ?? []);
  const rows = parts.reduce((sum, part) => sum + (part.spec.shape[0] ?? 0), 0);
  const padding = rows === 0 ? 0 : Math.max(0, ran - rows);
  const rowBytes = padding === 0 ? 0 : rowBegins(first)(1);
  const ownBytes = parts.reduce((sum, { bytes }) => sum + bytes.byteLength, 0);
  const bytes = new Uint8Array(ownBytes + padding * rowBytes);
  const firstRow = bytes.subarray(0, rowBytes);
  const all = [...parts.map((part) => part.bytes), ...Array.from({ length: padding }, () => firstRow)];
  return {
    name,
    joined: { spec: withRows(first.spec, rows + padding), bytes },
    sources: all.map((one) => ({ bytes: one, byteLength: one.byteLength })),
  };
}

/**
 * The work of making the feeds of all members one, their rows in order (copies), padded to `ran` rows. Yields after each two
 * milliseconds or so. Large feeds are given: this run alone has them, and a runtime may move them instead of copying them once
 * more. Throws `invalid-input` when a member has left meanwhile and moved its rows away.
 */
function* joinWork(members: readonly Tensors[], ran: number): Generator<void, Tensors> {
  const inputs = [...(members[0] ?? [])].map(([name, first]) => joiningOf(members, name, first, ran));
  const all = new Map<string, Tensor>();
  const copy = steppedCopy();
  for (const { name, joined, sources } of inputs) {
    let offset = 0;
    for (const { bytes, byteLength } of sources) {
      yield* copy(joined.bytes, offset, bytes);
      if (bytes.byteLength !== byteLength) {
        throw new LongshoreError("invalid-input", "queue", `${name} was moved away while it was waited for`);
      }
      offset += byteLength;
    }
    all.set(name, joined.bytes.byteLength > copiedAtOnce ? give(joined) : joined);
  }
  return all;
}

/** One input of all members as `joiningOf` has it, made at once: for what is short, which most small requests are. */
function joinedNow(members: readonly Tensors[], name: string, first: Tensor, ran: number): Tensor {
  let rows = 0;
  let ownBytes = 0;
  for (const feeds of members) {
    const part = feeds.get(name);
    rows += part?.spec.shape[0] ?? 0;
    ownBytes += part?.bytes.byteLength ?? 0;
  }
  const padding = rows === 0 ? 0 : Math.max(0, ran - rows);
  const rowBytes = padding === 0 ? 0 : rowBegins(first)(1);
  const bytes = new Uint8Array(ownBytes + padding * rowBytes);
  let offset = 0;
  for (const feeds of members) {
    const part = feeds.get(name);
    if (!part) continue;
    bytes.set(part.bytes, offset);
    offset += part.bytes.byteLength;
  }
  for (; offset < bytes.byteLength; offset += rowBytes) bytes.copyWithin(offset, 0, rowBytes);
  return { spec: withRows(first.spec, rows + padding), bytes };
}

/** A spec with another number of rows. Ragged tensors, which have no rows along axis 0, are never joined. */
function withRows({ name, datatype, shape: before }: TensorSpec, rows: number): TensorSpec {
  const shape = before.slice();
  shape[0] = rows;
  return { name, datatype, shape };
}

/** The feeds of all members as one, padded to `ran` rows, at once; undefined where that may take long. */
function joinNow(members: readonly Tensors[], ran: number): Tensors | undefined {
  const [head] = members;
  if (!head) return undefined;
  let bytes = 0;
  for (const feeds of members) for (const one of feeds.values()) bytes += one.bytes.byteLength;
  if (bytes > copiedAtOnce) return undefined;
  // Padding repeats the first row, which of texts may be much longer than others.
  let firstBytes = 0;
  for (const one of head.values()) firstBytes += one.bytes.byteLength;
  if (bytes + firstBytes * Math.max(0, ran - members.length) > copiedAtOnce) return undefined;
  const all = new Map<string, Tensor>();
  for (const [name, first] of head) all.set(name, joinedNow(members, name, first, ran));
  return all;
}

/** The feeds of all members as one. */
export function joinFeeds(members: readonly Tensors[]): Tensors {
  return allSteps(joinWork(members, 0));
}

/**
 * Runs on the feeds of all members as one, padded to `ran` rows where that is more, at once where no megabytes have to be copied
 * for that.
 */
export function runJoined<T>(
  members: readonly Tensors[],
  ran: number,
  clock: Clock,
  { abort }: Call,
  run: (feeds: Tensors) => Promise<T>,
): Promise<T> {
  const [only] = members;
  if (only && members.length === 1 && ran <= (rowsOf(only) || ran)) return run(only);
  const now = joinNow(members, ran);
  if (now) return run(now);
  const feeds = inSteps(joinWork(members, ran), () => turnWhileWanted(clock, abort, "queue"));
  return feeds instanceof Promise ? feeds.then(run) : run(feeds);
}

/** Whether all outputs have this many rows. */
export function followRows(outputs: Tensors, rows: number): boolean {
  for (const tensor of outputs.values()) if (tensor.spec.shape[0] !== rows || tensor.rows) return false;
  return true;
}

/**
 * Takes rows out of outputs, which must follow the rows (`followRows`), into memory of their own. The work of that yields after each
 * two milliseconds or so.
 */
export function rowsOut(outputs: Tensors): (row: number, count: number) => Generator<void, Tensors> {
  const begins = new Map([...outputs].map(([name, tensor]) => [name, rowBegins(tensor)]));
  const copy = steppedCopy();
  return function* (row, count) {
    const part = new Map<string, Tensor>();
    for (const [name, { spec, bytes }] of outputs) {
      const begin = begins.get(name);
      const theirs = bytes.subarray(begin?.(row), begin?.(row + count));
      const own = new Uint8Array(theirs.byteLength);
      yield* copy(own, 0, theirs);
      part.set(name, { spec: withRows(spec, count), bytes: own });
    }
    return part;
  };
}

/** The same at once, for outputs that are short all together; undefined where they are not. */
export function rowsOutNow(outputs: Tensors): ((row: number, count: number) => Tensors) | undefined {
  let total = 0;
  for (const { bytes } of outputs.values()) total += bytes.byteLength;
  if (total > copiedAtOnce) return undefined;
  const all = [...outputs].map(([name, { spec, bytes }]) => {
    return { name, bytes, begin: rowBegins({ spec, bytes }), spec };
  });
  return (row, count) => {
    const part = new Map<string, Tensor>();
    for (const one of all) {
      const theirs = one.bytes.subarray(one.begin(row), one.begin(row + count));
      // Most have as many rows as those before them.
      if (one.spec.shape[0] !== count) one.spec = withRows(one.spec, count);
      part.set(one.name, { spec: one.spec, bytes: new Uint8Array(theirs) });
    }
    return part;
  };
}

/** The rows of all members at once; undefined when an output does not follow the batch axis. */
export function splitOutputs(outputs: Tensors, rows: readonly number[]): readonly Tensors[] | undefined {
  const total = rows.reduce((sum, count) => sum + count, 0);
  if (!followRows(outputs, total)) return undefined;
  const take = rowsOut(outputs);
  let next = 0;
  return rows.map((count) => {
    const row = next;
    next += count;
    return allSteps(take(row, count));
  });
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
