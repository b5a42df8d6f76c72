/** Element types of the Open Inference Protocol. */
export const datatypes = [
  "BOOL",
  "UINT8",
  "UINT16",
  "UINT32",
  "UINT64",
  "INT8",
  "INT16",
  "INT32",
  "INT64",
  "FP16",
  "BF16",
  "FP32",
  "FP64",
  "BYTES",
] as const;

/** An element type of the Open Inference Protocol. */
export type Datatype = (typeof datatypes)[number];

const widths: Readonly<Record<Datatype, number>> = {
  BOOL: 1,
  UINT8: 1,
  UINT16: 2,
  UINT32: 4,
  UINT64: 8,
  INT8: 1,
  INT16: 2,
  INT32: 4,
  INT64: 8,
  FP16: 2,
  BF16: 2,
  FP32: 4,
  FP64: 8,
  BYTES: 0,
};

/** Bytes of one element; 0 for BYTES, whose elements carry their own length. */
export function elementBytes(datatype: Datatype): number {
  return widths[datatype];
}

/** Tells whether a word names an element type. */
export function isDatatype(word: unknown): word is Datatype {
  return typeof word === "string" && (datatypes as readonly string[]).includes(word);
}
