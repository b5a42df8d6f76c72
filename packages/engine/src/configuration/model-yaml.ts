import * as v from "valibot";
import { parseDocument } from "yaml";
import { datatypes, type Json } from "@longshore/core";
import {
  defaults,
  type ModelConfig,
  type StepConfig,
  type VariantConfig,
  type VersionPolicy,
} from "./config.ts";
import { batching, batchingOf, buckets } from "./batching-yaml.ts";
import { instances, providers, versionLabels, versions, warmUpKey } from "./life-yaml.ts";
import { badConfiguration, isFileName, isVersionName } from "./names.ts";
import { tritonPolicy } from "./triton-life.ts";
import { about, count, defined, duration, shown, strict, word } from "./yaml-parts.ts";

const ratio = v.pipe(v.number(), v.minValue(0), v.maxValue(1));
const stepId = v.pipe(
  v.string(),
  v.regex(/^[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?$/, "must be [a-z0-9-], 1 to 40"),
);
const variantName = v.pipe(
  v.string(),
  v.regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, "must be [A-Za-z0-9._-], 1 to 64"),
);
const file = v.pipe(v.string(), v.check(isFileName, "must be a file inside the model's folder"));
const version = v.pipe(v.string(), v.check(isVersionName, 'must be a version, such as "1"'));
const shape = v.pipe(v.array(count(-1, 2 ** 31 - 1)), v.maxLength(16));
const datatype = v.picklist(datatypes);
const json = v.custom<Json>(
  (value) => isJson(value, 0),
  "must be plain data: text, numbers, lists and mappings",
);
const parameters = v.record(v.string(), json);

const port = strict({
  name: about("Name in requests.", word),
  datatype: about("Such as `FP32`, `INT64` or `BYTES`.", datatype),
  shape: about("Sizes; -1 where one varies.", shape),
  media: v.optional(about("Kind of media in a BYTES input.", v.picklist(["image", "audio", "text"]))),
  labels: v.optional(about("File with one label per line.", file)),
});

const tensors = v.pipe(v.array(strict({ name: word, datatype, shape })), v.minLength(1), v.maxLength(256));

const step = strict({
  id: about("Name of the step, and of the cut after it.", stepId),
  transform: v.optional(about("Name of a transform; a step has either this or `model`.", word)),
  model: v.optional(about("Name of a model.", word)),
  version: v.optional(about("Version of the model. Default: the newest.", version)),
  with: v.optional(about("Parameters of the transform.", parameters)),
  inputs: about("Port to pipeline input or `<step>.<port>`.", v.record(v.string(), word)),
  forEach: v.optional(about("Value with a varying number of elements; the step runs once for each.", word)),
  declassifiesTo: v.optional(about("Data class of the outputs. Default: the class of the input.", word)),
  elsewhere: v.optional(
    about(
      "The model is at other servers only; with `true` they state its inputs and outputs.",
      v.union([
        v.literal(true),
        strict({ inputs: tensors, outputs: tensors, decoupled: v.optional(v.boolean()) }),
      ]),
    ),
  ),
});

const variant = strict({
  name: variantName,
  tiers: v.optional(
    about("Tiers that may run this variant. Default: all.", v.array(v.picklist(["device", "edge", "cloud"]))),
  ),
  with: v.optional(about("Step to parameters.", v.record(v.string(), parameters))),
  models: v.optional(about("Step to model.", v.record(v.string(), word))),
  graph: v.optional(about("File in the version folder.", file)),
  agreement: v.optional(about("Share of answers equal to those of the first variant.", ratio)),
  accuracy: v.optional(about("Share of right answers.", ratio)),
  memoryBytes: v.optional(
    about("Memory of one instance. Default: twice the file and 24 MiB.", count(0, Number.MAX_SAFE_INTEGER)),
  ),
});

/** `values` are what the input holds for no and for yes. */
const control = strict({
  input: about("Name of the input.", word),
  kind: about("The control that the input carries.", v.picklist(["start", "ready", "end", "correlation-id"])),
  datatype,
  values: v.optional(
    about("Values of the input for no and for yes. Default: `[0, 1]`.", v.tuple([v.number(), v.number()])),
  ),
});

