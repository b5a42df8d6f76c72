import {
  type Call,
  LongshoreError,
  type ModelDescription,
  type ModelPorts,
  type Profile,
} from "@longshore/core";
import { parseProfile, turnWhileWanted } from "@longshore/core/internal";
import { onProcessor } from "../runtime/index.ts";
import {
  describeVariant,
  graphProgram,
  keptProgram,
  pipelineOutputs,
  pipelineProgram,
  programStates,
} from "./assemble.ts";
import { badConfiguration, type ModelConfig, type StepConfig } from "../configuration/index.ts";
import { checkClasses } from "./classes.ts";
import { versionDigest } from "./digest.ts";
import { acceleratorProfileFile, digestFiles, namedFiles, type NamedFiles, profileFile } from "./files.ts";
import { graphBody, loadedInstances } from "./graph-body.ts";
import type { Program } from "./program.ts";
import { givesSeveral } from "./program-builder.ts";
import type { ModelStore } from "./source.ts";
import type { RepositoryParts } from "./repository-parts.ts";

/** A version read, completed and checked; nothing of it is in a runtime yet. */
export interface LoadedVersion {
  readonly description: ModelDescription;
  readonly programs: ReadonlyMap<string, Program>;
  readonly profile?: Profile;
  /** Why a profile that lies in the folder is not used. */
  readonly profileIgnored?: string;
  /** Names of what its configuration says without effect here, those of the models that it is made of as well. */
  readonly unused: readonly string[];
  /** The configuration to show, in the JSON of Triton's `ModelConfig`. */
  readonly written: ModelConfig["written"];
  /** Names of the models that it is made of, besides itself. */
  readonly uses: readonly string[];
  /** The versions of them, as `<model>/<version>`. */
  readonly versionsUsed: readonly string[];
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
  checkClasses(parts, model, config);
  const folder = `${model}/${version}`;
  const files = await digestFiles(store, model, folder, hash);
  const pause = (): Promise<void> => turnWhileWanted(parts.clock, call.abort, "resolve");
  const named = namedFiles(store, model, config.file, [folder, model], hash, pause);
  const inner = new Map<string, LoadedVersion>();
  const asked = new Map<string, ModelPorts>();
  const programs = new Map<string, Program>();
  let first: Program | undefined;
  let graphPorts: Pick<ModelDescription, "inputs" | "outputs"> | undefined;
  let { batching } = config;
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
          portsOf: (step) => portsOf(parts, step, asked, call),
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
        variant.memoryBytes,
        call,
      );
      program = graphProgram(graph, variant.name, parts.transforms);
      if (!graphPorts && batching.maxBatchSize === 0) ({ batching } = graph);
      graphPorts ??= { inputs: graph.inputs, outputs: graph.outputs };
    }
    programs.set(variant.name, program);
    first ??= program;
  }
  if (!first) throw badConfiguration(model, config.file, "variants", "is empty; at least one is needed");
  for (const [name, program] of programs) {
    const why = unlike(program, first, config);
    if (why !== undefined) throw badConfiguration(model, config.file, `variant ${name}`, why);
  }
  const ports = graphPorts ?? { inputs: first.inputs, outputs: pipelineOutputs(model, config, first) };
  const states = programStates(first);
  const keepsState = states.length > 0 || config.sequence !== undefined;
  const labels = await labelsOf(config, named);
  const models = new Map(
    [...inner.values()].map(({ description }) => [
      `${description.name}/${description.version}`,
      description.digest,
    ]),
  );
  for (const [name, ports] of asked) models.set(name, JSON.stringify(ports));
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
    batching,
    instances: loadedInstances(model, config, parts).map(({ count, runtime }) => ({
      count,
      ...(runtime === undefined ? {} : { runtime }),
    })),
    ...(keepsState || [...programs.values()].some(isSequential)
      ? { sequence: { states, maxIdleMs: idleOf(config, inner.values()) } }
      : {}),
    ...(config.decoupled || first.steps.some(givesSeveral) ? { decoupled: true } : {}),
    ...(config.responseCache ? { responseCache: true } : {}),
    ...(config.dataClass === undefined ? {} : { dataClass: config.dataClass }),
    labels,
    trusted: config.trusted,
  };
  const apart = [...programs.values()]
    .filter((program) => keepsState || programStates(program).length > 0)
    .map(stateApart)
    .find((why) => why !== undefined);
  if (apart !== undefined) throw badConfiguration(model, config.file, "sequence", apart);
  const made = [...inner.values()];
  const uses = [...new Set(made.flatMap((one) => [one.description.name, ...one.uses]))];
  const versionsUsed = made.flatMap(({ description: { name, version: of }, versionsUsed: theirs }) => [
    `${name}/${of}`,
    ...theirs,
  ]);
  const unused = [
    ...config.unused,
    ...made.flatMap((one) => one.unused.map((name) => `${one.description.name}: ${name}`)),
  ];
  const profile = await profileOf(store, folder, description, acceleratorOf(parts, config));
  if (config.responseCache)
    for (const [name, program] of programs) programs.set(name, keptProgram(program, digest));
  return { description, programs, uses, versionsUsed, unused, written: config.written, ...profile };
}

