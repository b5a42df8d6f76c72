import { type Call, LongshoreError } from "@longshore/core";
import { bareConfig, type ModelConfig } from "./config.ts";
import { parseModelYaml } from "./model-yaml.ts";
import {
  badConfiguration,
  checkModelName,
  compareVersions,
  isModelName,
  isVersionName,
  someNames,
} from "./names.ts";
import { modelsNamed } from "./pipeline.ts";
import { type LoadedVersion, readVersion, type RepositoryParts } from "./read-version.ts";
import { parseTritonConfig } from "./triton-config.ts";

/** Model packages in a store, in Triton's layout. What was read is remembered until `forget`. */
export interface ModelRepository {
  names(): Promise<readonly string[]>;
  /** Versions that are served, from old to new. Throws `unknown-model`. */
  versions(model: string): Promise<readonly string[]>;
  /** Throws `unknown-model`, `unknown-version`, `invalid-configuration`, `invalid-model`. */
  load(model: string, version: string | undefined, call: Call): Promise<LoadedVersion>;
  /** Reads this model anew next time, and those that use it. */
  forget(model: string): void;
}

/** Implicit version of a pipeline without a version folder: it has no files of its own. */
const onlyVersion = "1";

export function modelRepository(parts: RepositoryParts): ModelRepository {
  const { store } = parts;
  const configs = new Map<string, Promise<ModelConfig>>();
  const loaded = new Map<string, Promise<LoadedVersion>>();

  const names = async (): Promise<readonly string[]> => {
    const entries = (await store.list("")) ?? [];
    return entries
      .filter(({ name, directory }) => directory && isModelName(name))
      .map(({ name }) => name)
      .sort();
  };

  async function readConfig(model: string): Promise<ModelConfig> {
    checkModelName(model);
    const entries = await store.list(model);
    if (!entries) {
      throw new LongshoreError(
        "unknown-model",
        "resolve",
        `there is no model ${model} here; there are: ${someNames(await names())}`,
      );
    }
    const has = (file: string): boolean => entries.some(({ name, directory }) => name === file && !directory);
    for (const [file, parse] of [
      ["model.yaml", parseModelYaml],
      ["config.pbtxt", parseTritonConfig],
    ] as const) {
      if (!has(file)) continue;
      const bytes = (await store.read(`${model}/${file}`)) ?? new Uint8Array();
      const config = parse(model, new TextDecoder().decode(bytes));
      if (config.name === undefined || config.name === model) return config;
      throw badConfiguration(
        model,
        file,
        "name",
        `is ${JSON.stringify(config.name)}; it must equal the folder's name`,
      );
    }
    return bareConfig;
  }

  const configOf = (model: string): Promise<ModelConfig> =>
    remembered(configs, model, () => readConfig(model));

  async function versions(model: string): Promise<readonly string[]> {
    const config = await configOf(model);
    const entries = (await store.list(model)) ?? [];
    const folders = entries
      .filter(({ name, directory }) => directory && isVersionName(name))
      .map(({ name }) => name)
      .sort(compareVersions);
    if (folders.length === 0 && config.pipeline) return [onlyVersion];
    const policy = config.versions;
    if (policy.kind === "latest") return folders.slice(-policy.count);
    return policy.kind === "all" ? folders : folders.filter((name) => policy.versions.includes(name));
  }

  async function resolveVersion(model: string, version: string | undefined): Promise<string> {
    const all = await versions(model);
    const found = version === undefined || version === "" ? all.at(-1) : all.find((name) => name === version);
    if (found !== undefined) return found;
    throw new LongshoreError(
      "unknown-version",
      "resolve",
      `model ${model} has no version ${version ?? "at all"}; versions served here: ${someNames(all)}`,
    );
  }

  /** Follows which models use which before anything is loaded, so that loads never wait for each other in a ring. */
  async function refuseRings(model: string, path: readonly string[]): Promise<void> {
    if (path.includes(model)) {
      throw badConfiguration(model, "model.yaml", "pipeline", `is cyclic: ${[...path, model].join(" > ")}`);
    }
    const config = await configOf(model);
    for (const inner of modelsNamed(config)) {
      try {
        await refuseRings(inner, [...path, model]);
      } catch (thrown) {
        if (LongshoreError.is(thrown) && thrown.reason !== "unknown-model") throw thrown;
        throw badConfiguration(
          model,
          config.file,
          "pipeline",
          `uses model ${inner}: ${detail(thrown)}`,
          thrown,
        );
      }
    }
  }

  const loadVersion = (model: string, version: string, call: Call): Promise<LoadedVersion> =>
    remembered(loaded, `${model}/${version}`, async () =>
      readVersion(parts, model, version, await configOf(model), innerVersion, call),
    );

  async function innerVersion(
    model: string,
    version: string | undefined,
    call: Call,
  ): Promise<LoadedVersion> {
    return loadVersion(model, await resolveVersion(model, version), call);
  }

  return {
    names,
    versions,
    async load(model, version, call) {
      await refuseRings(model, []);
      return loadVersion(model, await resolveVersion(model, version), call);
    },
    forget(model) {
      configs.delete(model);
      for (const key of loaded.keys()) if (key.startsWith(`${model}/`)) loaded.delete(key);
      for (const [key, one] of loaded) {
        // A failed load forgets itself; of a finished one only its users matter.
        void one.then(({ uses }) => void (uses.includes(model) && loaded.delete(key))).catch(() => undefined);
      }
    },
  };
}

/** One attempt for all who ask at the same time; a failure is not remembered. */
function remembered<T>(cache: Map<string, Promise<T>>, key: string, make: () => Promise<T>): Promise<T> {
  const known = cache.get(key);
  if (known) return known;
  const made = make();
  cache.set(key, made);
  made.catch(() => cache.get(key) === made && cache.delete(key));
  return made;
}

function detail(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
