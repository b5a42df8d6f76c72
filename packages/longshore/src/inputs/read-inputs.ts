import { readFile } from "node:fs/promises";
import { basename, extname } from "node:path";
import { bytesTensor, type Json, LongshoreError, type PortSpec, type Tensor } from "@longshore/core";
import { renamed, shapeFits } from "@longshore/core/internal";
import type { TransformSet } from "@longshore/engine";
import { type ImagePreparation, plainPreparation, runTransform, tensorFromImage } from "./image-tensor.ts";
import { resolveShape, tensorFromJson } from "./json-tensor.ts";
import { readNpy } from "./npy.ts";
import { tensorFromRaw } from "./raw.ts";

const images = [".jpg", ".jpeg", ".png", ".webp"];

/** Extensions that inputs are read from, for `--help` and for folders of samples. */
export const inputExtensions: readonly string[] = [
  ...images,
  ".wav",
  ".txt",
  ".json",
  ".npy",
  ".bin",
  ".raw",
];

/**
 * Reads the inputs of one call from files: `name=file`, or just `file` where the model has a single input that the file
 * can be for. A .json file may also hold all inputs at once: `{ "<name>": ... }`. Throws `invalid-input`.
 */
export async function readInputFiles(
  given: readonly string[],
  ports: readonly PortSpec[],
  transforms: TransformSet,
  preparation: ImagePreparation = plainPreparation,
): Promise<Record<string, Tensor>> {
  const inputs: Record<string, Tensor> = Object.create(null) as Record<string, Tensor>;
  for (const argument of given) {
    const [port, path] = portAndPath(argument, ports, inputs);
    if (port && port.name in inputs) {
      throw new LongshoreError("invalid-input", "decode", `${path} would be a second ${describePort(port)}`);
    }
    const bytes = await readBytes(path);
    if (port === undefined) Object.assign(inputs, allFromJson(path, bytes, ports));
    else inputs[port.name] = await tensorFromFile(port, path, bytes, transforms, preparation);
  }
  const missing = ports.filter((port) => !port.optional && !(port.name in inputs));
  if (missing.length > 0) {
    throw new LongshoreError(
      "invalid-input",
      "decode",
      `nothing was given for ${missing.map(describePort).join(", ")}; give --input <name>=<file> (${inputExtensions.join(" ")})`,
    );
  }
  return inputs;
}

/** `image: BYTES [1] (image)`. */
export function describePort(port: PortSpec): string {
  return `${port.name}: ${port.datatype} [${port.shape.join(", ")}]${port.media ? ` (${port.media})` : ""}`;
}

async function readBytes(path: string): Promise<Uint8Array> {
  try {
    return new Uint8Array(await readFile(path));
  } catch (error) {
    throw new LongshoreError("invalid-input", "decode", `${path} cannot be read`, { cause: error });
  }
}

function portAndPath(
  argument: string,
  ports: readonly PortSpec[],
  taken: Readonly<Record<string, Tensor>>,
): [PortSpec | undefined, string] {
  const named = ports.find((port) => argument.startsWith(`${port.name}=`));
  if (named) return [named, argument.slice(named.name.length + 1)];
  const at = argument.indexOf("=");
  if (at > 0 && !argument.slice(0, at).includes("/") && !argument.slice(0, at).includes(".")) {
    throw new LongshoreError(
      "invalid-input",
      "decode",
      `the model has no input ${argument.slice(0, at)}; it has ${ports.map(describePort).join(", ")}`,
    );
  }
  const open = ports.filter((port) => !(port.name in taken));
  if (open.length <= 1 || extname(argument) !== ".json") return [open[0] ?? ports[0], argument];
  return [undefined, argument];
}

function allFromJson(path: string, bytes: Uint8Array, ports: readonly PortSpec[]): Record<string, Tensor> {
  const value = parseJson(path, bytes);
  const inputs: Record<string, Tensor> = {};
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new LongshoreError(
      "invalid-input",
      "decode",
      `${path} should hold an object with one value for each of ${ports.map((port) => port.name).join(", ")}`,
    );
  }
  for (const port of ports) {
    const own = (value as { readonly [name: string]: Json })[port.name];
    if (own !== undefined) inputs[port.name] = tensorFromJson(port, own);
  }
  return inputs;
}

function parseJson(path: string, bytes: Uint8Array): Json {
  try {
    return JSON.parse(new TextDecoder().decode(bytes)) as Json;
  } catch (error) {
    throw new LongshoreError("invalid-input", "decode", `${path} is not JSON: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

async function tensorFromFile(
  port: PortSpec,
  path: string,
  bytes: Uint8Array,
  transforms: TransformSet,
  preparation: ImagePreparation,
): Promise<Tensor> {
  const kind = extname(path).toLowerCase();
  if (images.includes(kind)) return tensorFromImage(port, bytes, transforms, preparation);
  if (kind === ".npy") return checked(port, renamed(readNpy(basename(path), bytes), port.name));
  if (kind === ".json") {
    const value = parseJson(path, bytes);
    const own =
      typeof value === "object" && value !== null && !Array.isArray(value)
        ? (value as { readonly [name: string]: Json })[port.name]
        : undefined;
    return tensorFromJson(port, own ?? value);
  }
  if (port.datatype === "BYTES") {
    const text = kind === ".txt" ? new TextDecoder().decode(bytes).trimEnd() : bytes;
    return bytesTensor(port.name, [text]);
  }
  if (kind === ".wav") {
    const decoded = await runTransform(transforms, "decode-wav", {}, [bytesTensor("bytes", [bytes])]);
    const samples = decoded.get("samples");
    if (!samples) throw new LongshoreError("internal", "decode", "the WAV decoder gave no samples");
    return checked(port, {
      ...samples,
      spec: {
        ...samples.spec,
        name: port.name,
        shape: resolveShape(port, samples.spec.shape, samples.spec.shape[0] ?? 0),
      },
    });
  }
  return tensorFromRaw(port, bytes);
}

function checked(port: PortSpec, tensor: Tensor): Tensor {
  const { datatype, shape } = tensor.spec;
  if (datatype === port.datatype && shapeFits(shape, port.shape)) return tensor;
  throw new LongshoreError(
    "invalid-input",
    "decode",
    `${describePort(port)} was wanted, but the file holds ${datatype} [${shape.join(", ")}]${datatype === "FP64" && port.datatype === "FP32" ? "; save array.astype(np.float32)" : ""}`,
  );
}
