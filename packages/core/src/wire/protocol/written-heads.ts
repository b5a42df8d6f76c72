import type { InferReplyMessage } from "./infer-messages.ts";
import type { Message } from "./message.ts";
import type { WireTensor } from "./wire-tensor.ts";

/**
 * The JSON before binary tensors is the same text in reply after reply of one model, and writing it costs more than all other
 * work for a small reply. So the text is remembered by all the values that decide it. Replies that carry more than their
 * tensors are each another, so none of them is remembered.
 */
export interface WrittenHeads {
  /** The reply laid out, its head written by `write` unless it is known; `binary` as in `writeInferReply`. */
  layOut(
    message: InferReplyMessage,
    binary: (output: WireTensor) => boolean,
    write: () => Message | Promise<Message>,
  ): Message | Promise<Message>;
}

/** Heads that are remembered; the one that was written first goes. */
const mostHeads = 256;
/** Longer ones are written each time. */
const longestHead = 2048;

const sized = (text: string): string => `${text.length}:${text}`;

/** All that decides the head of a reply; undefined where more than its tensors does. */
function keyOf(
  { modelName, modelVersion, id, parameters, outputs }: InferReplyMessage,
  binary: (output: WireTensor) => boolean,
): string | undefined {
  if (id !== undefined || Object.keys(parameters).length > 0) return undefined;
  let key = sized(modelName) + (modelVersion === undefined ? "-" : sized(modelVersion));
  for (const output of outputs) {
    const { name, datatype, shape, bytes, shared } = output;
    if (shared || Object.keys(output.parameters).length > 0 || !binary(output)) return undefined;
    key += `${sized(name)}${datatype}${shape.join(",")};${bytes.byteLength};`;
  }
  return key;
}

/** Nothing is known at first. */
export function writtenHeads(): WrittenHeads {
  const known = new Map<string, Message>();

  function learn(key: string, { headers, parts }: Message, tensors: number): void {
    const [head] = parts;
    if (!head || head.byteLength > longestHead || parts.length !== 1 + tensors) return;
    const [oldest] = known.keys();
    if (known.size >= mostHeads && oldest !== undefined) known.delete(oldest);
    known.set(key, { headers, parts: [head] });
  }

  return {
    layOut(message, binary, write) {
      const key = keyOf(message, binary);
      if (key === undefined) return write();
      const found = known.get(key);
      const tensors: Uint8Array[] = [];
      for (const { bytes } of message.outputs) if (bytes.byteLength > 0) tensors.push(bytes);
      if (found) return { headers: found.headers, parts: [...found.parts, ...tensors] };
      const written = write();
      if (!(written instanceof Promise)) learn(key, written, tensors.length);
      return written;
    },
  };
}
