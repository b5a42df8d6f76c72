import type { Datatype } from "@longshore/core";

/** Makes the error for a path in a configuration. */
export type Bad = (path: string, problem: string) => Error;

const datatypeNames: Readonly<Record<string, Datatype>> = {
  TYPE_BOOL: "BOOL",
  TYPE_UINT8: "UINT8",
  TYPE_UINT16: "UINT16",
  TYPE_UINT32: "UINT32",
  TYPE_UINT64: "UINT64",
  TYPE_INT8: "INT8",
  TYPE_INT16: "INT16",
  TYPE_INT32: "INT32",
  TYPE_INT64: "INT64",
  TYPE_FP16: "FP16",
  TYPE_BF16: "BF16",
  TYPE_FP32: "FP32",
  TYPE_FP64: "FP64",
  TYPE_STRING: "BYTES",
};

/** A `TYPE_` word as a datatype. Throws `invalid-configuration`. */
export function datatypeOfTriton(written: string | undefined, path: string, bad: Bad): Datatype {
  const datatype = written === undefined ? undefined : datatypeNames[written];
  if (datatype) return datatype;
  throw bad(
    `${path} data_type`,
    `is ${written ?? "missing"}; expected ${Object.keys(datatypeNames).join(", ")}`,
  );
}
