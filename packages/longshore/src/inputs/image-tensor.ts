import { bytesTensor, LongshoreError, type Tensor, tensorsOf, type TensorSpec } from "@longshore/core";
import { renamed } from "@longshore/core/internal";
import type { TransformSet } from "@longshore/engine";

/** How pixels become numbers for a model that wants a tensor: `(pixel * scale - mean) / std`, channel by channel. */
export interface ImagePreparation {
  readonly mean: readonly number[];
  readonly std: readonly number[];
  readonly scale: number;
  /** Side to resize to where the model leaves its sizes free, in pixels. */
  readonly freeSide: number;
}

/** The preparation without options: values 0..1, channels red, green, blue, 224 pixels. */
export const plainPreparation: ImagePreparation = {
  mean: [0, 0, 0],
  std: [1, 1, 1],
  scale: 1 / 255,
  freeSide: 224,
};

/** Runs one transform by name; the transforms are those of the engine and of the platform. */
export async function runTransform(
  transforms: TransformSet,
  name: string,
  parameters: unknown,
  inputs: readonly Tensor[],
): Promise<ReadonlyMap<string, Tensor>> {
  const transform = transforms.get(name);
  if (!transform) throw new LongshoreError("unsupported", "decode", `this build has no transform ${name}`);
  return transform.run(tensorsOf(...inputs), transform.parse(parameters));
}

function only(outputs: ReadonlyMap<string, Tensor>, name: string): Tensor {
  const tensor = outputs.get(name);
  if (!tensor) throw new LongshoreError("internal", "decode", `a transform gave no ${name}`);
  return tensor;
}

/**
 * Makes what `spec` wants from an encoded image: the bytes themselves (BYTES), pixels (UINT8 `[h, w, 3]`), or a
 * normalised FP32 tensor `[1, 3, h, w]` or `[1, h, w, 3]` resized to the declared size. Throws `invalid-input` when the
 * model's input is none of these.
 */
export async function tensorFromImage(
  spec: TensorSpec,
  file: Uint8Array,
  transforms: TransformSet,
  preparation: ImagePreparation,
): Promise<Tensor> {
  if (spec.datatype === "BYTES") return bytesTensor(spec.name, [file]);
  const decoded = only(
    await runTransform(transforms, "decode-image", { channels: 3 }, [bytesTensor("bytes", [file])]),
    "image",
  );
  const { shape } = spec;
  if (spec.datatype === "UINT8" && shape.length === 3) return renamed(decoded, spec.name);
  const first = shape[1] === 3 || shape[1] === 1;
  const last = shape[3] === 3 || shape[3] === 1;
  if (spec.datatype !== "FP32" || shape.length !== 4 || !(first || last || shape.every((size) => size < 0))) {
    throw new LongshoreError(
      "invalid-input",
      "decode",
      `${spec.name} is ${spec.datatype} [${shape.join(", ")}]: an image cannot become that; give a .npy file of the right shape`,
    );
  }
  const nchw = first || !last;
  const [height, width] = nchw ? [shape[2], shape[3]] : [shape[1], shape[2]];
  const side = (size: number | undefined): number =>
    size !== undefined && size > 0 ? size : preparation.freeSide;
  const resized = only(
    await runTransform(transforms, "resize-image", { height: side(height), width: side(width) }, [
      renamed(decoded, "image"),
    ]),
    "image",
  );
  const normalised = await runTransform(
    transforms,
    "normalise-image",
    {
      mean: preparation.mean,
      std: preparation.std,
      scale: preparation.scale,
      layout: nchw ? "nchw" : "nhwc",
    },
    [resized],
  );
  return renamed(only(normalised, "tensor"), spec.name);
}
