import { type Call, type Clock, endCut, LongshoreError, type Observer, startCut } from "@longshore/core";
import { housekeepingCall, untilAborted } from "@longshore/core/internal";
import type { Lane } from "../lane/index.ts";
import {
  checkModelName,
  type LoadedVersion,
  type FileOverride,
  type ModelRepository,
  type ModelSource,
  type Program,
  type Renewal,
  wantsGpu,
} from "../repository/index.ts";
import { onProcessor } from "../runtime/index.ts";
import type { GraphPool } from "../schedule/index.ts";
import { lines } from "../sequence/index.ts";
import {
  type Dependents,
  hasTransforms,
  type LeasedVersion,
  LeaseOfVersion,
  type VersionLease,
} from "./version-lease.ts";
import { failedLoad, notLoaded, errorText } from "./load-errors.ts";
import { type IndexEntry, type IndexFacts, indexOf, isIn, type ModelState } from "./model-index.ts";
import { noteUnused } from "./note-unused.ts";

/** Which versions of which models are served, and their coming and going. */
export interface ModelLife {
  /** A version by number or label; the newest that can be served for none. At once, but for one that has to be read first. */
  acquire(model: string, version: string | undefined, call: Call): VersionLease | Promise<VersionLease>;
  /**
   * The result of `acquire` if it is available at once; without a lease, so the version may be retired by the next turn of the
   * event loop.
   */
  known(model: string, version: string | undefined): LoadedVersion | undefined;
  /**
   * Reads a model again, loads it beside the version that is served, then switches; earlier changes of this model come first.
   * If a version cannot be loaded, its predecessor stays; the error is thrown after the rest has been switched.
   */
  load(model: string, version: string | undefined, call: Call, override?: FileOverride): Promise<void>;
  /**
   * Refuses new requests and waits for those under way; earlier changes of this model come first. With `dependents` it also
   * unloads the models that this one uses, except those loaded by name and those that another model uses. Does nothing for an
   * unknown model.
   */
  unload(model: string, call: Call, dependents?: Dependents): Promise<void>;
  index(model?: string): Promise<readonly IndexEntry[]>;
  /** As that of the repository. */
  uses(model: string): Promise<readonly string[]>;
  /** The versions that are loaded now. */
  held(): readonly LoadedVersion[];
}

export interface ModelLifeParts {
  readonly repository: ModelRepository;
  readonly pool: GraphPool;
  readonly clock: Clock;
  readonly observer: Observer;
  /** Prepared when a model that has transforms is read. */
  readonly lane?: Pick<Lane, "prepare">;
  /** Whether only what was loaded is served (Triton's explicit model control). */
  readonly explicit: boolean;
  /** The bytes missing of a graph's file: warming up does not fetch them. Default: all are here. */
  readonly lacks?: ModelSource["lacks"];
  /** The program that `load` warms: the default variant of this endpoint. */
  readonly defaultProgram: (loaded: LoadedVersion) => Program | undefined;
}

/** Whether a loaded graph that asks for a GPU runs on the processor. */
function withoutGpu(programs: readonly Program[], pool: Pick<GraphPool, "loaded">): boolean {
  return programs.some(({ steps }) =>
    steps.some((step) => {
      if (step.kind !== "model" || !wantsGpu(step.graph)) return false;
      const provider = pool.loaded(step.graph, startCut, endCut)?.provider;
      return provider !== undefined && onProcessor(provider);
    }),
  );
}

const ranWithoutGpu = "it asks for a GPU and runs on the processor (--gpu-fallback)";