const schema = strict({
  name: v.optional(about("Must equal the folder's name.", word)),
  dataClass: v.optional(
    about("Data class of the inputs. Default: none, so the input stays on the device.", word),
  ),
  trusted: v.optional(
    about(
      "`false` runs the model in a child process with a memory cap and a deadline per run. Default: `true`.",
      v.boolean(),
    ),
  ),
  inputs: v.optional(
    about(
      "Inputs. Default: those of the ONNX file; inputs of unknown rank must be declared.",
      v.pipe(v.array(port), v.maxLength(256)),
    ),
  ),
  outputs: v.optional(
    about("Outputs. Default: those of the ONNX file.", v.pipe(v.array(port), v.maxLength(256))),
  ),
  graph: v.optional(about("File in the version folder. Default: `model.onnx`.", file)),
  batching: v.optional(
    about(
      "How requests share a run; `maxBatchSize: 0` forbids it. Default: learned (`--batching`).",
      batching,
    ),
  ),
  buckets: v.optional(about("Sizes that inputs are padded up to. Default: no padding.", buckets)),
  instances: v.optional(about("Loaded copies. Default: one, with the server's runtime.", instances)),
  providers: v.optional(
    about(
      "Execution providers to try, in this order, such as `[cuda, cpu]`. Default: those of the server (`--providers`).",
      providers,
    ),
  ),
  versions: v.optional(
    about(
      "Which version folders are served: `all`, `{ latest: n }` or `{ specific: [1, 3] }`. Default: all, the newest loaded first.",
      versions,
    ),
  ),
  versionLabels: v.optional(
    about("Label to version, such as `{ stable: 3 }`. Default: none.", versionLabels),
  ),
  warmUp: v.optional(about("Runs before a version is served. Default: none.", warmUpKey)),
  keepLoaded: v.optional(
    about("`true` keeps the model in memory when other models need room. Default: `false`.", v.boolean()),
  ),
  responseCache: v.optional(
    about(
      "`true` says that equal inputs have equal answers, which may be cached. Default: `false`.",
      v.boolean(),
    ),
  ),
  sequence: v.optional(
    about(
      "State that requests of a sequence share. Default: no state.",
      strict({
        maxIdleMs: v.optional(
          about("A sequence without requests for this long ends. Default: 60,000.", duration),
        ),
        states: v.optional(
          about(
            "Inputs of the graph that get an output of the request before.",
            v.pipe(
              v.array(
                strict({
                  input: word,
                  output: word,
                  datatype,
                  shape: v.array(count(0, 2 ** 31 - 1)),
                  initial: v.optional(about("File in `initial_state/`. Default: zeros.", file)),
                }),
              ),
              v.maxLength(64),
            ),
          ),
        ),
        controls: v.optional(
          about("Inputs that carry the position in the sequence.", v.pipe(v.array(control), v.maxLength(4))),
        ),
        required: v.optional(
          about("`true` refuses requests without a sequence id. Default: `false`.", v.boolean()),
        ),
        candidates: v.optional(
          about(
            "Sequences at a time for each instance (Triton's `oldest`). Default: no bound.",
            count(1, 65_536),
          ),
        ),
      }),
    ),
  ),
  pipeline: v.optional(
    about(
      "Steps instead of one graph.",
      strict({
        steps: about(
          "Steps in order; a cut lies after each.",
          v.pipe(v.array(step), v.minLength(1), v.maxLength(128)),
        ),
        outputs: v.record(v.string(), word),
        maxInFlight: v.optional(
          about("Requests inside the pipeline at a time. Default: no bound.", count(1, 65_536)),
        ),
      }),
    ),
  ),
  variants: v.optional(
    about(
      "Other bodies or parameters of the version. Default: one, `default`.",
      v.pipe(v.array(variant), v.minLength(1), v.maxLength(32)),
    ),
  ),
});

/** The keys of model.yaml, for the reference page that is made of them. */
export const modelYamlSchema: v.GenericSchema = schema;

/** Largest configuration that is read, in bytes, and how many aliases it may use: a few lines can stand for gigabytes. */
const maxConfigBytes = 1 << 20;
const maxAliases = 64;
const maxDepth = 32;

