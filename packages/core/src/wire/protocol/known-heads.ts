import type { Writable } from "../../words/base/index.ts";
import { type Datatype, elementBytes } from "../../words/tensor/index.ts";
import type { Parameters } from "../../words/json/index.ts";
import type { InferReplyMessage } from "./infer-messages.ts";
import type { InferRequestMessage } from "./infer-messages.ts";
import { accountParameter } from "./names.ts";
import { codecOf, type WireTensor } from "./wire-tensor.ts";

/**
 * The JSON before binary tensors is the same text in request after request of one client, and in reply after reply of one
 * model; reading it costs more than all other work for a small tensor. So what was read is remembered by its bytes: equal ones
 * mean equal messages. Only what they alone decide is remembered; the tensors' bytes are taken from each body again, and a
 * body of another length is read as if nothing was known.
 */
export interface KnownHeads<M = InferRequestMessage> {
  /**
   * The message of a body whose head is known; its tensors are views on `body`. With `awaitedBytes`, `body` is the head alone
   * and this many bytes are on their way: its tensors are awaited.
   */
  find(body: Uint8Array, headerLength: number, awaitedBytes?: number): M | undefined;
  /** Remembers the message that was read from a body, where the head decides all but the tensors' bytes. */
  learn(body: Uint8Array, headerLength: number, message: M, awaitedBytes?: number): void;
}

/** Bytes of the longest head that is remembered. A longer one describes so much data that reading it costs little beside that. */
const longestHead = 2048;
/** The most heads that are remembered. The oldest is dropped. */
const mostHeads = 256;

interface KnownTensor {
  readonly name: string;
  readonly datatype: Datatype;
  readonly shape: readonly number[];
  readonly parameters: Parameters;
  readonly byteLength: number;
}

interface Known<M> {
  readonly head: Uint8Array;
  readonly tensors: readonly KnownTensor[];
  /** As it was read first. Its tensors are empty. */
  readonly message: M;
  readonly binaryBytes: number;
}

/**
 * A number that two heads rarely share (G. Fowler, L. Noll, P. Vo, 1991, FNV-1a): the bytes are compared, too. Making a text of them to look it
 * up by takes longer.
 */
function hashOf(body: Uint8Array, headerLength: number): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < headerLength; at++) hash = Math.imul(hash ^ (body[at] ?? 0), 0x01000193);
  return hash;
}

function beginsWith(body: Uint8Array, head: Uint8Array): boolean {
  for (let at = 0; at < head.byteLength; at++) if (body[at] !== head[at]) return false;
  return true;
}

function isShort(body: Uint8Array, headerLength: number): boolean {
  return headerLength > 0 && headerLength <= longestHead && headerLength <= body.byteLength;
}

/** Whether the head decides all of a tensor but its bytes; texts and coded tensors are looked into. */
function decided({ name, datatype, parameters, shared }: WireTensor): boolean {
  return !shared && elementBytes(datatype) > 0 && codecOf(parameters, name) === undefined;
}

const nothing = new Uint8Array(0);

function bytesOf({ awaitedBytes, bytes }: WireTensor): number {
  return awaitedBytes ?? bytes.byteLength;
}

/** How to read the tensors of a kind of message, and to replace them. */
interface Side<M> {
  of(message: M): readonly WireTensor[];
  with(message: M, tensors: readonly WireTensor[]): M;
}

function heads<M>(side: Side<M>): KnownHeads<M> {
  /** By the hash of the head; of two with one hash the newer is known. */
  const known = new Map<number, Known<M>>();
  return {
    find(body, headerLength, awaitedBytes) {
      if (!isShort(body, headerLength)) return undefined;
      const found = known.get(hashOf(body, headerLength));
      if (found?.head.byteLength !== headerLength || !beginsWith(body, found.head)) return undefined;
      if (body.byteLength - headerLength + (awaitedBytes ?? 0) !== found.binaryBytes) return undefined;
      const tensors: WireTensor[] = [];
      let offset = headerLength;
      for (const { name, datatype, shape, parameters, byteLength } of found.tensors) {
        if (awaitedBytes !== undefined) {
          tensors.push({ name, datatype, shape, parameters, bytes: nothing, awaitedBytes: byteLength });
          continue;
        }
        const bytes = body.subarray(offset, offset + byteLength);
        tensors.push({ name, datatype, shape, parameters, bytes });
        offset += byteLength;
      }
      return side.with(found.message, tensors);
    },
    learn(body, headerLength, message, awaitedBytes = 0) {
      const all = side.of(message);
      const binaryBytes = all.reduce((sum, tensor) => sum + bytesOf(tensor), 0);
      // Where these differ, tensors came as JSON.
      if (binaryBytes !== body.byteLength - headerLength + awaitedBytes || !all.every(decided)) return;
      if (!isShort(body, headerLength)) return;
      const [oldest] = known.keys();
      if (known.size >= mostHeads && oldest !== undefined) known.delete(oldest);
      const tensors = all.map((tensor) => {
        const { name, datatype, shape, parameters } = tensor;
        return { name, datatype, shape, parameters, byteLength: bytesOf(tensor) };
      });
      const head = body.slice(0, headerLength);
      known.set(hashOf(head, headerLength), { head, tensors, message: side.with(message, []), binaryBytes });
    },
  };
}

/** Fields are assigned one by one, here and below, since this runs for every small request. */
function withInputs(
  { id, parameters, outputs, binaryOutputs }: InferRequestMessage,
  inputs: readonly WireTensor[],
): InferRequestMessage {
  const message: Writable<InferRequestMessage> = { parameters, inputs, binaryOutputs };
  if (id !== undefined) message.id = id;
  if (outputs) message.outputs = outputs;
  return message;
}

function withOutputs(
  { modelName, modelVersion, id, parameters }: InferReplyMessage,
  outputs: readonly WireTensor[],
): InferReplyMessage {
  const message: Writable<InferReplyMessage> = { modelName, parameters, outputs };
  if (modelVersion !== undefined) message.modelVersion = modelVersion;
  if (id !== undefined) message.id = id;
  return message;
}

/** An empty memory of the heads of requests. All of its requests are read within the same limits. */
export function knownHeads(): KnownHeads {
  return heads({ of: ({ inputs }) => inputs, with: withInputs });
}

/** An empty memory of the heads of replies. Every account is different, so a reply with one is not remembered. */
export function knownReplyHeads(): KnownHeads<InferReplyMessage> {
  const { find, learn } = heads<InferReplyMessage>({
    of: ({ outputs }) => outputs,
    with: withOutputs,
  });
  return {
    find,
    learn(body, headerLength, message) {
      if (!Object.hasOwn(message.parameters, accountParameter)) learn(body, headerLength, message);
    },
  };
}
