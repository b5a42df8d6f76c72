/** The limits of the parser. Each bound is checked before anything of that size is allocated. */
export interface WireLimits {
  /** Whole body as received (inflated, when it came compressed), in bytes. */
  readonly maxBodyBytes: number;
  /** The JSON part of a body, in bytes: JSON costs many times its size in memory and time. */
  readonly maxJsonBytes: number;
  /** Tensors in one message, companions of ragged tensors included. */
  readonly maxTensors: number;
  /** Bytes of one tensor after decoding: a small coded body may stand for a large tensor. */
  readonly maxTensorBytes: number;
  /**
   * Elements of one BYTES tensor. Each may be as little as its prefix of four bytes, and is an object of some hundred bytes for
   * code that works on texts.
   */
  readonly maxTexts: number;
  /** Characters of a name or of a text parameter. */
  readonly maxNameLength: number;
}

/** 64 MiB bodies, 16 MiB of JSON, 256 tensors, 256 MiB for a decoded tensor, 2^18 texts in one, names of 512 characters. */
export const defaultWireLimits: WireLimits = {
  maxBodyBytes: 64 * 2 ** 20,
  maxJsonBytes: 16 * 2 ** 20,
  maxTensors: 256,
  maxTensorBytes: 256 * 2 ** 20,
  maxTexts: 2 ** 18,
  maxNameLength: 512,
};