export function modelLife(parts: ModelLifeParts): ModelLife {
  const { repository, pool, clock, observer, explicit } = parts;
  /** Reads under way or done, by `<model>/<version or label>`, and `<model>/` for the newest. */
  const found = new Map<string, Promise<LeasedVersion>>();
  const ready = new Map<string, LeasedVersion>();
  /** The newest version of each model that was requested. */
  const newest = new Map<string, LeasedVersion>();
  const problems = new Map<string, string>();
  /** In explicit mode: the models that were loaded by name; otherwise: those that were unloaded. */
  const named = new Set<string>();
  const unloading = new Set<string>();
  /** The versions that each load under way makes ready, as `<model>/<version>`. */
  const loads = new Set<Set<string>>();
  /** Loaded by name: not for what is made of them alone. */
  const asked = new Set<string>();
  /** The models that each loaded model uses, also while it waits to be read again because one of those has been. */
  const usedBy = new Map<string, Set<string>>();
  /** Loads and unloads of each model in order, so that the last one decides. */
  const changes = lines();
  /** How often any model was switched to, or turned off. */
  let switches = 0;

  async function inTurn<T>(model: string, call: Call, work: () => Promise<T>): Promise<T> {
    using place = changes.join(model);
    await place.turn(call);
    return await work();
  }

  const isOn = (model: string): boolean => named.has(model) === explicit;
  const turn = (model: string, on: boolean): void =>
    void (switches++, on === explicit ? named.add(model) : named.delete(model));
  const note = (model: string, version: string, state: ModelState, cached = false): void =>
    observer.record({
      kind: "model-state",
      atMs: clock.nowMs(),
      model,
      version,
      state,
      ...(cached ? { cached } : {}),
    });

  function make(loaded: LoadedVersion): LeasedVersion {
    if (hasTransforms(loaded)) parts.lane?.prepare?.();
    let left: () => void = () => undefined;
    const gone = new Promise<void>((resolve) => (left = resolve));
    const held: LeasedVersion = {
      loaded,
      leases: 0,
      retired: false,
      gone,
      leave: () => void pool.disown(held).finally(left),
    };
    return held;
  }

  /** From now on requests get this one; the one before goes when its last request is through. */
  function serve(held: LeasedVersion): LeasedVersion {
    const { name, version } = held.loaded.description;
    const before = ready.get(`${name}/${version}`);
    if (before) retire(before);
    ready.set(`${name}/${version}`, held);
    usedBy.set(name, new Set([...(usedBy.get(name) ?? []), ...held.loaded.uses]));
    noteUnused(held.loaded, parts);
    return held;
  }

  function retire(held: LeasedVersion): void {
    if (held.retired) return;
    held.retired = true;
    const { name, version } = held.loaded.description;
    if (ready.get(`${name}/${version}`) === held) ready.delete(`${name}/${version}`);
    forgetFound(name);
    note(name, version, "unloading");
    void held.gone.then(() => note(name, version, "unloaded"));
    if (held.leases === 0) held.leave();
  }

  function forgetFound(model: string): void {
    for (const key of found.keys()) if (key.startsWith(`${model}/`)) found.delete(key);
    newest.delete(model);
  }

  function find(model: string, version: string | undefined): Promise<LeasedVersion> {
    const key = `${model}/${version ?? ""}`;
    const known = found.get(key);
    if (known) return known;
    const read = version === undefined ? readNewest(model) : readVersion(model, version);
    found.set(key, read);
    read.then(
      (held) => {
        if (version === undefined && found.get(key) === read) newest.set(model, held);
      },
      () => {
        if (found.get(key) === read) found.delete(key);
      },
    );
    return read;
  }

  /** The newest version that can be read: a broken one is passed over, and the index says why. */
  async function readNewest(model: string): Promise<LeasedVersion> {
    // Throws when there is none.
    const first = await repository.resolve(model, undefined);
    let problem: unknown;
    for (const version of (await repository.versions(model)).toReversed()) {
      try {
        return await read(model, version);
      } catch (thrown) {
        if (version === first) problem = thrown;
      }
    }
    throw problem;
  }

  const readVersion = async (model: string, version: string): Promise<LeasedVersion> =>
    read(model, await repository.resolve(model, version));

  async function read(model: string, version: string): Promise<LeasedVersion> {
    try {
      // Reading serves every request that waits for it, so it does not end with the request that started it.
      const loaded = await repository.load(model, version, housekeepingCall("load"));
      if (!isOn(model)) throw notLoaded(model);
      const before = switches;
      const still = (await repository.load(model, version, housekeepingCall("load"))) === loaded;
      // It was loaded again or unloaded meanwhile, and what was read is served no more.
      if (!still || switches !== before) return await read(model, version);
      problems.delete(`${model}/${version}`);
      const known = ready.get(`${model}/${version}`);
      return known?.loaded === loaded ? known : serve(make(loaded));
    } catch (thrown) {
      if (isOn(model)) problems.set(`${model}/${version}`, errorText(thrown));
      throw thrown;
    }
  }

  /** The result of `find` if it is known already: most requests wait for nothing here. */
  function latest(model: string, version: string | undefined): LeasedVersion | undefined {
    const held = version ? ready.get(`${model}/${version}`) : newest.get(model);
    return held?.retired === false && isOn(model) ? held : undefined;
  }

  const leaseOf = (held: LeasedVersion | undefined): VersionLease | undefined =>
    held && new LeaseOfVersion(held);

  async function acquireLater(model: string, wanted: string | undefined, call: Call): Promise<VersionLease> {
    checkModelName(model);
    let held: LeasedVersion | undefined;
    // It may be replaced or unloaded while this request waits.
    while (!held || held.retired) {
      if (!isOn(model)) throw notLoaded(model);
      held = latest(model, wanted) ?? (await untilAborted(find(model, wanted), call.abort, "execute"));
    }
    return new LeaseOfVersion(held);
  }

  async function warm(held: LeasedVersion, call: Call): Promise<void> {
    const program = parts.defaultProgram(held.loaded);
    for (const step of program?.steps ?? []) {
      if (step.kind !== "model" || (parts.lacks?.(step.graph.file, startCut, endCut) ?? 0) > 0) continue;
      (await pool.lease(step.graph, startCut, endCut, held, call))[Symbol.dispose]();
    }
  }

  /** Loads versions of a renewal, the newest first - only one that can be loaded when it is lazy - and says which could not be. */
  async function loadAll(
    renewal: Renewal,
    model: string,
    versions: readonly string[],
    under: Set<string>,
    call: Call,
  ): Promise<{ readonly fresh: readonly LeasedVersion[]; readonly failed: ReadonlyMap<string, unknown> }> {
    const fresh: LeasedVersion[] = [];
    const failed = new Map<string, unknown>();
    for (const version of versions.toReversed()) {
      note(model, version, "loading");
      try {
        const held = make(await renewal.load(version, call));
        for (const used of held.loaded.versionsUsed) under.add(used);
        try {
          await warm(held, call);
          fresh.push(held);
          if (renewal.lazy) break;
        } catch (thrown) {
          void pool.disown(held);
          throw thrown;
        }
      } catch (thrown) {
        failed.set(version, thrown);
        problems.set(`${model}/${version}`, errorText(thrown));
        note(model, version, "unavailable");
      }
    }
    return { fresh, failed };
  }

  /**
   * Serves the loaded versions instead of their predecessors. Retires versions that are no longer served, except `kept` ones
   * and those whose successor could not be loaded.
   */
  function switchTo(
    renewal: Renewal,
    model: string,
    fresh: readonly LeasedVersion[],
    failed: ReadonlyMap<string, unknown>,
    kept: readonly string[],
  ): void {
    for (const one of ready.values()) {
      const { description, uses } = one.loaded;
      const own = description.name === model;
      const stays = isOn(model) && (failed.has(description.version) || kept.includes(description.version));
      if (uses.includes(model) || (own && !stays)) retire(one);
    }
    renewal.adopt(new Map(Array.from(failed.keys(), (one) => [one, ready.get(`${model}/${one}`)?.loaded])));
    if (failed.size === 0 && kept.length === 0) usedBy.delete(model);
    turn(model, true);
    asked.add(model);
    // As in Triton, the models of an ensemble are loaded with it and stay when it goes.
    const uses = new Set(fresh.flatMap(({ loaded }) => loaded.uses));
    for (const used of uses) turn(used, true);
    forgetFound(model);
    // The versions of inner models that it was read with are current, unless older content of the model is served besides.
    const read = new Set(fresh.flatMap(({ loaded }) => loaded.versionsUsed));
    for (const key of problems.keys()) {
      const [name = "", version = ""] = key.split("/");
      const inner = version === "" ? uses.has(name) : read.has(key) && !ready.has(key);
      if (name === model ? !failed.has(version) : inner) problems.delete(key);
    }
    for (const held of fresh) {
      serve(held);
      const { version, responseCache } = held.loaded.description;
      note(model, version, "ready", responseCache);
    }
    // If a version could not be loaded, the one before it stays.
    const last = renewal.versions.flatMap((version) => ready.get(`${model}/${version}`) ?? []).at(-1);
    if (!last) return;
    newest.set(model, last);
    found.set(`${model}/`, Promise.resolve(last));
    // A version is read again if a model that it uses was loaded again meanwhile.
    for (const held of fresh) if (!renewal.isCurrent(held.loaded)) retire(held);
  }

  /** The models that this one uses, that were not loaded by name and that no other model uses. */
  function onlyIn(model: string, may: Exclude<Dependents, false>): ReadonlySet<string> {
    const open = (name: string): boolean => !asked.has(name) && (may === true || may(name));
    const inner = new Set([...(usedBy.get(model) ?? [])].filter(open));
    for (const [name, uses] of usedBy) {
      // The models of an inner model count, too.
      if (name === model || inner.has(name)) continue;
      for (const used of uses) inner.delete(used);
    }
    return inner;
  }

  async function load(
    model: string,
    version: string | undefined,
    call: Call,
    override: FileOverride | undefined,
  ): Promise<void> {
    checkModelName(model);
    let failed: ReadonlyMap<string, unknown>;
    const under = new Set<string>();
    loads.add(under);
    try {
      const renewal = await repository.renew(model, override);
      const wanted = version === undefined ? renewal.versions : [await renewal.resolve(version)];
      if (wanted.length === 0) await renewal.resolve(undefined);
      for (const one of wanted) under.add(`${model}/${one}`);
      const loaded = await loadAll(renewal, model, wanted, under, call);
      failed = loaded.failed;
      const kept = version === undefined ? [] : renewal.versions;
      if (loaded.fresh.length > 0) switchTo(renewal, model, loaded.fresh, failed, kept);
    } catch (thrown) {
      if (!LongshoreError.is(thrown) || thrown.reason !== "unknown-model") {
        problems.set(`${model}/`, errorText(thrown));
      }
      throw failedLoad(model, thrown);
    } finally {
      loads.delete(under);
    }
    for (const thrown of failed.values()) throw failedLoad(model, thrown);
  }

  /** From now on it is not served. @returns what goes once its last request is through */
  async function turnOff(model: string, dependents: Dependents): Promise<readonly LeasedVersion[]> {
    checkModelName(model);
    const isServed = [...ready.values()].some(({ loaded }) => loaded.description.name === model);
    // An unknown model is not loaded, as the caller wanted (Triton says the same).
    if (!isServed && !(await isIn(repository, model))) return [];
    const models = new Set([model, ...(dependents ? onlyIn(model, dependents) : [])]);
    const retired = [...ready.values()].filter(({ loaded }) => models.has(loaded.description.name));
    for (const { loaded } of retired) unloading.add(loaded.description.name);
    for (const name of models) {
      turn(name, false);
      asked.delete(name);
      usedBy.delete(name);
      forgetFound(name);
      repository.forget(name);
      for (const key of problems.keys()) if (key.startsWith(`${name}/`)) problems.delete(key);
    }
    for (const held of retired) retire(held);
    return retired;
  }

  const facts: IndexFacts = {
    repository,
    isOn,
    ready: (model) =>
      [...ready.values()].flatMap(({ loaded }) => (loaded.description.name === model ? [loaded] : [])),
    models: () => [...new Set([...ready.values()].map(({ loaded }) => loaded.description.name))],
    problems,
    notAsAsked: ({ programs }) => (withoutGpu([...programs.values()], pool) ? ranWithoutGpu : undefined),
    loading: (model, version) => {
      const key = `${model}/${version}`;
      return found.has(key) || [...loads].some((under) => under.has(key));
    },
    unloading: (model) => unloading.has(model) && !isOn(model),
  };

  return {
    known: (model, version) => latest(model, version)?.loaded,
    acquire: (model, version, call) =>
      leaseOf(latest(model, version)) ?? acquireLater(model, version || undefined, call),
    load: (model, version, call, override) => inTurn(model, call, () => load(model, version, call, override)),
    async unload(model, call, dependents = false) {
      const retired = await inTurn(model, call, () => turnOff(model, dependents));
      await untilAborted(Promise.all(retired.map((held) => held.gone)), call.abort, "execute").finally(() => {
        for (const { loaded } of retired) unloading.delete(loaded.description.name);
      });
    },
    index: (model) => indexOf(facts, model),
    uses: repository.uses,
    held: () => [...ready.values()].map(({ loaded }) => loaded),
  };
}
