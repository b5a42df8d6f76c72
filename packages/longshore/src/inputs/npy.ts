import { type Datatype, LongshoreError, type Tensor, tensorOf } from "@longshore/core";
import { elementBytes, elementCount } from "@longshore/core/internal";

const datatypeOf: Readonly<Record<string, Datatype>> = {
  b1: "BOOL",
  u1: "UINT8",
  u2: "UINT16",
  u4: "UINT32",
  u8: "UINT64",
  i1: "INT8",
  i2: "INT16",
  i4: "INT32",
  i8: "INT64",
  f2: "FP16",
  f4: "FP32",
  f8: "FP64",
};

const magic = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59];

function refuse(name: string, why: string): LongshoreError {
  return new LongshoreError(
    "invalid-input",
    "decode",
    `${name}: not a .npy file that can be used here: ${why}`,
  );
}

/**
 * Reads one array of NumPy's .npy format (versions 1 to 3; R. Kern, NEP 1): little-endian or single-byte numbers in C order.
 * Throws `invalid-input` for any other file.
 */
export function readNpy(name: string, bytes: Uint8Array): Tensor {
  if (magic.some((byte, index) => bytes[index] !== byte))
    throw refuse(name, "it does not begin with \\x93NUMPY");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const wide = (bytes[6] ?? 0) >= 2;
  const start = wide ? 12 : 10;
  if (bytes.byteLength < start) throw refuse(name, "it ends inside its header");
  const headerBytes = wide ? view.getUint32(8, true) : view.getUint16(8, true);
  if (start + headerBytes > bytes.byteLength) throw refuse(name, "it ends inside its header");
  const header = new TextDecoder().decode(bytes.subarray(start, start + headerBytes));
  const descr = /'descr'\s*:\s*'([<>|=])([a-zA-Z]\d+)'/.exec(header);
  const order = /'fortran_order'\s*:\s*(True|False)/.exec(header)?.[1];
  const shapeText = /'shape'\s*:\s*\(([^)]*)\)/.exec(header)?.[1];
  const datatype = datatypeOf[descr?.[2] ?? ""];
  if (!descr || !datatype || shapeText === undefined)
    throw refuse(name, `its header is ${header.trim().slice(0, 120)}`);
  if (descr[1] === ">" && elementBytes(datatype) > 1)
    throw refuse(name, "it is big-endian; save it with little-endian numbers");
  if (order === "True") throw refuse(name, "it is in Fortran order; save np.ascontiguousarray(array)");
  const shape = shapeText
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part !== "")
    .map(Number);
  const data = bytes.subarray(start + headerBytes);
  const needed = elementCount(shape, name) * elementBytes(datatype);
  if (data.byteLength < needed)
    throw refuse(name, `its shape takes ${needed} bytes, but ${data.byteLength} are there`);
  return tensorOf(name, datatype, shape, data.slice(0, needed));
}

/** Writes a fixed-width tensor as a .npy file, version 1. */
export function writeNpy(tensor: Tensor): Uint8Array {
  const code = Object.entries(datatypeOf).find(([, datatype]) => datatype === tensor.spec.datatype)?.[0];
  if (!code) throw refuse(tensor.spec.name, `${tensor.spec.datatype} has no .npy form`);
  const { shape } = tensor.spec;
  const tuple = `(${shape.join(", ")}${shape.length === 1 ? "," : ""})`;
  const prefix = elementBytes(tensor.spec.datatype) === 1 ? "|" : "<";
  let header = `{'descr': '${prefix}${code}', 'fortran_order': False, 'shape': ${tuple}, }`;
  header = header.padEnd(Math.ceil((10 + header.length + 1) / 64) * 64 - 11) + "\n";
  const bytes = new Uint8Array(10 + header.length + tensor.bytes.byteLength);
  bytes.set([...magic, 1, 0, header.length & 0xff, header.length >> 8]);
  bytes.set(new TextEncoder().encode(header), 10);
  bytes.set(tensor.bytes, 10 + header.length);
  return bytes;
}
