import { LongshoreError } from "@longshore/core";
import type { ModelSource, ModelStore } from "@longshore/engine";

/** Name of the model of a warm-up, and how many values a row of it has. */
export const warmModel = "warm";
export const warmWidth = 64;

/** `y = Relu(x)` of FP32 `[batch, 64]`, as an ONNX file in Base64. */
const file =
  "CAgSCWxvbmdzaG9yZTpSChYKAXgSAXkaBlJlbHVfMSIEUmVsdToAEgR3YXJtWhgKAXgSEwoRCAESDQoHEgViYXRjaAoCCEBiGAoBeRITChEIARINCgcSBWJhdGNoCgIIQEIECgAQEQ==";

const files: Readonly<Record<string, () => Uint8Array>> = {
  [`${warmModel}/1/model.onnx`]: () => new Uint8Array(Buffer.from(file, "base64")),
  [`${warmModel}/model.yaml`]: () => new TextEncoder().encode("batching: { maxBatchSize: 32 }\n"),
};

/** A repository of that model alone. */
export const warmStore: ModelStore = {
  async list(path) {
    const prefix = path === "" ? "" : `${path}/`;
    const below = Object.entries(files).filter(([name]) => name.startsWith(prefix));
    if (below.length === 0) return undefined;
    const names = new Map<string, { readonly directory: boolean; readonly bytes: number }>();
    for (const [name, read] of below) {
      const [first = "", ...more] = name.slice(prefix.length).split("/");
      names.set(first, { directory: more.length > 0, bytes: more.length > 0 ? 0 : read().byteLength });
    }
    return Array.from(names, ([name, facts]) => ({ name, ...facts }));
  },
  read: async (path) => (Object.hasOwn(files, path) ? files[path]?.() : undefined),
};

const shape = [-1, warmWidth];

/** The metadata of the model, stated without reading its file. */
export const warmSource: ModelSource = {
  inspect: async () => ({
    inputs: [{ name: "x", datatype: "FP32", shape }],
    outputs: [{ name: "y", datatype: "FP32", shape }],
    weightBytes: 0,
  }),
  cuts: async () => [],
  async extract() {
    throw new LongshoreError("unknown-cut", "resolve", "the model of a warm-up has no cuts");
  },
};
