import {
  type Call,
  elementBytes,
  elementCount,
  type InstanceGroup,
  LongshoreError,
  type ModelDescription,
  parseProfile,
  type Profile,
} from "@longshore/core";
import type { HeldState } from "../sequence/index.ts";
import type { TransformSet } from "../transform/index.ts";
import {
  describeVariant,
  graphProgram,
  pipelineOutputs,
  pipelineProgram,
  programStates,
} from "./assemble.ts";
import { completePorts } from "./complete.ts";
import type { ModelConfig, SequenceConfig, StateConfig } from "./config.ts";
import { versionDigest } from "./digest.ts";
import {
  digestFiles,
  type Hash,
  linesOf,
  type NamedFiles,
  namedFiles,
  profileFile,
  storedArtifact,
  type VersionFiles,
} from "./files.ts";
import { badConfiguration, someNames } from "./names.ts";
import type { GraphBody, Program, SequenceRules } from "./program.ts";
import type { ModelSource, ModelStore } from "./source.ts";

/** A version read, completed and checked; nothing of it is in a runtime yet. */
export interface LoadedVersion {
  readonly description: ModelDescription;
  readonly programs: ReadonlyMap<string, Program>;
  readonly profile?: Profile;
  /** Why a profile that lies in the folder is not used. */
  readonly profileIgnored?: string;
  /** Names of the models that it is made of, besides itself. */
  readonly uses: readonly string[];
}

/** What a repository reads with. */
export interface RepositoryParts {
  readonly store: ModelStore;
  readonly source: ModelSource;
  readonly transforms: TransformSet;
  readonly sha256: Hash;
  /** Instances of a model that does not say. Default 1. */
  readonly defaultInstances?: number;
}

/** How one version gets at the models that it is made of. */
export type InnerVersion = (model: string, version: string | undefined, call: Call) => Promise<LoadedVersion>;

/** Reads, completes and checks one version. */
export async function readVersion(
  parts: RepositoryParts,
  model: string,
  version: string,
  config: ModelConfig,
  innerVersion: InnerVersion,
  call: Call,
): Promise<LoadedVersion> {
  const { store, sha256: hash } = parts;
  const folder = `${model}/${version}`;
  const files = await digestFiles(store, model, folder, hash);
  const named = namedFiles(store, model, config.file, [folder, model], hash);
  const inner = new Map<string, LoadedVersion>();
  const programs = new Map<string, Program>();
  let first: Program | undefined;
  let graphPorts: Pick<ModelDescription, "inputs" | "outputs"> | undefined;
  for (const variant of config.variants) {
    if (programs.has(variant.name))
      throw badConfiguration(model, config.file, "variants", `name ${variant.name} twice`);
    let program: Program;
    if (config.pipeline) {
      if (variant.graph !== undefined) {
        throw badConfiguration(
          model,
          config.file,
          `variant ${variant.name}`,
          "names a graph, but the model is a pipeline",
        );
      }
      await loadInner(config, variant.models, inner, innerVersion, call);
      program = await pipelineProgram(
        {
          model,
          config,
          transforms: parts.transforms,
          files: named,
          inner: (name, wanted, which) => innerProgram(inner, name, wanted, which),
        },
        variant,
      );
    } else {
      if (Object.keys({ ...variant.parameters, ...variant.models }).length > 0) {
        throw badConfiguration(
          model,
          config.file,
          `variant ${variant.name}`,
          "changes steps, but the model has none",
        );
      }
      const graph = await graphBody(
        parts,
        model,
        version,
        config,
        variant.graph ?? config.graph,
        files,
        named,
        call,
      );
      program = graphProgram(graph, variant.name, parts.transforms);
      graphPorts ??= { inputs: graph.inputs, outputs: graph.outputs };
    }
    programs.set(variant.name, program);
    first ??= program;
  }
  if (!first) throw badConfiguration(model, config.file, "variants", "is empty; at least one is needed");
  const ports = graphPorts ?? { inputs: first.inputs, outputs: pipelineOutputs(model, config, first) };
  const states = programStates(first);
  const labels = await labelsOf(config, named);
  const models = new Map(
    [...inner.values()].map(({ description }) => [
      `${description.name}/${description.version}`,
      description.digest,
    ]),
  );
  const digest = await versionDigest({ config, ...ports, files, named: named.digests, models }, hash);
  const description: ModelDescription = {
    name: model,
    version,
    digest,
    ...ports,
    variants: config.variants.map((written, index) =>
      // Every variant got a program in the loop above.
      describeVariant(config, written, programs.get(written.name) ?? first, index === 0),
    ),
    batching: config.batching,
    instances: instancesOf(config, parts),
    ...(states.length > 0 || config.sequence
      ? { sequence: { states, maxIdleMs: idleOf(config, first, inner) } }
      : {}),
    ...(config.dataClass === undefined ? {} : { dataClass: config.dataClass }),
    labels,
    trusted: config.trusted,
  };
  const uses = [...new Set([...inner.values()].flatMap((one) => [one.description.name, ...one.uses]))];
  return { description, programs, uses, ...(await profileOf(store, folder, description)) };
}

