import { LongshoreError } from "../base/index.ts";
import { bytesElements, type Datatype, elementBytes, type Tensor } from "../tensor/index.ts";

/**
 * The JSON form of tensor data: a row-major array, nested or flat. FP16 and BF16 have no JSON form.
 */

function invalid(message: string): LongshoreError {
  return new LongshoreError("invalid-input", "decode", message);
}

type Put = (view: DataView, offset: number, value: unknown) => boolean;

function integer(least: number, most: number, put: (view: DataView, at: number, value: number) => void): Put {
  return (view, at, value) => {
    if (!Number.isInteger(value) || (value as number) < least || (value as number) > most) return false;
    put(view, at, value as number);
    return true;
  };
}

const long = /^-?[0-9]{1,20}$/;

function bigInteger(
  least: bigint,
  most: bigint,
  put: (view: DataView, at: number, value: bigint) => void,
): Put {
  return (view, at, value) => {
    // Beyond 2^53 a JSON number has lost digits before it gets here, so only text is exact there.
    const exact = Number.isSafeInteger(value) || (typeof value === "string" && long.test(value));
    if (!exact) return false;
    const big = BigInt(value as number | string);
    if (big < least || big > most) return false;
    put(view, at, big);
    return true;
  };
}

const puts: Readonly<Partial<Record<Datatype, Put>>> = {
  BOOL: (view, at, value) => {
    if (value !== true && value !== false && value !== 0 && value !== 1) return false;
    view.setUint8(at, value ? 1 : 0);
    return true;
  },
  UINT8: integer(0, 0xff, (view, at, value) => view.setUint8(at, value)),
  INT8: integer(-0x80, 0x7f, (view, at, value) => view.setInt8(at, value)),
  UINT16: integer(0, 0xffff, (view, at, value) => view.setUint16(at, value, true)),
  INT16: integer(-0x8000, 0x7fff, (view, at, value) => view.setInt16(at, value, true)),
  UINT32: integer(0, 0xffffffff, (view, at, value) => view.setUint32(at, value, true)),
  INT32: integer(-0x80000000, 0x7fffffff, (view, at, value) => view.setInt32(at, value, true)),
  UINT64: bigInteger(0n, 2n ** 64n - 1n, (view, at, value) => view.setBigUint64(at, value, true)),
  INT64: bigInteger(-(2n ** 63n), 2n ** 63n - 1n, (view, at, value) => view.setBigInt64(at, value, true)),
  FP32: (view, at, value) => {
    if (typeof value !== "number" || !Number.isFinite(Math.fround(value))) return false;
    view.setFloat32(at, value, true);
    return true;
  },
  FP64: (view, at, value) => {
    if (typeof value !== "number" || !Number.isFinite(value)) return false;
    view.setFloat64(at, value, true);
    return true;
  },
};

/** Leaves of a nested array. Throws when it is nested deeper than `depth`. */
function flatten(data: readonly unknown[], depth: number, name: string, into: unknown[]): unknown[] {
  for (const item of data) {
    if (!Array.isArray(item)) into.push(item);
    else if (depth > 1) flatten(item, depth - 1, name, into);
    else throw invalid(`${name}: data is nested deeper than its shape`);
  }
  return into;
}

const encoder = new TextEncoder();

function textBytes(leaves: readonly unknown[], name: string): Uint8Array {
  const elements = leaves.map((leaf) => {
    if (typeof leaf !== "string") throw invalid(`${name}: BYTES data must be text`);
    return encoder.encode(leaf);
  });
  const bytes = new Uint8Array(elements.reduce((total, element) => total + 4 + element.byteLength, 0));
  const view = new DataView(bytes.buffer);
  let offset = 0;
  for (const element of elements) {
    view.setUint32(offset, element.byteLength, true);
    bytes.set(element, offset + 4);
    offset += 4 + element.byteLength;
  }
  return bytes;
}

/**
 * Bytes of a tensor whose data came as JSON. The number of leaves is checked against `count` (the product of the shape)
 * before the bytes are allocated. Throws `invalid-input` for values that are not of the datatype: fractions for
 * integers, numbers out of range, infinite numbers.
 */
export function bytesFromData(
  data: unknown,
  datatype: Datatype,
  rank: number,
  count: number,
  name: string,
): Uint8Array {
  if (!Array.isArray(data)) throw invalid(`${name}: data must be an array`);
  const nested = data.some((item) => Array.isArray(item));
  const leaves: readonly unknown[] = nested ? flatten(data, Math.max(rank, 1), name, []) : data;
  if (leaves.length !== count) {
    throw new LongshoreError(
      "body-mismatch",
      "decode",
      `${name}: its shape takes ${count} values, but ${leaves.length} came`,
    );
  }
  if (datatype === "BYTES") return textBytes(leaves, name);
  const put = puts[datatype];
  if (!put) throw invalid(`${name}: ${datatype} has no JSON form; send it as binary data`);
  const width = elementBytes(datatype);
  const bytes = new Uint8Array(count * width);
  const view = new DataView(bytes.buffer);
  for (let index = 0; index < count; index++) {
    if (!put(view, index * width, leaves[index])) {
      throw invalid(`${name}: value ${index} is not a finite ${datatype} that JSON carries exactly`);
    }
  }
  return bytes;
}

const gets: Readonly<Partial<Record<Datatype, (view: DataView, at: number) => number | bigint | boolean>>> = {
  BOOL: (view, at) => view.getUint8(at) !== 0,
  UINT8: (view, at) => view.getUint8(at),
  INT8: (view, at) => view.getInt8(at),
  UINT16: (view, at) => view.getUint16(at, true),
  INT16: (view, at) => view.getInt16(at, true),
  UINT32: (view, at) => view.getUint32(at, true),
  INT32: (view, at) => view.getInt32(at, true),
  UINT64: (view, at) => view.getBigUint64(at, true),
  INT64: (view, at) => view.getBigInt64(at, true),
  FP32: (view, at) => view.getFloat32(at, true),
  FP64: (view, at) => view.getFloat64(at, true),
};

/**
 * The flat JSON array of a tensor, as text: 64-bit integers keep all their digits. Throws `unsupported` for what JSON
 * cannot carry: FP16, BF16, NaN and infinities, BYTES that are not UTF-8.
 */
export function dataText(tensor: Tensor): string {
  const { name, datatype } = tensor.spec;
  const refuse = (why: string): LongshoreError =>
    new LongshoreError(
      "unsupported",
      "encode",
      `${name}: ${why}, which JSON cannot carry; ask for binary data`,
    );
  if (datatype === "BYTES") {
    const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
    try {
      return JSON.stringify(bytesElements(tensor).map((element) => utf8.decode(element)));
    } catch (thrown) {
      if (LongshoreError.is(thrown)) throw thrown;
      throw refuse("holds bytes that are not UTF-8 text");
    }
  }
  const get = gets[datatype];
  if (!get) throw refuse(`is ${datatype}`);
  const { bytes } = tensor;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const width = elementBytes(datatype);
  const words: string[] = [];
  for (let at = 0; at < bytes.byteLength; at += width) {
    const value = get(view, at);
    if (typeof value === "number" && !Number.isFinite(value)) throw refuse("holds NaN or infinity");
    words.push(Object.is(value, -0) ? "-0" : String(value));
  }
  return `[${words.join(",")}]`;
}
