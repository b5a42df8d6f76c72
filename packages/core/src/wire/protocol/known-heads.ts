import { type Datatype, elementBytes } from "../../words/tensor/index.ts";
import type { Parameters } from "../../words/json/index.ts";
import type { InferReplyMessage } from "./infer-messages.ts";
import type { InferRequestMessage } from "./infer-messages.ts";
import { accountParameter } from "./names.ts";
import { codecOf, type WireTensor } from "./wire-tensor.ts";

/**
 * The JSON before binary tensors is the same text in request after request of one client, and in reply after reply of one
 * model; reading it costs more than all other work for a small tensor. So what was read is remembered by its text: equal bytes
 * mean equal messages. Only what the text alone decides is remembered; the tensors' bytes are taken from each body again, and a
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

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

interface KnownTensor {
  readonly name: string;
  readonly datatype: Datatype;
  readonly shape: readonly number[];
  readonly parameters: Parameters;
  readonly byteLength: number;
}

interface Known<M> {
  readonly tensors: readonly KnownTensor[];
  /** As it was read first. Its tensors are empty. */
  readonly message: M;
  readonly binaryBytes: number;
}

function textOf(body: Uint8Array, headerLength: number): string | undefined {
  if (headerLength === 0 || headerLength > longestHead || headerLength > body.byteLength) return undefined;
  try {
    return utf8.decode(body.subarray(0, headerLength));
  } catch {
    return undefined;
  }
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
  const known = new Map<string, Known<M>>();
  return {
    find(body, headerLength, awaitedBytes) {
      const text = textOf(body, headerLength);
      const found = text === undefined ? undefined : known.get(text);
      if (!found || body.byteLength - headerLength + (awaitedBytes ?? 0) !== found.binaryBytes)
        return undefined;
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
      const text = textOf(body, headerLength);
      if (text === undefined) return;
      const [oldest] = known.keys();
      if (known.size >= mostHeads && oldest !== undefined) known.delete(oldest);
      const tensors = all.map((tensor) => {
        const { name, datatype, shape, parameters } = tensor;
        return { name, datatype, shape, parameters, byteLength: bytesOf(tensor) };
      });
      known.set(text, { tensors, message: side.with(message, []), binaryBytes });
    },
  };
}

/** An empty memory of the heads of requests. All of its requests are read within the same limits. */
export function knownHeads(): KnownHeads {
  return heads({ of: ({ inputs }) => inputs, with: (message, inputs) => ({ ...message, inputs }) });
}

/** An empty memory of the heads of replies. Every account is different, so a reply with one is not remembered. */
export function knownReplyHeads(): KnownHeads<InferReplyMessage> {
  const { find, learn } = heads<InferReplyMessage>({
    of: ({ outputs }) => outputs,
    with: (message, outputs) => ({ ...message, outputs }),
  });
  return {
    find,
    learn(body, headerLength, message) {
      if (!Object.hasOwn(message.parameters, accountParameter)) learn(body, headerLength, message);
    },
  };
}
