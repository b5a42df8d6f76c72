import {
  bytesTensor,
  elementBytes,
  gaussian,
  type PortSpec,
  type Random,
  type Tensor,
  tensorOf,
  toHalf,
} from "@longshore/core";

/** What fills sizes that a model leaves free, tried in this order until a run succeeds. */
export interface FreeSizes {
  readonly batch: number;
  /** Height and width of images. */
  readonly side: number;
  /** Tokens, samples, steps. */
  readonly length: number;
}

/** Guesses from small to large; convolutions with many strides want at least 32, some want exactly 224 or 640. */
export const freeSizeGuesses: readonly FreeSizes[] = [
  { batch: 1, side: 224, length: 16 },
  { batch: 1, side: 64, length: 64 },
  { batch: 1, side: 320, length: 128 },
  { batch: 1, side: 640, length: 512 },
  { batch: 1, side: 32, length: 1 },
  { batch: 2, side: 224, length: 16 },
];

/** Largest index that an integer input may hold, by name, where the graph shows one (the rows of an embedding). */
export type IndexLimits = Readonly<Record<string, number>>;

function sizesOf(port: PortSpec, free: FreeSizes): number[] {
  const rank = port.shape.length;
  const image = rank === 4 || (rank === 3 && port.media === "image");
  return port.shape.map((size, axis) => {
    if (size >= 0) return size;
    if (axis === 0 && rank > 1) return free.batch;
    if (!image) return free.length;
    const channelsLast = port.shape[rank - 1] === 3 || port.shape[rank - 1] === 1;
    const channel = channelsLast ? axis === rank - 1 : axis === 1;
    return channel ? 3 : free.side;
  });
}

/** Masks are ones and segment numbers are zeros by every convention; other integers stay below the smallest plausible vocabulary. */
function integerFor(name: string, random: Random, limit: number | undefined): number {
  if (/mask/i.test(name)) return 1;
  if (/segment|token_type|type_ids/i.test(name)) return 0;
  return Math.floor(random.next() * Math.min(limit ?? 2, 30_000));
}

function writeOne(view: DataView, at: number, port: PortSpec, random: Random, limit: number | undefined): void {
  switch (port.datatype) {
    case "FP32":
      return view.setFloat32(at, gaussian(random) * 0.5 + 0.25, true);
    case "FP64":
      return view.setFloat64(at, gaussian(random) * 0.5 + 0.25, true);
    case "FP16":
      return view.setUint16(at, toHalf(gaussian(random) * 0.5 + 0.25), true);
    case "BF16":
      return view.setUint16(at, 0x3f00 + Math.floor(random.next() * 0x80), true);
    case "BOOL":
      return view.setUint8(at, random.next() < 0.5 ? 0 : 1);
    case "UINT8":
      return view.setUint8(at, Math.floor(random.next() * 256));
    case "INT8":
      return view.setInt8(at, Math.floor(random.next() * 256) - 128);
    case "UINT16":
    case "INT16":
      return view.setInt16(at, integerFor(port.name, random, limit), true);
    case "UINT32":
    case "INT32":
      return view.setInt32(at, integerFor(port.name, random, limit), true);
    case "UINT64":
    case "INT64":
      return view.setBigInt64(at, BigInt(integerFor(port.name, random, limit)), true);
    case "BYTES":
      return undefined;
  }
}

/**
 * Seeded inputs for a model that nobody gave inputs for: plausible numbers in the declared datatype and shape. They
 * exercise the arithmetic and the shapes; they say nothing about accuracy.
 */
export function seededInputs(
  ports: readonly PortSpec[],
  free: FreeSizes,
  random: Random,
  limits: IndexLimits = {},
): Record<string, Tensor> {
  const inputs: Record<string, Tensor> = {};
  for (const port of ports) {
    const shape = sizesOf(port, free);
    const count = shape.reduce((product, size) => product * size, 1);
    if (port.datatype === "BYTES") {
      inputs[port.name] = bytesTensor(port.name, Array.from({ length: count }, () => "longshore"), shape);
      continue;
    }
    const width = elementBytes(port.datatype);
    const bytes = new Uint8Array(count * width);
    const view = new DataView(bytes.buffer);
    for (let index = 0; index < count; index++) writeOne(view, index * width, port, random, limits[port.name]);
    inputs[port.name] = tensorOf(port.name, port.datatype, shape, bytes);
  }
  return inputs;
}
