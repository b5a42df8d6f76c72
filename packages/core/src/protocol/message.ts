import { LongshoreError } from "../base/index.ts";
import type { WireLimits } from "./limits.ts";
import { binaryType, headerLengthHeader, jsonType } from "./names.ts";
import { parseMessage } from "./message-text.ts";
import { objectAt } from "./read-json.ts";
import { tensorEntry, type WireTensor } from "./wire-tensor.ts";

/** A message ready to send: headers that describe the body, and its parts, which are sent one after another. */
export interface Message {
  readonly headers: Readonly<Record<string, string>>;
  readonly parts: readonly Uint8Array[];
}

const encoder = new TextEncoder();

/** Binary tensors begin at a multiple of this, so that receivers can look at them in place. */
const alignment = 8;

/**
 * Lays out a message: JSON, then the binary tensors. The JSON is padded with blanks (which JSON allows) to a multiple of
 * 8 bytes. Tensor bytes are not copied.
 *
 * @param fields JSON fields besides the tensors, as text without braces.
 */
export function layOut(
  fields: readonly string[],
  list: "inputs" | "outputs",
  tensors: readonly WireTensor[],
  binary: (tensor: WireTensor) => boolean,
): Message {
  const parts: Uint8Array[] = [];
  const entries = tensors.map((tensor) => {
    const isBinary = !tensor.shared && binary(tensor);
    if (isBinary && tensor.bytes.byteLength > 0) parts.push(tensor.bytes);
    return tensorEntry(tensor, isBinary);
  });
  const anyBinary = tensors.some((tensor) => !tensor.shared && binary(tensor));
  const text = `{${[...fields, `"${list}":[${entries.join(",")}]`].join(",")}}`;
  if (!anyBinary) return { headers: { "content-type": jsonType }, parts: [encoder.encode(text)] };
  const json = encoder.encode(text);
  const padded = new Uint8Array(Math.ceil(json.byteLength / alignment) * alignment).fill(0x20);
  padded.set(json);
  return {
    headers: { "content-type": binaryType, [headerLengthHeader]: String(padded.byteLength) },
    parts: [padded, ...parts],
  };
}

/** The JSON length that a header states; undefined when there is none. Throws `body-mismatch` when it is no length. */
export function headerLengthOf(headers: Readonly<Record<string, string>>): number | undefined {
  const value = headers[headerLengthHeader];
  if (value === undefined) return undefined;
  if (!/^[0-9]{1,15}$/.test(value)) {
    throw new LongshoreError("body-mismatch", "decode", `${headerLengthHeader} must be a number of bytes`);
  }
  return Number(value);
}

/** Splits a body into its JSON object and its binary part. */
export function takeApart(
  body: Uint8Array,
  headerLength: number | undefined,
  limits: WireLimits,
): { readonly json: object; readonly binary: Uint8Array } {
  const length = headerLength ?? body.byteLength;
  if (length > body.byteLength) {
    throw new LongshoreError(
      "body-mismatch",
      "decode",
      `${headerLengthHeader} is ${length}, but the body has ${body.byteLength} bytes`,
    );
  }
  if (length > limits.maxJsonBytes) {
    throw new LongshoreError(
      "body-too-large",
      "decode",
      `the JSON part has ${length} bytes; at most ${limits.maxJsonBytes} are allowed (send tensors as binary data)`,
    );
  }
  const json = objectAt(parseMessage(body.subarray(0, length)), "the message");
  return { json, binary: body.subarray(length) };
}