/** Reads model.yaml. Throws `invalid-configuration` with the path, the value and what is allowed there. */
export function parseModelYaml(model: string, text: string): ModelConfig {
  const raw = parseYaml(model, text);
  if (raw === null)
    throw badConfiguration(model, "model.yaml", "", "is empty; remove it or give a key, such as dataClass");
  const result = v.safeParse(schema, raw, { abortEarly: true });
  if (!result.success) {
    const issue = result.issues[0];
    throw badConfiguration(model, "model.yaml", pathText(issue), issueText(issue));
  }
  const { output } = result;
  const { name, dataClass, sequence, pipeline } = output;
  if (pipeline && output.graph !== undefined) {
    throw badConfiguration(model, "model.yaml", "graph", "and pipeline cannot both be given");
  }
  const policy: VersionPolicy = output.versions ?? { kind: "all", lazy: true };
  return {
    file: "model.yaml",
    ...(name === undefined ? {} : { name }),
    ...(dataClass === undefined ? {} : { dataClass }),
    trusted: output.trusted ?? true,
    inputs: (output.inputs ?? []).map(portConfig),
    outputs: (output.outputs ?? []).map(portConfig),
    graph: output.graph ?? defaults.graph,
    batching: batchingOf(model, output.batching, output.buckets),
    joinsRequests: output.batching !== undefined,
    forbidsJoining: output.batching !== undefined,
    instances: output.instances ?? [],
    ...(output.providers ? { providers: output.providers } : {}),
    ...(sequence
      ? {
          sequence: {
            maxIdleMs: sequence.maxIdleMs ?? defaults.maxIdleMs,
            states: (sequence.states ?? []).map(({ initial, ...state }) =>
              defined({ ...state, initialFile: initial }),
            ),
            controls: (sequence.controls ?? []).map(({ values, ...rest }) => ({
              ...rest,
              noYes: values ?? [0, 1],
            })),
            required: sequence.required ?? false,
            ...(sequence.candidates === undefined
              ? {}
              : { strategy: { kind: "oldest", candidates: sequence.candidates } as const }),
          },
        }
      : {}),
    ...(pipeline ? { pipeline: defined({ ...pipeline, steps: pipeline.steps.map(stepConfig) }) } : {}),
    variants: output.variants?.map(variantConfig) ?? defaults.variants,
    versions: policy,
    versionLabels: output.versionLabels ?? {},
    warmUps: output.warmUp ?? [],
    keepLoaded: output.keepLoaded ?? false,
    responseCache: output.responseCache ?? false,
    decoupled: false,
    unused: [],
    written: { version_policy: tritonPolicy(policy) },
  };
}

function portConfig({ labels, ...rest }: v.InferOutput<typeof port>): ModelConfig["inputs"][number] {
  return defined({ ...rest, labelsFile: labels });
}

function stepConfig({ with: parameters, elsewhere, ...rest }: v.InferOutput<typeof step>): StepConfig {
  const there = typeof elsewhere === "object" ? defined(elsewhere) : elsewhere;
  return { ...defined({ ...rest, elsewhere: there }), parameters: parameters ?? {} };
}

function variantConfig(written: v.InferOutput<typeof variant>): VariantConfig {
  const { with: parameters, models, agreement, accuracy, ...rest } = written;
  return {
    ...defined({ ...rest, agreementRatio: agreement, accuracyRatio: accuracy }),
    parameters: parameters ?? {},
    models: models ?? {},
  };
}

function parseYaml(model: string, text: string): unknown {
  if (text.length > maxConfigBytes) {
    throw badConfiguration(
      model,
      "model.yaml",
      "",
      `has ${text.length} characters; at most ${maxConfigBytes} are read`,
    );
  }
  try {
    const document = parseDocument(text, {
      prettyErrors: true,
      uniqueKeys: true,
      strict: true,
      // Otherwise a second document is dropped without a word.
      logLevel: "error",
    });
    const problem = document.errors[0];
    if (problem) throw problem;
    return document.toJS({ maxAliasCount: maxAliases }) as unknown;
  } catch (thrown) {
    // Also the RangeError of nesting so deep that the parser runs out of stack, and of too many aliases.
    const [detail = ""] = (thrown instanceof Error ? thrown.message : String(thrown))
      .replace("; please use YAML.parseAllDocuments()", "; give one")
      .split("\n");
    throw badConfiguration(model, "model.yaml", "", `is not readable as YAML: ${detail}`, thrown);
  }
}

function isJson(value: unknown, depth: number): boolean {
  if (depth > maxDepth) return false;
  if (value === null || typeof value === "string" || typeof value === "boolean") return true;
  if (typeof value === "number") return Number.isFinite(value);
  if (Array.isArray(value)) return value.every((one) => isJson(one, depth + 1));
  return typeof value === "object" && Object.values(value).every((one) => isJson(one, depth + 1));
}

/** `pipeline.steps[2].transform`. */
function pathText(issue: v.BaseIssue<unknown>): string {
  let text = "";
  for (const { key } of issue.path ?? [])
    text += typeof key === "number" ? `[${key}]` : `${text ? "." : ""}${String(key)}`;
  return text;
}

function issueText(issue: v.BaseIssue<unknown>): string {
  if (issue.type === "strict_object") return issue.message;
  const value = shown(issue.input);
  if (issue.input === undefined) return `is missing; expected ${issue.expected ?? "a value"}`;
  if (issue.kind === "schema" && issue.expected) return `is ${value}; expected ${issue.expected}`;
  if (issue.type === "min_value") return `is ${value}; at least ${String(issue.requirement)} is allowed`;
  if (issue.type === "max_value") return `is ${value}; at most ${String(issue.requirement)} is allowed`;
  if (issue.type === "integer") return `is ${value}; a whole number is expected`;
  if (issue.type === "min_length") return `is ${value}; at least ${String(issue.requirement)} are needed`;
  if (issue.type === "max_length") return `is too long; at most ${String(issue.requirement)} are allowed`;
  return `is ${value}; it ${issue.message}`;
}
