import type { ModelDescription, PortSpec } from "../../words/model/index.ts";
import { read, type Reader } from "../protocol/index.ts";
import { datatypes, type TensorSpec } from "../../words/tensor/index.ts";
import type { ModelKnowledge } from "../endpoint/index.ts";

const { fields, readFlag, list, optional, readText, readWhole, readWord } = read;

const name = readText(512);
const port = fields({ name, datatype: readWord(...datatypes), shape: list(readWhole(-1), 32) });

/** KServe says `null` of a model without versions. */
const versions: Reader<readonly string[] | undefined> = (value, where) =>
  value === null || value === undefined ? undefined : list(name, 4096)(value, where);

const metadata = fields({ name, versions, inputs: list(port, 256), outputs: list(port, 256) });

const control = fields({ kind: optional(name), data_type: optional(name) });

const configuration = fields({
  max_batch_size: optional(readWhole(0, 65_536)),
  input: optional(list(fields({ name, optional: optional(readFlag) }), 256)),
  model_transaction_policy: optional(fields({ decoupled: optional(readFlag) })),
  sequence_batching: optional(
    fields({ control_input: optional(list(fields({ control: optional(list(control, 16)) }), 256)) }),
  ),
});

type Ports = readonly TensorSpec[];

/**
 * Only Triton's configuration tells which inputs a request may leave out. A model that has some may leave out outputs that
 * depend on them. An output without sizes in a server's metadata need not be a scalar: some servers write that for unknown
 * shapes.
 */
function portsOf(
  { inputs, outputs }: { readonly inputs: Ports; readonly outputs: Ports },
  configured: readonly { readonly name: string; readonly optional?: boolean | undefined }[] = [],
): { readonly inputs: readonly PortSpec[]; readonly outputs: readonly PortSpec[] } {
  const left = new Set(configured.filter(({ optional }) => optional).map((input) => input.name));
  const optional = { optional: true };
  return {
    inputs: inputs.map((input) => (left.has(input.name) ? { ...input, ...optional } : input)),
    outputs: outputs.map((output) => ({
      ...output,
      ...(output.shape.length === 0 ? { openRank: true } : {}),
      ...(left.size > 0 ? optional : {}),
    })),
  };
}

/** FNV-1a (Fowler, Noll, Vo) of 64 bits over UTF-8: tells signatures apart, and proves nothing. */
function fnv(text: string): string {
  let hash = 0xcbf29ce484222325n;
  for (const byte of new TextEncoder().encode(text)) {
    hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
  }
  return hash.toString(16).padStart(16, "0");
}

/** The visible differences of models whose files are out of sight: name, version, inputs and outputs, in any order. */
function signature(inputs: Ports, outputs: Ports): string {
  const side = (ports: Ports): string =>
    ports
      .map(({ name, datatype, shape }) => JSON.stringify([name, datatype, shape.length]))
      .sort()
      .join();
  return fnv(`${side(inputs)}>${side(outputs)}`);
}

/** The id of a sequence for a model that takes a number, which is never 0: the number itself, else a hash of 63 bits. */
export function sequenceNumber(id: string): bigint {
  const isNumber = /^[1-9][0-9]{0,19}$/.test(id) && BigInt(id) < 2n ** 64n;
  return isNumber ? BigInt(id) : BigInt.asUintN(63, BigInt(`0x${fnv(id)}`)) | 1n;
}

/** The beginning of digests that only name a body. */
const foreignPrefix = "foreign:";

/** Whether a server tells no digest of its bodies. */
export function isForeignDigest(digest: string): boolean {
  return digest.startsWith(foreignPrefix);
}

/** The inputs of a model; undefined if its server does not say, as those that run any code in Python need not. */
export function declaredInputs({ digest, inputs }: ModelDescription): ModelDescription["inputs"] | undefined {
  return inputs.length === 0 && isForeignDigest(digest) ? undefined : inputs;
}

/** Whether two descriptions take and give the same tensors, as far as names, datatypes and ranks say. */
export function sameSignature(one: ModelDescription, other: ModelDescription): boolean {
  return signature(one.inputs, one.outputs) === signature(other.inputs, other.outputs);
}

/**
 * The limit in characters of a configuration that is kept, which may name any number of files and parameters; a longer one is
 * dropped.
 */
const maxConfigurationText = 262_144;

/** A configuration that can be shown to others, from an endpoint that is known to have some. */
export function toldConfiguration(told: unknown): Pick<ModelKnowledge, "configuration"> {
  if (told === undefined) return {};
  // The whole value was read from JSON.
  const configuration = read.objectAt(told, "configuration") as NonNullable<ModelKnowledge["configuration"]>;
  return JSON.stringify(configuration).length <= maxConfigurationText ? { configuration } : {};
}

/**
 * The knowledge of a model on a server that speaks only the Open Inference Protocol, from its metadata and, if the server has
 * it, its configuration. Such a server states no digest: name, version and signature stand for it. So servers that an operator
 * names side by side count as copies of one model, as with any other gateway, and no version with a real digest is mistaken for
 * theirs.
 */
export function foreignKnowledge(
  version: string | undefined,
  told: { readonly metadata: unknown; readonly configuration: unknown },
): ModelKnowledge {
  const { name, versions, inputs, outputs } = metadata(told.metadata, "metadata");
  const config: ReturnType<typeof configuration> =
    told.configuration === undefined ? {} : configuration(told.configuration, "configuration");
  const newest = [...(versions ?? [])].sort((a, b) => Number(b) - Number(a))[0];
  const own = version ?? newest ?? "";
  const controls = config.sequence_batching?.control_input?.flatMap((input) => input.control ?? []) ?? [];
  const toldId = controls.find(({ kind }) => kind === "CONTROL_SEQUENCE_CORRID");
  const description: ModelDescription = {
    name,
    version: own,
    digest: `${foreignPrefix}${name}/${own}/${signature(inputs, outputs)}`,
    ...portsOf({ inputs, outputs }, config.input),
    variants: [{ name: "default", body: { kind: "graph", file: "" }, agreementRatio: 1 }],
    batching: { maxBatchSize: config.max_batch_size ?? 0 },
    instances: [],
    labels: {},
    trusted: false,
    ...(config.model_transaction_policy?.decoupled ? { decoupled: true } : {}),
  };
  return {
    description,
    ...(toldId && toldId.data_type !== "TYPE_STRING" ? { numbersSequences: true } : {}),
    ...toldConfiguration(told.configuration),
  };
}
