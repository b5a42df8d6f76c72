import {
  bytesElements,
  bytesTensor,
  LongshoreError,
  type PaddingBuckets,
  type Tensor,
  type Tensors,
} from "@longshore/core";
import type { PaddedAxis } from "@longshore/core/internal";
import { elementBytes } from "@longshore/core/internal";

/** Inputs brought to sizes of the model's buckets, and how outputs are cut back. */
export interface Padded {
  readonly feeds: Tensors;
  /** Cuts the axes of this request's outputs; rows are cut where the batch is taken apart. */
  cut(outputs: Tensors): Tensors;
}

const asIs = (feeds: Tensors): Padded => ({ feeds, cut: (outputs) => outputs });

/**
 * Pads the axes that vary up to the next of the model's sizes. Throws `invalid-input` when inputs that share an axis
 * disagree about its size. Requests of different lengths can then share a run.
 */
export function padAxes(feeds: Tensors, buckets: PaddingBuckets | undefined): Padded {
  if (!buckets || buckets.axes.length === 0) return asIs(feeds);
  let padded: Map<string, Tensor> | undefined;
  const cuts: { readonly axis: PaddedAxis; readonly size: number; readonly paddedSize: number }[] = [];
  for (const axis of buckets.axes) {
    const size = sizeOf(axis, feeds);
    const paddedSize = size === undefined ? undefined : axis.sizes.find((one) => one >= size);
    if (size === undefined || paddedSize === undefined || paddedSize === size) continue;
    padded ??= new Map(feeds);
    for (const [name, index] of Object.entries(axis.inputs)) {
      const tensor = padded.get(name);
      if (tensor) padded.set(name, resized(tensor, index, paddedSize, axis.fill));
    }
    cuts.push({ axis, size, paddedSize });
  }
  if (!padded) return asIs(feeds);
  return {
    feeds: padded,
    cut(outputs) {
      const cut = new Map(outputs);
      for (const { axis, size, paddedSize } of cuts) {
        for (const [name, index] of Object.entries(axis.outputs)) {
          const tensor = cut.get(name);
          if (tensor?.spec.shape[index] === paddedSize) cut.set(name, resized(tensor, index, size, 0));
        }
      }
      return cut;
    },
  };
}

/** The size that all inputs of an axis have; undefined when none of them is there. */
function sizeOf(axis: PaddedAxis, feeds: Tensors): number | undefined {
  let size: number | undefined;
  for (const [name, index] of Object.entries(axis.inputs)) {
    const own = feeds.get(name)?.spec.shape[index];
    if (own === undefined) continue;
    if (size !== undefined && own !== size) {
      throw new LongshoreError(
        "invalid-input",
        "queue",
        `input ${name} has ${own} on axis ${index} where another input of the same axis has ${size}`,
      );
    }
    size = own;
  }
  return size;
}

/** The tensor with another size on one axis: cut, or filled up. In memory of its own. */
export function resized(tensor: Tensor, axis: number, size: number, fill: number): Tensor {
  const { spec } = tensor;
  const before = spec.shape[axis] ?? 1;
  const inner = spec.shape.slice(axis + 1).reduce((count, one) => count * one, 1);
  const outer = spec.shape.slice(0, axis).reduce((count, one) => count * one, 1);
  const shape = spec.shape.map((one, index) => (index === axis ? size : one));
  const kept = Math.min(before, size);
  if (spec.datatype === "BYTES") {
    const elements = bytesElements(tensor);
    const empty = new Uint8Array();
    const chosen = Array.from({ length: outer }, (_, block) => {
      const from = block * before * inner;
      const more = Array.from({ length: (size - kept) * inner }, () => empty);
      return [...elements.slice(from, from + kept * inner), ...more];
    });
    return bytesTensor(spec.name, chosen.flat(), shape);
  }
  const width = elementBytes(spec.datatype);
  const bytes = new Uint8Array(outer * size * inner * width);
  if (size > before && fill !== 0) fillWith(bytes, spec.datatype, fill);
  for (let block = 0; block < outer; block++) {
    const from = block * before * inner * width;
    bytes.set(tensor.bytes.subarray(from, from + kept * inner * width), block * size * inner * width);
  }
  return { spec: { ...spec, shape }, bytes };
}

function fillWith(bytes: Uint8Array, datatype: Tensor["spec"]["datatype"], fill: number): void {
  const { buffer } = bytes;
  switch (datatype) {
    case "FP32":
      new Float32Array(buffer).fill(fill);
      return;
    case "FP64":
      new Float64Array(buffer).fill(fill);
      return;
    case "INT64":
    case "UINT64":
      new BigInt64Array(buffer).fill(BigInt(Math.trunc(fill)));
      return;
    case "INT32":
    case "UINT32":
      new Int32Array(buffer).fill(fill);
      return;
    case "INT16":
    case "UINT16":
      new Int16Array(buffer).fill(fill);
      return;
    case "INT8":
    case "UINT8":
    case "BOOL":
      bytes.fill(fill);
      return;
    default:
      throw new LongshoreError("unsupported", "queue", `inputs of ${datatype} can be padded with 0 only`);
  }
}
