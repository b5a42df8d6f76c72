import type {
  Body,
  Cut,
  Features,
  ModelDescription,
  Profile,
  Step,
  Variant,
} from "../../words/model/index.ts";
import { datatypes, type TensorSpec } from "../../words/tensor/index.ts";
import {
  anyJson,
  dictionary,
  fields,
  readFlag,
  list,
  readNumber,
  optional,
  type Reader,
  readText,
  readWhole,
  readWord,
} from "./read-json.ts";

/**
 * Descriptions and profiles as they travel: the JSON of the types in `model/`, checked field by field. Fields that this
 * version does not know are left out; another `schemaVersion` is refused.
 */

const name: Reader<string> = readText(512);
const ratio: Reader<number> = readNumber(0, 1);
const positive: Reader<number> = readNumber(0);
const shape = list(readWhole(-1), 32);

/** Reads what is declared of a tensor. */
export const tensorSpecFrom: Reader<TensorSpec> = fields({
  name,
  datatype: readWord(...datatypes),
  shape,
  ragged: optional(readFlag),
});

const port = fields({
  name,
  datatype: readWord(...datatypes),
  shape,
  ragged: optional(readFlag),
  media: optional(readWord("image", "audio", "text")),
  openRank: optional(readFlag),
  optional: optional(readFlag),
});

const ports = fields({
  inputs: list(tensorSpecFrom, 256),
  outputs: list(tensorSpecFrom, 256),
  decoupled: optional(readFlag),
});

const run: Reader<Step["run"]> = (value, where) =>
  typeof value === "object" && value !== null && Object.hasOwn(value, "model")
    ? fields({ model: name, version: optional(name), elsewhere: optional(ports) })(value, where)
    : fields({ transform: name, parameters: anyJson() })(value, where);

const step = fields({
  id: name,
  run,
  inputs: dictionary(name, 64),
  forEach: optional(name),
  declassifiesTo: optional(name),
});

const kind = fields({ kind: readWord("graph", "pipeline") });
const body: Reader<Body> = (value, where) =>
  kind(value, where).kind === "graph"
    ? { kind: "graph", ...fields({ file: readText(1024) })(value, where) }
    : {
        kind: "pipeline",
        ...fields({ steps: list(step, 256), outputs: dictionary(name, 256) })(value, where),
      };

const variant: Reader<Variant> = fields({
  name,
  body,
  accuracyRatio: optional(ratio),
  agreementRatio: ratio,
  tiers: optional(list(readWord("device", "edge", "cloud"), 3)),
  memoryBytes: optional(positive),
});

const description = fields({
  name,
  version: name,
  digest: name,
  inputs: list(port, 256),
  outputs: list(port, 256),
  variants: list(variant, 64),
  batching: fields({
    maxBatchSize: readWhole(0, 65_536),
    preferredSizes: optional(list(readWhole(1, 65_536), 64)),
    maxQueueDelayMs: optional(positive),
  }),
  instances: list(fields({ count: readWhole(0, 4096), runtime: optional(name) }), 64),
  sequence: optional(
    fields({
      states: list(fields({ input: name, output: name, datatype: readWord(...datatypes), shape }), 64),
      maxIdleMs: positive,
    }),
  ),
  decoupled: optional(readFlag),
  responseCache: optional(readFlag),
  dataClass: optional(name),
  labels: dictionary(list(readText(512), 65_536), 64),
  trusted: readFlag,
});

/** Reads a description. Throws `invalid-input` naming the field. */
export function parseDescription(value: unknown): ModelDescription {
  return description(value, "description");
}

/** Of a bucket without upper bound, JSON writes infinity as null. */
const bound: Reader<number> = (value, where) => (value === null ? Infinity : positive(value, where));

/** How an input's size is stated in buckets and queries. */
const features = fields({ bytes: bound, size: optional(bound), items: optional(bound) });

/** Reads features. */
export const readFeatures: Reader<Features> = features;

/** Reads a cut. */
export const cutFrom: Reader<Cut> = fields({
  id: name,
  crossing: list(tensorSpecFrom, 1024),
  reveals: readWord("input", "features", "answer"),
});

const cut = fields({
  cut: cutFrom,
  headMs: list(positive, 64),
  tailMs: list(positive, 64),
  headMemoryBytes: positive,
  sides: optional(
    dictionary(
      fields({ least: readWhole(Number.MIN_SAFE_INTEGER), most: readWhole(Number.MIN_SAFE_INTEGER) }),
      1024,
    ),
  ),
  codings: list(
    fields({
      codecs: dictionary(name, 256),
      bytes: positive,
      encodeMs: positive,
      decodeMs: positive,
      encodeSpreadMs: optional(list(positive, 64)),
      decodeSpreadMs: optional(list(positive, 64)),
      errorRatio: optional(positive),
      agreementRatio: ratio,
      lossless: readFlag,
    }),
    64,
  ),
});

const profile = fields({
  schemaVersion: readWord(1),
  model: name,
  version: name,
  digest: name,
  measuredOn: fields({ runtime: name, threads: readWhole(0, 4096), description: readText(1024) }),
  variants: list(
    fields({
      variant: name,
      accuracyRatio: optional(ratio),
      agreementRatio: ratio,
      buckets: list(
        fields({
          upTo: features,
          typical: features,
          runs: readWhole(0),
          cuts: list(cut, 4096),
          legalCuts: readWhole(0),
        }),
        64,
      ),
    }),
    64,
  ),
});

/** Reads a profile. Throws `invalid-input` naming the field. */
export function parseProfile(value: unknown): Profile {
  return profile(value, "profile");
}
