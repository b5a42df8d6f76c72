import { type Call, LongshoreError } from "@longshore/core";
import { elementBytes, elementCount, shapeFits } from "@longshore/core/internal";
import { onProcessor } from "../runtime/index.ts";
import type { HeldState } from "../sequence/index.ts";
import { completeBatching, completePorts, joinableRows } from "./complete.ts";
import {
  badConfiguration,
  type InstanceConfig,
  type ModelConfig,
  type SequenceConfig,
  someNames,
  type StateConfig,
  type WarmUpConfig,
  type WarmUpInput,
} from "../configuration/index.ts";
import { type NamedFiles, storedArtifact, type VersionFiles } from "./files.ts";
import type { GraphBody, SequenceRules, WarmUp } from "./program.ts";
import { checkClasses } from "./classes.ts";
import type { RepositoryParts } from "./repository-parts.ts";
import type { ModelSignature, ModelStore } from "./source.ts";

/** One model file of a version, completed from its configuration. */
export async function graphBody(
  parts: RepositoryParts,
  model: string,
  version: string,
  config: ModelConfig,
  file: string,
  files: VersionFiles,
  named: NamedFiles,
  memoryBytes: number | undefined,
  call: Call,
): Promise<GraphBody> {
  const bad = (path: string, problem: string): Error => badConfiguration(model, config.file, path, problem);
  const facts = files.get(file);
  if (!facts) {
    const folder = await isFolder(parts.store, `${model}/${version}`, file);
    const why = folder ? `is a folder, not a file` : `is missing; its files: ${someNames([...files.keys()])}`;
    throw new LongshoreError("invalid-model", "resolve", `model ${model} version ${version}: ${file} ${why}`);
  }
  const artifact = storedArtifact(parts.store, `${model}/${version}/${file}`, facts, parts.sha256);
  const signature = await parts.source.inspect(artifact, call);
  const batching = completeBatching(config, signature, parts.defaultMaxBatchSize);
  const instances = loadedInstances(model, config, parts);
  const ports = completePorts(model, config, signature);
  const joined =
    config.joinsRequests || batching !== config.batching
      ? batching
      : { ...batching, maxBatchSize: Math.min(1, batching.maxBatchSize) };
  return {
    model,
    version,
    file: artifact,
    signature,
    batching: joined,
    joinableRows: joined.maxBatchSize > 1 ? 0 : joinableRows(config, ports, signature),
    instances,
    ...(config.providers ? { providers: config.providers } : {}),
    warmUps: await Promise.all(config.warmUps.map((written) => warmUpOf(written, signature, named, bad))),
    keepLoaded: config.keepLoaded,
    ...(memoryBytes === undefined ? {} : { memoryBytes }),
    trusted: config.trusted,
    ...ports,
    states: await Promise.all(ports.states.map((state) => heldState(model, config, state, named))),
    ...(config.sequence ? { sequence: sequenceRules(config.sequence, instances) } : {}),
  };
}

/**
 * Why a version cannot be loaded, as far as its configuration and the names of its files tell: no model file is read. Undefined
 * where nothing speaks against it.
 */
export async function foreseenProblem(
  parts: RepositoryParts,
  model: string,
  version: string,
  config: ModelConfig,
): Promise<string | undefined> {
  try {
    checkClasses(parts, model, config);
    if (config.pipeline) return undefined;
    loadedInstances(model, config, parts);
  } catch (thrown) {
    return LongshoreError.from(thrown, "resolve", `looking at model ${model}`).message;
  }
  const path = `${model}/${version}`;
  const files = new Set(config.variants.map(({ graph }) => graph ?? config.graph));
  for (const file of files) {
    const entries = (await parts.store.list(folderOf(path, file))) ?? [];
    const found = entries.find(({ name }) => name === nameOf(file));
    if (!found) return `its file ${file} is missing; there are ${someNames(entries.map(({ name }) => name))}`;
    if (found.directory) return `${file} is a folder, not a file`;
  }
  return undefined;
}

async function isFolder(store: ModelStore, path: string, file: string): Promise<boolean> {
  const entries = (await store.list(folderOf(path, file))) ?? [];
  return entries.some(({ name, directory }) => directory && name === nameOf(file));
}

const folderOf = (path: string, file: string): string => [path, ...file.split("/").slice(0, -1)].join("/");

const nameOf = (file: string): string => file.slice(file.lastIndexOf("/") + 1);

function sequenceRules(
  { required, strategy }: SequenceConfig,
  instances: readonly InstanceConfig[],
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

/** Loaded copies; throws `invalid-configuration` where they want a provider or a kind of processor that no runtime here has. */
export function loadedInstances(
  model: string,
  config: ModelConfig,
  { defaultInstances = 1, gpuFallback = false, accelerators = [], knownProviders }: RepositoryParts,
): readonly InstanceConfig[] {
  const unknown = knownProviders && config.providers?.find((one) => !knownProviders.includes(one));
  if (unknown !== undefined) {
    throw badConfiguration(
      model,
      config.file,
      "providers",
      `names ${unknown}, which is no execution provider; there are ${knownProviders?.join(", ")}`,
    );
  }
  const groups = config.instances;
  const gpus = config.providers?.filter((one) => !onProcessor(one)) ?? accelerators;
  if (groups.some(({ kind }) => kind === "gpu") && gpus.length === 0 && !gpuFallback) {
    throw badConfiguration(
      model,
      config.file,
      "instances",
      "want a GPU, and no execution provider for one is configured; name one (--providers cuda,cpu), write another kind, or allow processors instead (--gpu-fallback)",
    );
  }
  return groups.length > 0 ? groups : [{ count: defaultInstances, kind: "any", resources: [], priority: 1 }];
}

/** A run before serving with the contents of its files, checked against the graph. */
async function warmUpOf(
  { name, count, inputs }: WarmUpConfig,
  signature: ModelSignature,
  named: NamedFiles,
  bad: (path: string, problem: string) => Error,
): Promise<WarmUp> {
  const read = async ({
    input,
    datatype,
    shape,
    fill,
    file,
  }: WarmUpInput): Promise<WarmUp["inputs"][number]> => {
    const path = `warm-up ${JSON.stringify(name)} input ${JSON.stringify(input)}`;
    const spec = signature.inputs.find((one) => one.name === input);
    if (!spec) {
      throw bad(
        path,
        `is not in the graph; its inputs: ${someNames(signature.inputs.map((one) => one.name))}`,
      );
    }
    if (spec.datatype !== datatype || !shapeFits(shape, spec.shape)) {
      throw bad(
        path,
        `is ${datatype} [${shape.join(", ")}]; the graph takes ${spec.datatype} [${spec.shape.join(", ")}]`,
      );
    }
    const own = { name: input, datatype, shape };
    if (fill !== "file" || file === undefined)
      return { spec: own, content: fill === "random" ? "random" : "zeros" };
    const content = await named.bytes(file, path);
    const expected = elementCount(shape, input) * elementBytes(datatype);
    if (expected > 0 && content.byteLength !== expected) {
      throw bad(
        path,
        `is ${content.byteLength} bytes of ${file}; ${datatype} [${shape.join(", ")}] takes ${expected}`,
      );
    }
    return { spec: own, content };
  };
  return { name, count, inputs: await Promise.all(inputs.map(read)) };
}
