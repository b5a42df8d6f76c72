import { numericTensor, type Tensor, type Tensors, type TensorSpec } from "@longshore/core";
import { inputError, portOf } from "./ports.ts";

/** An image in memory: rows from the top, pixels interleaved, 8 bits a channel. */
export interface Pixels {
  readonly height: number;
  readonly width: number;
  readonly channels: number;
  readonly data: Uint8Array;
}

/** The image at a port, `[height, width, channels]` UINT8 with 1 to 4 channels. Shares the bytes. */
export function pixelsAt(inputs: Tensors, port: string, transform: string): Pixels {
  const { spec, bytes } = portOf(inputs, port, transform);
  const [height = 0, width = 0, channels = 0] = spec.shape;
  if (spec.datatype !== "UINT8" || spec.shape.length !== 3 || channels < 1 || channels > 4) {
    throw inputError(
      transform,
      `${port} is ${spec.datatype} [${spec.shape.join(", ")}]; an image is UINT8 [height, width, 1 to 4]`,
    );
  }
  if (height < 1 || width < 1 || bytes.byteLength !== height * width * channels) {
    throw inputError(transform, `${port} is an image of ${height} x ${width} in ${bytes.byteLength} bytes`);
  }
  return { height, width, channels, data: bytes };
}

/** An image as a tensor (not copied). */
export function pixelsTensor(name: string, pixels: Pixels): Tensor {
  return numericTensor(name, "UINT8", [pixels.height, pixels.width, pixels.channels], pixels.data);
}

/** The spec of an image. */
export function imageSpec(name: string, height: number, width: number, channels: number): TensorSpec {
  return { name, datatype: "UINT8", shape: [height, width, channels] };
}
