import type { Call } from "../base/index.ts";
import type { Parameters } from "../json/index.ts";
import type { Tensor, TensorSpec } from "../tensor/index.ts";

/** Name of a codec on the wire: `raw`, `fp16`, `int8`, `jpeg-85`... */
export type CodecId = string;

/**
 * A tensor as it travels: bytes that only the codec understands, under the spec of the original, with the codec's own
 * figures (scale, zero point) as wire parameters.
 */
export interface Encoded {
  readonly spec: TensorSpec;
  readonly codec: CodecId;
  readonly bytes: Uint8Array;
  readonly parameters: Parameters;
  /** Shapes of the elements of a ragged tensor, carried beside the bytes. */
  readonly rows?: Int32Array;
}

/** A way to make a crossing tensor smaller. Integer side tensors are never touched: `accepts` refuses them. */
export interface Codec {
  readonly id: CodecId;
  readonly lossless: boolean;
  accepts(spec: TensorSpec): boolean;
  /** The input stays the caller's. */
  encode(tensor: Tensor, call: Call): Promise<Encoded>;
  /** Throws `body-mismatch` when the bytes do not make the tensor that `encoded.spec` states. Lengths are checked first. */
  decode(encoded: Encoded, call: Call): Promise<Tensor>;
}
