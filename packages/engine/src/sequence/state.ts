import {
  elementBytes,
  elementCount,
  LongshoreError,
  type SequenceState,
  type Tensor,
  type Tensors,
  totalBytes,
} from "@longshore/core";

/** State of a graph with what it holds at the beginning, where that is not zeros (Triton's `data_file`). */
export interface HeldState extends SequenceState {
  /** Little-endian, in the shape of the beginning. Never handed out. */
  readonly initial?: Uint8Array;
}

/** The state at the beginning of a sequence, by input name: what its model says, else zeros, and empty texts for BYTES. */
export function initialState(states: readonly HeldState[]): Tensors {
  return new Map(
    states.map(({ input, datatype, shape, initial }): [string, Tensor] => {
      const count = elementCount(shape, input) * (elementBytes(datatype) || 4);
      const bytes = initial ? new Uint8Array(initial) : new Uint8Array(count);
      return [input, { spec: { name: input, datatype, shape }, bytes }];
    }),
  );
}

/**
 * Carried state, checked: exactly the declared tensors. Sizes may differ from those at the beginning where a model's
 * state grows, but not in rank; what the graph itself refuses is refused there. Throws `invalid-input`.
 */
export function checkCarriedState(states: readonly SequenceState[], carried: Tensors): Tensors {
  const expected = states.map(({ input }) => input).join(", ");
  for (const name of carried.keys()) {
    if (states.some(({ input }) => input === name)) continue;
    throw new LongshoreError(
      "invalid-input",
      "admission",
      `carried state holds ${name}; the model's state is ${expected}`,
    );
  }
  for (const { input, datatype, shape } of states) {
    const spec = carried.get(input)?.spec;
    if (spec?.datatype === datatype && spec.shape.length === shape.length) continue;
    throw new LongshoreError(
      "invalid-input",
      "admission",
      `carried state ${input} is ${spec ? `${spec.datatype} [${spec.shape.join(", ")}]` : "missing"}; expected ${datatype} of rank ${shape.length}`,
    );
  }
  return carried;
}

/** Copies, so that what one side keeps and what the other owns never share memory. */
export function copied(tensors: Tensors): Tensors {
  return new Map(
    [...tensors].map(([name, tensor]) => [name, { ...tensor, bytes: new Uint8Array(tensor.bytes) }]),
  );
}

/** The same tensors, copied where they share memory with `others`. */
export function apart(tensors: Tensors, others: Tensors): Tensors {
  const taken = new Set(Array.from(others.values(), ({ bytes }) => bytes.buffer));
  return new Map(
    Array.from(tensors, ([name, tensor]) => [
      name,
      taken.has(tensor.bytes.buffer) ? { ...tensor, bytes: new Uint8Array(tensor.bytes) } : tensor,
    ]),
  );
}

/** More bytes of input than this are not read through to tell a retry: it would hold up everybody else. */
const mostReadBytes = 4 * 2 ** 20;

/**
 * Tells a retry of a request from another request; undefined for inputs beyond 4 MiB. Two 32-bit hashes over what was
 * asked and every input, four bytes at a time (multiply and rotate, after A. Appleby's MurmurHash3). Not a secret and not
 * proof against malice: a tenant can only fool itself with it.
 */
export function fingerprint(asked: string, inputs: Tensors): string | undefined {
  if (totalBytes(inputs) > mostReadBytes) return undefined;
  let one = 0x811c9dc5;
  let two = 0x9747b28c;
  const mix = (bytes: Uint8Array): void => {
    const words = bytes.byteLength >> 2;
    // A view of words needs an even start; what lies oddly is copied.
    const even = bytes.byteOffset % 4 === 0 ? bytes : bytes.slice();
    const view = new Int32Array(even.buffer, even.byteOffset, words);
    for (let index = 0; index < words; index++) {
      const word = view[index] as number;
      one = Math.imul(one ^ word, 0xcc9e2d51);
      one = (one << 13) | (one >>> 19);
      two = Math.imul(two + word, 0x1b873593);
      two = (two << 15) | (two >>> 17);
    }
    for (let index = words << 2; index < bytes.byteLength; index++) {
      one = Math.imul(one ^ (bytes[index] as number), 0x01000193);
      two = Math.imul(two + (bytes[index] as number), 0x85ebca6b);
    }
    one ^= bytes.byteLength;
  };
  const mixText = (text: string): void => {
    for (let index = 0; index < text.length; index++) {
      one = Math.imul(one ^ text.charCodeAt(index), 0x01000193);
      two = Math.imul(two + text.charCodeAt(index), 0x85ebca6b);
    }
    one ^= text.length;
  };
  mixText(asked);
  for (const [name, { spec, bytes }] of [...inputs].sort(([a], [b]) => (a < b ? -1 : 1))) {
    mixText(name);
    mixText(spec.datatype);
    for (const size of spec.shape) one = Math.imul(one ^ size, 0x01000193);
    mix(bytes);
  }
  return `${(one >>> 0).toString(16)}-${(two >>> 0).toString(16)}`;
}