async function loadInner(
  config: ModelConfig,
  replaced: Readonly<Record<string, string>>,
  inner: Map<string, LoadedVersion>,
  innerVersion: InnerVersion,
  call: Call,
): Promise<void> {
  for (const step of config.pipeline?.steps ?? []) {
    const name = replaced[step.id] ?? step.model;
    if (name === undefined) continue;
    const key = `${name}/${step.version ?? ""}`;
    if (!inner.has(key)) inner.set(key, await innerVersion(name, step.version, call));
  }
}

function innerProgram(
  inner: ReadonlyMap<string, LoadedVersion>,
  model: string,
  version: string | undefined,
  variant: string,
): Program {
  const programs = inner.get(`${model}/${version ?? ""}`)?.programs ?? new Map<string, Program>();
  const program = programs.get(variant) ?? [...programs.values()][0];
  // Steps name only models that were loaded just before; a version without programs cannot be loaded.
  if (!program) throw new LongshoreError("internal", "resolve", `model ${model} was not loaded`);
  return program;
}

async function graphBody(
  parts: RepositoryParts,
  model: string,
  version: string,
  config: ModelConfig,
  file: string,
  files: VersionFiles,
  named: NamedFiles,
  call: Call,
): Promise<GraphBody> {
  const facts = files.get(file);
  if (!facts) {
    throw new LongshoreError(
      "invalid-model",
      "resolve",
      `model ${model} version ${version} has no file ${file}; its files: ${someNames([...files.keys()])}`,
    );
  }
  const artifact = storedArtifact(parts.store, `${model}/${version}/${file}`, facts, parts.sha256);
  const signature = await parts.source.inspect(artifact, call);
  const { batching } = config;
  const instances = instancesOf(config, parts);
  const ports = completePorts(model, config, signature);
  return {
    model,
    version,
    file: artifact,
    signature,
    batching: config.joinsRequests ? batching : { maxBatchSize: Math.min(1, batching.maxBatchSize) },
    instances,
    trusted: config.trusted,
    ...ports,
    states: await Promise.all(ports.states.map((state) => heldState(model, config, state, named))),
    ...(config.sequence ? { sequence: sequenceRules(config.sequence, instances) } : {}),
  };
}

function sequenceRules(
  { required, strategy }: SequenceConfig,
  instances: readonly InstanceGroup[],
): SequenceRules {
  const count = instances.reduce((sum, group) => sum + group.count, 0);
  return { required, ...(strategy ? { slots: count * strategy.candidates } : {}) };
}

/** A state with the content of the file that says what it begins as. */
async function heldState(
  model: string,
  config: ModelConfig,
  { initialFile, ...state }: StateConfig,
  named: NamedFiles,
): Promise<HeldState> {
  if (initialFile === undefined) return state;
  const path = `state ${JSON.stringify(state.input)} initial_state`;
  const initial = await named.bytes(`initial_state/${initialFile}`, path);
  const width = elementBytes(state.datatype);
  const expected = elementCount(state.shape, state.input) * width;
  if (width > 0 && initial.byteLength === expected) return { ...state, initial };
  throw badConfiguration(
    model,
    config.file,
    path,
    width > 0
      ? `is ${initial.byteLength} bytes of ${initialFile}; ${state.datatype} [${state.shape.join(", ")}] takes ${expected}`
      : "is a file, but the state holds texts, which begin empty",
  );
}

function instancesOf(config: ModelConfig, parts: RepositoryParts): ModelDescription["instances"] {
  return config.instances.length > 0 ? config.instances : [{ count: parts.defaultInstances ?? 1 }];
}

/** A pipeline's sequence idles no longer than the least patient of its models allows. */
function idleOf(config: ModelConfig, program: Program, inner: ReadonlyMap<string, LoadedVersion>): number {
  if (config.sequence) return config.sequence.maxIdleMs;
  const stateful = new Set(
    program.steps.flatMap((step) =>
      step.kind === "model" && step.graph.states.length > 0 ? [step.graph.model] : [],
    ),
  );
  const idles = [...inner.values()].flatMap(({ description: { name, sequence } }) =>
    sequence && stateful.has(name) ? [sequence.maxIdleMs] : [],
  );
  return Math.min(...idles, 86_400_000);
}

async function labelsOf(
  config: ModelConfig,
  files: NamedFiles,
): Promise<Readonly<Record<string, readonly string[]>>> {
  const labels: [string, readonly string[]][] = [];
  for (const { name, labelsFile } of config.outputs) {
    if (labelsFile === undefined) continue;
    labels.push([name, linesOf(await files.text(labelsFile, `output ${JSON.stringify(name)} labels`))]);
  }
  return Object.fromEntries(labels);
}

async function profileOf(
  store: ModelStore,
  folder: string,
  { digest }: ModelDescription,
): Promise<Pick<LoadedVersion, "profile" | "profileIgnored">> {
  const bytes = await store.read(`${folder}/${profileFile}`);
  if (!bytes) return {};
  try {
    const profile = parseProfile(JSON.parse(new TextDecoder().decode(bytes)));
    if (profile.digest === digest) return { profile };
    return { profileIgnored: "profile.json was measured on another content; profile the model again" };
  } catch (thrown) {
    return { profileIgnored: `profile.json is not readable: ${detail(thrown)}` };
  }
}

function detail(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
