import {
  bytesTensor,
  LongshoreError,
  numericTensor,
  type SequencePosition,
  type Tensor,
  type Tensors,
} from "@longshore/core";
import type { ControlInput, ModelStep } from "../repository/index.ts";

/**
 * A control input from the position in the sequence, as Triton fills it. Without a sequence a request is its own: start
 * and end. The letters of an id that is no number become a hash where the input holds a number.
 */
export function controlTensor(
  step: ModelStep,
  control: ControlInput,
  position: SequencePosition | undefined,
): Tensor {
  const { kind, noYes, input, datatype } = control;
  const spec = step.graph.signature.inputs.find(({ name }) => name === input);
  const shape = spec?.shape.map((size) => (size === -1 ? 1 : size)) ?? [1];
  const count = shape.reduce((product, size) => product * size, 1);
  const id = position?.id ?? "0";
  if (kind === "correlation-id") {
    return datatype === "BYTES"
      ? bytesTensor(
          input,
          Array.from({ length: count }, () => id),
          shape,
        )
      : filled(input, datatype, shape, count, idNumber(id));
  }
  const holds = {
    start: position === undefined || position.step === 0,
    ready: true,
    end: position?.end ?? true,
  }[kind];
  const value = noYes[holds ? 1 : 0];
  if (datatype === "FP32") return numericTensor(input, datatype, shape, new Float32Array(count).fill(value));
  if (datatype === "BOOL") return numericTensor(input, datatype, shape, new Uint8Array(count).fill(value));
  return filled(input, datatype, shape, count, BigInt(Math.trunc(value)));
}

function filled(
  input: string,
  datatype: ControlInput["datatype"],
  shape: readonly number[],
  count: number,
  value: bigint,
): Tensor {
  switch (datatype) {
    case "INT32":
      return numericTensor(
        input,
        datatype,
        shape,
        new Int32Array(count).fill(Number(BigInt.asIntN(32, value))),
      );
    case "UINT32":
      return numericTensor(
        input,
        datatype,
        shape,
        new Uint32Array(count).fill(Number(BigInt.asUintN(32, value))),
      );
    case "INT64":
      return numericTensor(input, datatype, shape, new BigInt64Array(count).fill(BigInt.asIntN(64, value)));
    case "UINT64":
      return numericTensor(input, datatype, shape, new BigUint64Array(count).fill(BigInt.asUintN(64, value)));
    default:
      throw new LongshoreError(
        "unsupported",
        "execute",
        `control input ${input} is ${datatype}; a whole number of 32 or 64 bits is needed`,
      );
  }
}

/** Ids of up to 20 digits are numbers; others a 64-bit FNV-1a hash (G. Fowler, L. C. Noll, K.-P. Vo). */
function idNumber(id: string): bigint {
  if (/^\d{1,20}$/.test(id)) return BigInt(id);
  let hash = 0xcbf29ce484222325n;
  for (const byte of new TextEncoder().encode(id)) {
    hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
  }
  return hash;
}

/**
 * Refuses what cannot be a step of a sequence: a request without an id where the model wants one, and one with several
 * rows, because a sequence is one row of a batch. Throws `invalid-input`.
 */
export function checkSequenceStep(
  { graph }: ModelStep,
  feeds: Tensors,
  position: SequencePosition | undefined,
): void {
  const { model, sequence, batching } = graph;
  if (!sequence) return;
  if (!position) {
    if (!sequence.required) return;
    throw new LongshoreError(
      "invalid-input",
      "admission",
      `inference request to model '${model}' must specify a non-zero or non-empty correlation ID`,
    );
  }
  if (batching.maxBatchSize === 0) return;
  for (const { spec } of feeds.values()) {
    if (spec.shape[0] === 1) continue;
    throw new LongshoreError(
      "invalid-input",
      "admission",
      `inference request to model '${model}' must specify batch-size 1 due to requirements of sequence batcher; ${spec.name} has ${spec.shape[0]} rows`,
    );
  }
}
