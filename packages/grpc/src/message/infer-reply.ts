import { type InferReplyMessage, type Parameters, sharedPartParameters } from "@longshore/core";
import { wireTypes } from "./cursor.ts";
import { writeParameters } from "./parameters.ts";
import { Writer } from "./writer.ts";

/** A message ready to send, in parts: tensors are not copied into one buffer with what describes them. */
export interface Parts {
  readonly parts: readonly Uint8Array[];
  readonly byteLength: number;
}

/** Tensors up to this size are copied beside what describes them: one write costs more than so few bytes. */
const copiedBytes = 16_384;

/** A message of one part. */
export function onePart(bytes: Uint8Array): Parts {
  return { parts: [bytes], byteLength: bytes.byteLength };
}

/** What stands before the tensors. */
function writeHead(writer: Writer, reply: InferReplyMessage, more: Parameters): void {
  writer.text(1, reply.modelName);
  writer.text(2, reply.modelVersion ?? "");
  writer.text(3, reply.id ?? "");
  writeParameters(writer, 4, reply.parameters);
  writeParameters(writer, 4, more);
  for (const { name, datatype, shape, parameters, shared } of reply.outputs) {
    writer.nested(5, () => {
      writer.text(1, name);
      writer.text(2, datatype);
      if (shape.length > 0) {
        writer.nested(3, () => {
          for (const size of shape) writer.signed(size);
        });
      }
      writeParameters(writer, 4, parameters);
      if (shared) writeParameters(writer, 4, sharedPartParameters(shared));
    });
  }
}

/**
 * Writes a `ModelInferResponse`, outputs always as `raw_output_contents`: `tritonclient` reads nothing else. It counts them
 * beside the outputs, so one in shared memory has an empty entry.
 *
 * @param more Parameters beside the reply's own.
 */
export function encodeInferReply(reply: InferReplyMessage, more: Parameters = {}): Parts {
  const writer = new Writer();
  writeHead(writer, reply, more);
  // Cut marks in what is written, and the tensor that belongs there; parts are cut when the buffer grows no more.
  const cuts: { readonly at: number; readonly tensor: Uint8Array }[] = [];
  let outside = 0;
  for (const { bytes } of reply.outputs) {
    writer.tag(6, wireTypes.length);
    writer.varint(bytes.byteLength);
    if (bytes.byteLength <= copiedBytes) {
      writer.bytes(bytes);
    } else {
      cuts.push({ at: writer.at, tensor: bytes });
      outside += bytes.byteLength;
    }
  }
  const parts: Uint8Array[] = [];
  let from = 0;
  for (const { at, tensor } of cuts) {
    parts.push(writer.slice(from, at), tensor);
    from = at;
  }
  if (from < writer.at) parts.push(writer.slice(from, writer.at));
  return { parts, byteLength: writer.at + outside };
}

/** Writes a `ModelStreamInferResponse` around a `ModelInferResponse`; an `error` says why it has no outputs. */
export function encodeStreamReply(reply: Parts, error = ""): Parts {
  const writer = new Writer(64);
  writer.text(1, error);
  writer.tag(2, wireTypes.length);
  writer.varint(reply.byteLength);
  return {
    parts: [writer.slice(0, writer.at), ...reply.parts],
    byteLength: writer.at + reply.byteLength,
  };
}
