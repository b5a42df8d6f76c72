import { LongshoreError } from "../base/index.ts";
import type { Codec } from "./codec.ts";
import { mismatch, statedCount } from "./counts.ts";
import type { Deflater } from "./deflater.ts";
import { int8Codec } from "./int8.ts";

const id = "int8-deflate";
const defaultMaxInflatedBytes = 256 * 2 ** 20;

/**
 * `int8` whose levels are deflated: activations after a ReLU shrink by another factor of 2 to 4. What it may inflate to
 * follows from the spec, is limited by `maxInflatedBytes` (256 MiB; `body-too-large`), and is held to while inflating.
 */
export function int8DeflateCodec(
  deflater: Deflater,
  { maxInflatedBytes = defaultMaxInflatedBytes }: { readonly maxInflatedBytes?: number } = {},
): Codec {
  return {
    id,
    lossless: false,
    accepts: (spec) => int8Codec.accepts(spec),
    async encode(tensor, call) {
      const encoded = await int8Codec.encode(tensor, call);
      return { ...encoded, codec: id, bytes: await deflater.deflate(encoded.bytes) };
    },
    async decode(encoded, call) {
      const width = encoded.parameters["plain"] === true ? 4 : 1;
      const expected = statedCount(encoded) * width;
      if (expected > maxInflatedBytes) {
        throw new LongshoreError(
          "body-too-large",
          "decode",
          `${encoded.spec.name} would inflate to ${expected} bytes; at most ${maxInflatedBytes} are accepted`,
        );
      }
      const bytes = await deflater.inflate(encoded.bytes, expected);
      if (bytes.byteLength !== expected) {
        throw mismatch(encoded, `it inflates to ${bytes.byteLength} bytes where ${expected} are needed`);
      }
      return int8Codec.decode({ ...encoded, bytes }, call);
    },
  };
}
