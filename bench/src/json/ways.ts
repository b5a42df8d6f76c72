import { defaultWireLimits, seededRandom, type WireLimits } from "@longshore/core";
import { readInferRequest } from "@longshore/core/internal";

/** An image as a client writes it: how its values came to be text. */
export interface JsonImage {
  readonly name: string;
  readonly size: number;
  readonly write: (value: number) => string;
  /** Requests in one measurement, so that each takes long against the clock's steps. */
  readonly perBlock: number;
}

/** FP32 widened to FP64 and written with all its digits, as Python's `tolist` and JavaScript do; and rounded by the sender. */
const full = (value: number): string => String(Math.fround(value));
const short = (value: number): string => String(Number(value.toFixed(6)));

export const images: readonly JsonImage[] = [
  { name: "224Full", size: 224, write: full, perBlock: 8 },
  { name: "224Short", size: 224, write: short, perBlock: 8 },
  { name: "640Full", size: 640, write: full, perBlock: 1 },
  { name: "640Short", size: 640, write: short, perBlock: 1 },
];

/** Bodies of this bench exceed the default on purpose: a third of a frame of video is no small message as text. */
export const limits: WireLimits = { ...defaultWireLimits, maxJsonBytes: 2 ** 26, maxBodyBytes: 2 ** 26 };

/** The request for an image, in JSON throughout. */
export function bodyOf({ size, write }: JsonImage, seed: number): Uint8Array<ArrayBuffer> {
  const random = seededRandom(seed);
  const words = Array.from({ length: 3 * size * size }, () => write(random.next() * 4.9 - 2.1));
  const text = `{"inputs":[{"name":"x","shape":[1,3,${size},${size}],"datatype":"FP32","data":[${words.join(",")}]}]}`;
  return new TextEncoder().encode(text);
}

/** An image's tensor, and its shape. */
export interface Read {
  readonly shape: readonly number[];
  readonly values: Float32Array<ArrayBuffer>;
}

/** The lean way of who parses with JSON.parse and still checks what came: text, arrays of numbers, tensor. */
export function byJsonParse(body: Uint8Array): Read {
  const message = JSON.parse(new TextDecoder().decode(body)) as {
    readonly inputs: readonly [{ readonly shape: readonly number[]; readonly data: readonly unknown[] }];
  };
  const [{ shape, data }] = message.inputs;
  const count = shape.reduce((product, length) => product * length, 1);
  if (data.length !== count) throw new Error("the data does not fit its shape");
  const values = new Float32Array(count);
  for (let index = 0; index < count; index++) {
    const value = data[index];
    if (typeof value !== "number" || !Number.isFinite(Math.fround(value))) throw new Error("not a number");
    values[index] = value;
  }
  return { shape, values };
}

/** The product's way. */
export function byArrayText(body: Uint8Array): Read {
  const [input] = readInferRequest(body, undefined, limits).inputs;
  if (!input) throw new Error("no input");
  const { buffer, byteOffset, byteLength } = input.bytes;
  // The reader makes memory of its own, which is not shared.
  return {
    shape: input.shape,
    values: new Float32Array(buffer as ArrayBuffer, byteOffset, byteLength / 4),
  };
}

/** The same request with its tensor in binary: the cost of JSON is the difference to this. */
export function asBinary({ shape, values }: Read): {
  readonly headerBytes: number;
  readonly parts: readonly [Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>];
} {
  const input = {
    name: "x",
    shape,
    datatype: "FP32",
    parameters: { binary_data_size: values.byteLength },
  };
  const head = new TextEncoder().encode(JSON.stringify({ inputs: [input] }));
  return { headerBytes: head.byteLength, parts: [head, new Uint8Array(values.buffer)] };
}
