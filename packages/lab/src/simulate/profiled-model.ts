/**
 * Models as a simulation needs them, made of a profile or of plain numbers. No value is computed: the crossing at a cut is a
 * blank tensor of the profiled size, so that bytes on the links are right where shapes vary.
 */
import {
  type CutProfile,
  endCut,
  type ModelDescription,
  type Profile,
  startCut,
  type Tensor,
  type Tensors,
  type TensorSpec,
} from "@longshore/core";
import { elementBytes } from "@longshore/core/internal";
import { bucketOf, cutOf } from "../world/profile-times.ts";
import type { SimulatedModel } from "../world/simulated-model.ts";

/** The description of a model without a profile. The whole runs here or there; there is no cut inside. */
export interface PlainModel {
  readonly name?: string;
  /** Of the input as it is sent, and of the answer (default 1,000). */
  readonly bytes: number;
  readonly replyBytes?: number;
  /** One run on the device, and at an endpoint of speed 1. */
  readonly localMs: number;
  readonly serverMs: number;
}

/** The model of a profile; with its description if there is one, else with the facts of the profile alone. */
export function profiledModel(
  profile: Profile,
  description: ModelDescription = describedBy(profile),
): SimulatedModel {
  const made = new Map<string, Tensors>();
  return {
    description,
    profile,
    // Inputs are blank: their sizes are those of the first bucket.
    featuresOf: () => ({ bytes: 0 }),
    compute({ segment: { variant, to } }) {
      const key = `${variant} ${to}`;
      const known = made.get(key);
      if (known) return known;
      const tensors = sizedTensors(cutOf(bucketOf(profile, variant, { bytes: 0 }), to));
      made.set(key, tensors);
      return tensors;
    },
  };
}

/** Blank inputs of the size that the profile was measured with. */
export function typicalInputs({ profile, description }: SimulatedModel): Tensors {
  const variant = description.variants[0]?.name ?? "default";
  return sizedTensors(cutOf(bucketOf(profile, variant, { bytes: 0 }), startCut));
}

/** A model of plain numbers, on the machine of the server: the device's speed beside it is `serverMs / localMs`. */
export function plainModel(about: PlainModel): {
  readonly model: SimulatedModel;
  readonly deviceSpeed: number;
} {
  const { name = "model", bytes, replyBytes = 1000, localMs, serverMs } = about;
  const cut = (id: string, wireBytes: number): CutProfile => ({
    cut: {
      id,
      crossing: [{ name: id === startCut ? "input" : "answer", datatype: "UINT8", shape: [wireBytes] }],
      reveals: id === startCut ? "input" : "answer",
    },
    headMs: [id === endCut ? serverMs : 0],
    tailMs: [id === startCut ? serverMs : 0],
    headMemoryBytes: 0,
    codings: [{ codecs: {}, bytes: wireBytes, encodeMs: 0, decodeMs: 0, agreementRatio: 1, lossless: true }],
  });
  const bucket = {
    upTo: { bytes: Number.MAX_SAFE_INTEGER },
    typical: { bytes },
    runs: 1,
    cuts: [cut(startCut, bytes), cut(endCut, replyBytes)],
    legalCuts: 2,
  };
  const profile: Profile = {
    schemaVersion: 1,
    model: name,
    version: "1",
    digest: `sha256:${"0".repeat(64)}`,
    measuredOn: { runtime: "none", threads: 1, description: "plain numbers" },
    variants: [{ variant: "default", agreementRatio: 1, buckets: [bucket] }],
  };
  return { model: profiledModel(profile), deviceSpeed: serverMs / localMs };
}

function describedBy(profile: Profile): ModelDescription {
  const ends = (id: string): readonly TensorSpec[] =>
    profile.variants[0]?.buckets[0]?.cuts.find(({ cut }) => cut.id === id)?.cut.crossing ?? [];
  return {
    name: profile.model,
    version: profile.version,
    digest: profile.digest,
    inputs: ends(startCut),
    outputs: ends(endCut),
    variants: profile.variants.map(({ variant, agreementRatio, accuracyRatio }) => ({
      name: variant,
      body: { kind: "graph", file: "model.onnx" },
      agreementRatio,
      ...(accuracyRatio === undefined ? {} : { accuracyRatio }),
    })),
    batching: { maxBatchSize: 0 },
    instances: [],
    labels: {},
    trusted: true,
  };
}

/** Blank tensors of a crossing. The first one whose size varies takes what the others leave of the profiled bytes. */
function sizedTensors({ cut, codings }: CutProfile): Tensors {
  const raw = codings.find(({ codecs }) => Object.keys(codecs).length === 0)?.bytes ?? 0;
  const varying = cut.crossing.find(
    ({ shape, datatype }) => datatype === "BYTES" || shape.some((size) => size < 0),
  );
  const rest = cut.crossing.reduce((left, spec) => (spec === varying ? left : left - leastBytes(spec)), raw);
  return new Map(cut.crossing.map((spec) => [spec.name, blank(spec, spec === varying ? rest : 0)]));
}

function leastBytes({ shape, datatype }: TensorSpec): number {
  return (elementBytes(datatype) || 4) * shape.reduce((product, size) => product * Math.max(1, size), 1);
}

function blank(spec: TensorSpec, wantedBytes: number): Tensor {
  const { ragged: _ragged, ...rest } = spec;
  const least = leastBytes(spec);
  if (spec.datatype === "BYTES") {
    // One text that takes it all: a length of four bytes, then the bytes.
    const count = spec.shape.reduce((product, size) => product * Math.max(1, size), 1);
    const bytes = new Uint8Array(Math.max(least, Math.round(wantedBytes) + 4));
    new DataView(bytes.buffer).setUint32(0, bytes.byteLength - 4 * count, true);
    return { spec: { ...rest, shape: spec.shape.map((size) => Math.max(1, size)) }, bytes };
  }
  const times = Math.max(1, Math.round(wantedBytes / least));
  const first = spec.shape.findIndex((size) => size < 0);
  const shape = spec.shape.map((size, index) => (index === first ? times : Math.max(1, size)));
  return { spec: { ...rest, shape }, bytes: new Uint8Array(first < 0 ? least : least * times) };
}
