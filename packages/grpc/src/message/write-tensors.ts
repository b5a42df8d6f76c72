import { sharedPartParameters, type WireTensor } from "@longshore/core/internal";
import { wireTypes } from "./cursor.ts";
import { writeParameters } from "./parameters.ts";
import type { Writer } from "./writer.ts";

/** A message ready to send, in parts: tensors are not copied into one buffer with what describes them. */
export interface Parts {
  readonly parts: readonly Uint8Array[];
  readonly byteLength: number;
  /** The parts are not read after they were sent, so their memory can be freed then. Default false. */
  readonly given?: boolean;
}

/** Tensors up to this size are copied beside what describes them: one write costs more than so few bytes. */
const copiedBytes = 16_384;

/** A message of one part. */
export function onePart(bytes: Uint8Array): Parts {
  return { parts: [bytes], byteLength: bytes.byteLength };
}

/** Writes the descriptions of tensors, each as an `InferInputTensor` or an `InferOutputTensor` without contents. */
export function writeSpecs(writer: Writer, number: number, tensors: readonly WireTensor[]): void {
  for (const { name, datatype, shape, parameters, shared } of tensors) {
    writer.nested(number, () => {
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

/** The whole message: the bytes so far, and the tensors as raw contents in the field of that number. */
export function withRaw(writer: Writer, number: number, tensors: readonly WireTensor[]): Parts {
  // Cut marks in what is written, and the tensor that belongs there; parts are cut when the buffer grows no more.
  const cuts: { readonly at: number; readonly tensor: Uint8Array }[] = [];
  let outside = 0;
  for (const { bytes } of tensors) {
    writer.tag(number, wireTypes.length);
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
