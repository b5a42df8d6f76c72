import type { MessagePort } from "node:worker_threads";
import {
  type Json,
  LongshoreError,
  type Reason,
  type Stage,
  type Tensor,
  type Tensors,
  type TensorSpec,
} from "@longshore/core";

/** A tensor as it goes through a message port. */
interface PackedTensor {
  readonly name: string;
  readonly spec: TensorSpec;
  readonly bytes: Uint8Array;
  readonly rows?: Int32Array;
}

/** A step of a chain; parameters that are objects are sent once for each thread and named by number afterwards. */
export interface PackedStep {
  readonly id: string;
  readonly transform: string;
  readonly parameters: { readonly known: number } | { readonly value: Json };
  readonly inputs: Readonly<Record<string, string>>;
  readonly forEach?: string;
}

/** From the lane to one of its threads: run a chain. */
export interface ChainMessage {
  readonly id: number;
  readonly chain: readonly PackedStep[];
  readonly values: readonly PackedTensor[];
  readonly keep: readonly string[];
  /** Parameters to remember and to forget, before the chain runs. */
  readonly learn: readonly (readonly [number, Json])[];
  readonly forget: readonly number[];
  /** One Int32: the run that should stop at its next step. Shared, because a thread that computes reads no messages. */
  readonly stopped: SharedArrayBuffer;
}

/** From a thread to its lane: how the chain ended; before any, that it has loaded what it needs. */
export type EndMessage =
  | { readonly loaded: true }
  | {
      readonly id: number;
      readonly values: readonly PackedTensor[];
      readonly tookMs: readonly number[];
    }
  | {
      readonly id: number;
      readonly error: { readonly reason: Reason; readonly stage: Stage; readonly message: string };
    };

/** Tensors as a message, with the memory that moves along with it. */
interface Packed {
  readonly values: readonly PackedTensor[];
  readonly transfer: readonly ArrayBuffer[];
}

function wholeBuffer({ bytes }: Tensor): ArrayBuffer | undefined {
  const { buffer } = bytes;
  return buffer instanceof ArrayBuffer && bytes.byteLength === buffer.byteLength ? buffer : undefined;
}

/**
 * Packs tensors for a message port. Those for which `moves` holds and that fill their buffer move; all others are copied
 * once, and the copy moves: a clone by the port would take ten times as long. A buffer that a staying tensor looks into
 * never moves.
 */
function pack(tensors: Tensors, moves: (tensor: Tensor) => boolean): Packed {
  const staying = new Set(
    [...tensors.values()].filter((one) => !moves(one)).map(({ bytes }) => bytes.buffer),
  );
  const transfer = new Set<ArrayBuffer>();
  const values: PackedTensor[] = [];
  for (const [name, tensor] of tensors) {
    const { spec, rows } = tensor;
    const whole = moves(tensor) ? wholeBuffer(tensor) : undefined;
    const bytes = whole && !staying.has(whole) ? new Uint8Array(whole) : new Uint8Array(tensor.bytes);
    transfer.add(bytes.buffer);
    values.push(rows ? { name, spec, bytes, rows: rows.slice() } : { name, spec, bytes });
  }
  return { values, transfer: [...transfer] };
}

/**
 * Sends a message with tensors. Those for which `moves` holds move, the rest is copied. Memory that native code made refuses
 * to move in some versions of Node.js: then everything is copied. Throws what the port throws when the message itself
 * cannot be cloned.
 */
export function send(
  port: Pick<MessagePort, "postMessage">,
  tensors: Tensors,
  moves: (tensor: Tensor) => boolean,
  message: (values: readonly PackedTensor[]) => ChainMessage | EndMessage,
): void {
  const packed = pack(tensors, moves);
  try {
    port.postMessage(message(packed.values), packed.transfer);
  } catch (thrown) {
    if (!(thrown instanceof Error) || thrown.name !== "DataCloneError") throw thrown;
    const copied = pack(tensors, () => false);
    port.postMessage(message(copied.values), copied.transfer);
  }
}

/** The tensors of a message. */
export function unpack(values: readonly PackedTensor[]): Tensors {
  return new Map(
    values.map(({ name, spec, bytes, rows }): [string, Tensor] => [
      name,
      rows ? { spec, bytes, rows } : { spec, bytes },
    ]),
  );
}

/** The error of a message under the one class again; its cause stays in the thread. */
export function unpackError({
  reason,
  stage,
  message,
}: {
  reason: Reason;
  stage: Stage;
  message: string;
}): LongshoreError {
  return new LongshoreError(reason, stage, message);
}
