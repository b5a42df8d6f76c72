import { type Call, LongshoreError } from "@longshore/core";
import {
  badConfiguration,
  checkModelName,
  notModelName,
  isVersionName,
  type ModelConfig,
  someNames,
} from "../configuration/index.ts";
import { foreseenProblem } from "./graph-body.ts";
import { modelFolders } from "./model-folders.ts";
import { type FileOverride, overridden } from "./override.ts";
import { modelsNamed } from "./pipeline.ts";
import { readConfig } from "./read-config.ts";
import { type LoadedVersion, readVersion } from "./read-version.ts";
import type { RepositoryParts } from "./repository-parts.ts";
import { servedVersions } from "./versions.ts";

/** Model packages in a store, in Triton's layout. Content is remembered until it is renewed. */
export interface ModelRepository {
  names(): Promise<readonly string[]>;
  /** Versions that are served, from old to new. Throws `unknown-model`. */
  versions(model: string): Promise<readonly string[]>;
  /**
   * The version that a name stands for: itself, the version of a label, or the newest of all without a name. Throws
   * `unknown-model`, `unknown-version`.
   */
  resolve(model: string, version: string | undefined): Promise<string>;
  /**
   * Why a version cannot be loaded that was not loaded yet, as far as its configuration and the names of its files tell. No model file is read
   * for it.
   */
  unreadable(model: string, version: string): Promise<string | undefined>;
  /** Models that its steps name, of any version of it. Throws `unknown-model`, `invalid-configuration`. */
  uses(model: string): Promise<readonly string[]>;
  /** The version that `resolve` names. Throws `unknown-model`, `unknown-version`, `invalid-configuration`, `invalid-model`. */
  load(model: string, version: string | undefined, call: Call): Promise<LoadedVersion>;
  /**
   * Reads a model again beside what is remembered of it, which goes on to be served until the renewal is adopted.
   * With an override, instead of what lies in the store.
   */
  renew(model: string, override?: FileOverride): Promise<Renewal>;
  /** Reads this model again next time, and those that use it. */
  forget(model: string): void;
}

/** A model read again. */
export interface Renewal {
  /** From old to new. */
  readonly versions: readonly string[];
  /** Whether only the newest version is loaded before its first request. */
  readonly lazy: boolean;
  /** As that of the repository. */
  resolve(version: string | undefined): Promise<string>;
  load(version: string, call: Call): Promise<LoadedVersion>;
  /** False once a model that it is made of was read again since this renewal began. */
  isCurrent(loaded: LoadedVersion): boolean;
  /**
   * From now on this is the model; those that use it are read again next time. Of versions that could not be loaded what is served
   * instead, if anything, is what pipelines are made of.
   */
  adopt(instead: ReadonlyMap<string, LoadedVersion | undefined>): void;
}

const noneHere = "there is no such model here";

/** One model as it was read at one time. */
interface Reading {
  readonly model: string;
  readonly parts: RepositoryParts;
  config: Promise<ModelConfig> | undefined;
  /** As it was then: a version added to the folder later does not count yet. */
  versions: Promise<readonly string[]> | undefined;
  readonly loaded: Map<string, Promise<LoadedVersion>>;
  /** Why versions cannot be read. */
  readonly unreadable: Map<string, Promise<string | undefined>>;
  /** Versions that could not be loaded. */
  readonly broken: Set<string>;
  /** The files that its configuration may name; undefined: those of every model. */
  readonly sees?: FileOverride["sees"];
}

