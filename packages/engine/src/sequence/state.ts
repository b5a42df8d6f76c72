import { LongshoreError, type SequenceState, type Tensor, type Tensors } from "@longshore/core";
import { elementBytes, elementCount } from "@longshore/core/internal";

/** State of a graph with what it holds at the beginning, where that is not zeros (Triton's `data_file`). */
export interface HeldState extends SequenceState {
  /** Little-endian, in the shape of the beginning. Never handed out. */
  readonly initial?: Uint8Array;
}

/** The state at the beginning of a sequence, by input name: as its model declares it, else zeros, and empty texts for BYTES. */
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
 * Carried state, checked: exactly the declared tensors. Sizes may differ from those at the beginning if a model's state grows,
 * but not in rank; the graph itself refuses other misfits. Throws `invalid-input`.
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
export function copiedState(tensors: Tensors): Tensors {
  const copies = new Map<string, Tensor>();
  for (const [name, tensor] of tensors) copies.set(name, copyOf(tensor));
  return copies;
}

/** The same tensors, copied where they share memory with `others`. */
export function apart(tensors: Tensors, others: Tensors): Tensors {
  const own = new Map<string, Tensor>();
  for (const [name, tensor] of tensors) own.set(name, shares(tensor, others) ? copyOf(tensor) : tensor);
  return own;
}

function copyOf(tensor: Tensor): Tensor {
  return { ...tensor, bytes: new Uint8Array(tensor.bytes) };
}

function shares({ bytes }: Tensor, others: Tensors): boolean {
  for (const other of others.values()) if (other.bytes.buffer === bytes.buffer) return true;
  return false;
}