/** Why a variant differs from the first one, which decides for all how requests come; undefined if it does not. */
function unlike(variant: Program, first: Program, { decoupled, sequence }: ModelConfig): string | undefined {
  const several = ({ steps }: Program): boolean => decoupled || steps.some(givesSeveral);
  const keeps = (one: Program): boolean => sequence !== undefined || programStates(one).length > 0;
  if (several(variant) !== several(first))
    return `gives ${several(variant) ? "several answers" : "one answer"} to a request, other than the first variant`;
  if (keeps(variant) !== keeps(first))
    return `keeps ${keeps(variant) ? "state" : "no state"} between requests, other than the first variant`;
  return undefined;
}

/** Why the requests of a sequence could not all go to where the models of its steps keep their state; undefined where they can. */
function stateApart({ steps }: Program): string | undefined {
  const others = steps.filter((step) => step.kind === "elsewhere");
  if (others.length === 0) return undefined;
  const own = steps.find(
    (step) => step.kind === "model" && (step.graph.states.length > 0 || step.graph.sequence),
  );
  if (own) {
    const what = `keeps state in step ${own.id} here, while the model of step ${others[0]?.id} is at another endpoint`;
    return `${what}: state that one of them lost the other could not restore; make two models of it`;
  }
  const parted = steps.findIndex(givesSeveral);
  const repeated =
    parted < 0
      ? undefined
      : steps.slice(parted + 1).find(({ kind, forEach }) => kind === "elsewhere" && forEach === undefined);
  if (repeated)
    return `runs the model of step ${repeated.id} at another endpoint once for each answer of step ${steps[parted]?.id}: all of them would be one step of the sequence`;
  const asked = new Map<string, string>();
  for (const { id, model, forEach } of others) {
    const other = asked.get(model);
    // Elements of one request are no steps of a sequence.
    if (forEach === undefined && other !== undefined)
      return `has steps ${other} and ${id} of one model of other endpoints, which would take both for steps of the same sequence`;
    if (forEach === undefined) asked.set(model, id);
  }
  return undefined;
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
    if (name === undefined || step.elsewhere) continue;
    const key = `${name}/${step.version ?? ""}`;
    if (!inner.has(key)) inner.set(key, await innerVersion(name, step.version, call));
  }
}

/** Inputs and outputs of the model of a step that only other endpoints have: as configured, else as they say. */
async function portsOf(
  { elsewhere }: RepositoryParts,
  { id, model = "", version, elsewhere: written }: StepConfig,
  asked: Map<string, ModelPorts>,
  call: Call,
): Promise<ModelPorts> {
  if (typeof written === "object") return written;
  const key = `elsewhere ${model}/${version ?? ""}`;
  const ports = asked.get(key) ?? (await elsewhere?.(model, version, call));
  if (!ports) {
    const what = `no other endpoint states the inputs and outputs of ${model} (step ${id})`;
    throw new LongshoreError(
      "no-endpoint",
      "resolve",
      `${what}: name one that has it, or write it down under elsewhere`,
    );
  }
  asked.set(key, ports);
  return ports;
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

/** Whether one of its steps receives its position in a sequence. */
function isSequential({ steps }: Program): boolean {
  return steps.some((step) => step.kind === "model" && step.graph.sequence !== undefined);
}

/** A pipeline's sequence idles no longer than the least patient of its models allows. */
function idleOf(config: ModelConfig, inner: Iterable<LoadedVersion>): number {
  if (config.sequence) return config.sequence.maxIdleMs;
  const idles = Array.from(inner, ({ description: { sequence } }) => sequence?.maxIdleMs ?? Infinity);
  return Math.min(...idles, 86_400_000);
}

async function labelsOf(
  config: ModelConfig,
  files: NamedFiles,
): Promise<Readonly<Record<string, readonly string[]>>> {
  const labels: [string, readonly string[]][] = [];
  for (const { name, labelsFile } of config.outputs) {
    if (labelsFile === undefined) continue;
    labels.push([name, await files.lines(labelsFile, `output ${JSON.stringify(name)} labels`)]);
  }
  return Object.fromEntries(labels);
}

/** The accelerator that a model runs on, if all goes well; undefined for the processor. */
function acceleratorOf(
  { accelerators = [], firstProvider }: RepositoryParts,
  { instances: [first], providers }: ModelConfig,
): string | undefined {
  if (first?.kind === "cpu") return undefined;
  const listed = providers ?? accelerators;
  const provider =
    first?.kind === "gpu" ? listed.find((one) => !onProcessor(one)) : firstProvider?.(providers);
  return provider === undefined || onProcessor(provider) ? undefined : provider;
}

/** The profile of the accelerator if there is one, else that of the processor, which the planner scales by the speed that it sees. */
async function profileOf(
  store: ModelStore,
  folder: string,
  { digest }: ModelDescription,
  accelerator: string | undefined,
): Promise<Pick<LoadedVersion, "profile" | "profileIgnored">> {
  const names =
    accelerator === undefined ? [profileFile] : [acceleratorProfileFile(accelerator), profileFile];
  let ignored: Pick<LoadedVersion, "profileIgnored"> = {};
  for (const name of names) {
    const bytes = await store.read(`${folder}/${name}`);
    if (!bytes) continue;
    try {
      const profile = parseProfile(JSON.parse(new TextDecoder().decode(bytes)));
      if (profile.digest === digest) return { profile, ...ignored };
      ignored = { profileIgnored: `${name} was measured on another content; profile the model again` };
    } catch (thrown) {
      ignored = { profileIgnored: `${name} is not readable: ${detail(thrown)}` };
    }
  }
  return ignored;
}

function detail(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