export function modelRepository(parts: RepositoryParts): ModelRepository {
  const { store, clock, observer } = parts;
  const readings = new Map<string, Reading>();
  /** How often each model was read again, or forgotten. */
  const changes = new Map<string, number>();

  /** Folders whose names alone rule them out as models, already reported to the operator. */
  let told: readonly string[] = [];

  const names = async (): Promise<readonly string[]> => {
    const { models, ignored } = await modelFolders(store);
    const news = ignored.filter((folder) => !told.includes(folder));
    told = ignored;
    for (const folder of news)
      observer?.record({
        kind: "folder-ignored",
        atMs: clock.nowMs(),
        folder,
        because: notModelName(folder),
      });
    return models;
  };

  function readingOf(model: string): Reading {
    checkModelName(model);
    const known = readings.get(model) ?? {
      model,
      parts,
      config: undefined,
      versions: undefined,
      loaded: new Map(),
      unreadable: new Map(),
      broken: new Set(),
    };
    readings.set(model, known);
    return known;
  }

  function configOf(reading: Reading): Promise<ModelConfig> {
    if (reading.config) return reading.config;
    const read = readConfig(reading.parts, reading.model, names);
    reading.config = read;
    // A failure is not remembered, nor is anything of a model that is not there.
    read.catch(() => {
      if (reading.config === read) reading.config = undefined;
      if (readings.get(reading.model) === reading && reading.loaded.size === 0)
        readings.delete(reading.model);
    });
    return read;
  }

  function versionsOf(reading: Reading): Promise<readonly string[]> {
    if (reading.versions) return reading.versions;
    const list = async (): Promise<readonly string[]> => {
      const config = await configOf(reading);
      const entries = (await reading.parts.store.list(reading.model)) ?? [];
      const folders = entries.filter(({ name, directory }) => directory && isVersionName(name));
      return servedVersions(
        config,
        folders.map(({ name }) => name),
      );
    };
    const listed = list();
    reading.versions = listed;
    const again = (): void => {
      if (reading.versions === listed) reading.versions = undefined;
    };
    // Nor is it remembered that there is nothing.
    listed.then((versions) => void (versions.length === 0 && again()), again);
    return listed;
  }

  function unreadableOf(reading: Reading, version: string): Promise<string | undefined> {
    const { unreadable, parts: own, model } = reading;
    const known = unreadable.get(version);
    if (known) return known;
    const look = async (): Promise<string | undefined> => {
      try {
        const entries = await own.store.list(`${model}/${version}`);
        const bad = entries?.find(({ name, problem }) => problem !== undefined && !name.startsWith("."));
        return bad?.problem ?? (await foreseenProblem(own, model, version, await configOf(reading)));
      } catch (thrown) {
        return LongshoreError.from(thrown, "resolve", `looking at model ${model}`).message;
      }
    };
    const looked = look();
    unreadable.set(version, looked);
    // A problem may be mended, without a load.
    void looked.then((problem) => void (problem !== undefined && unreadable.delete(version)));
    return looked;
  }

  async function resolveIn(reading: Reading, version: string | undefined): Promise<string> {
    const { versionLabels } = await configOf(reading);
    const all = await versionsOf(reading);
    const wanted =
      version !== undefined && Object.hasOwn(versionLabels, version) ? versionLabels[version] : version;
    const found = wanted === undefined || wanted === "" ? all.at(-1) : all.find((name) => name === wanted);
    if (found !== undefined) return found;
    const labels = Object.keys(versionLabels);
    throw new LongshoreError(
      "unknown-version",
      "resolve",
      `model ${reading.model} has no version ${version ?? "at all"}; versions served here: ${someNames(all)}${labels.length > 0 ? `; labels: ${someNames(labels)}` : ""}`,
    );
  }

  /** Follows which models use which before anything is loaded, so that loads never wait for each other in a ring. */
  async function refuseRings(reading: Reading, path: readonly string[]): Promise<void> {
    const { model } = reading;
    if (path.includes(model)) {
      throw badConfiguration(model, "model.yaml", "pipeline", `is cyclic: ${[...path, model].join(" > ")}`);
    }
    const config = await configOf(reading);
    const { sees } = reading;
    for (const inner of modelsNamed(config)) {
      const bad = (why: string, cause?: unknown): Error =>
        badConfiguration(model, config.file, "pipeline", `uses model ${inner}: ${why}`, cause);
      if (sees?.(inner) === false) throw bad(noneHere);
      try {
        await refuseRings(readingOf(inner), [...path, model]);
      } catch (thrown) {
        const unknown = LongshoreError.is(thrown) && thrown.reason === "unknown-model";
        if (LongshoreError.is(thrown) && !unknown) throw thrown;
        // A configuration that sees only some models is not told the names of the others.
        if (sees && unknown) throw bad(noneHere);
        throw bad(thrown instanceof Error ? thrown.message : String(thrown), thrown);
      }
    }
  }

  /** One attempt for all callers at the same time; a failure is not remembered. */
  function loadVersion(reading: Reading, version: string, call: Call): Promise<LoadedVersion> {
    const known = reading.loaded.get(version);
    if (known) return known;
    const made = configOf(reading).then((config) =>
      readVersion(reading.parts, reading.model, version, config, innerVersion, call),
    );
    reading.loaded.set(version, made);
    made.catch(() => reading.loaded.get(version) === made && reading.loaded.delete(version));
    return made;
  }

  /** As a request to the model itself: without a version, the newest that can be had. */
  async function innerVersion(
    model: string,
    version: string | undefined,
    call: Call,
  ): Promise<LoadedVersion> {
    const reading = readingOf(model);
    // Throws when there is none.
    const first = await resolveIn(reading, version);
    if (version !== undefined) return loadVersion(reading, first, call);
    let problem: unknown;
    const all = (await versionsOf(reading)).toReversed();
    for (const one of all.sort((a, b) => Number(reading.broken.has(a)) - Number(reading.broken.has(b)))) {
      try {
        return await loadVersion(reading, one, call);
      } catch (thrown) {
        if (one === first) problem = thrown;
      }
    }
    throw problem;
  }

  function changed(model: string): void {
    changes.set(model, (changes.get(model) ?? 0) + 1);
    forgetUsers(model);
  }

  /** Versions made from a model's earlier content are made again at their next request. */
  function forgetUsers(model: string): void {
    for (const { loaded } of readings.values()) {
      for (const [version, one] of loaded) {
        // A failed load forgets itself; of a finished one only its users matter.
        void one
          .then(({ uses }) => void (uses.includes(model) && loaded.delete(version)))
          .catch(() => undefined);
      }
    }
  }

  async function load(reading: Reading, version: string | undefined, call: Call): Promise<LoadedVersion> {
    await refuseRings(reading, []);
    return loadVersion(reading, await resolveIn(reading, version), call);
  }

  return {
    names,
    versions: async (model) => versionsOf(readingOf(model)),
    resolve: async (model, version) => resolveIn(readingOf(model), version),
    unreadable: async (model, version) => unreadableOf(readingOf(model), version),
    uses: async (model) => modelsNamed(await configOf(readingOf(model))),
    load: async (model, version, call) => load(readingOf(model), version, call),
    async renew(model, override) {
      checkModelName(model);
      const reading: Reading = {
        model,
        parts: override ? { ...parts, store: overridden(store, model, override, parts.clock) } : parts,
        config: undefined,
        versions: undefined,
        loaded: new Map(),
        unreadable: new Map(),
        broken: new Set(),
        ...(override?.sees ? { sees: override.sees } : {}),
      };
      const before = new Map(changes);
      const isSame = (name: string): boolean => changes.get(name) === before.get(name);
      const versions = await versionsOf(reading);
      const { versions: policy } = await configOf(reading);
      return {
        versions,
        lazy: policy.kind === "all" && policy.lazy === true,
        resolve: (version) => resolveIn(reading, version),
        load: (version, call) => load(reading, version, call),
        isCurrent: ({ uses }) => uses.every(isSame),
        adopt(instead) {
          for (const [version, served] of instead) {
            if (served) reading.loaded.set(version, Promise.resolve(served));
            else reading.broken.add(version);
          }
          readings.set(model, reading);
          changed(model);
          for (const name of changes.keys()) if (name !== model && !isSame(name)) forgetUsers(name);
        },
      };
    },
    forget(model) {
      readings.delete(model);
      changed(model);
    },
  };
}
