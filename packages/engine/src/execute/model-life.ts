import {
  type Call,
  type Clock,
  endCut,
  housekeepingCall,
  LongshoreError,
  type Observer,
  startCut,
} from "@longshore/core";
import {
  checkModelName,
  type LoadedVersion,
  type ModelRepository,
  type Program,
} from "../repository/index.ts";
import { type GraphPool, untilAborted } from "../schedule/index.ts";

/** `available` is read and loaded when it is first used; `unavailable` says why; `unloaded` waits for a `load`. */
export type ModelState = "available" | "loading" | "ready" | "unloading" | "unloaded" | "unavailable";

/** One version in the index of a repository. */
export interface IndexEntry {
  readonly name: string;
  readonly version: string;
  readonly state: ModelState;
  /** Why it is unavailable, or why a profile in its folder is not used. */
  readonly reason?: string;
}

/** A version that a request works with. Until it is disposed the version stays as it is, whatever is loaded meanwhile. */
interface VersionLease extends Disposable {
  readonly loaded: LoadedVersion;
  /** Owner of the graphs that are loaded for it. */
  readonly owner: object;
}

/** Which versions of which models are served, and their coming and going. */
export interface ModelLife {
  acquire(model: string, version: string | undefined, call: Call): Promise<VersionLease>;
  load(model: string, version: string | undefined, call: Call): Promise<void>;
  unload(model: string, call: Call): Promise<void>;
  index(): Promise<readonly IndexEntry[]>;
  /** What is loaded now. */
  held(): readonly LoadedVersion[];
}

interface Held {
  readonly loaded: LoadedVersion;
  leases: number;
  retired: boolean;
  readonly gone: Promise<void>;
  leave(): void;
}

export interface ModelLifeParts {
  readonly repository: ModelRepository;
  readonly pool: GraphPool;
  readonly clock: Clock;
  readonly observer: Observer;
  /** The program that `load` warms: the default variant of this place. */
  readonly defaultProgram: (loaded: LoadedVersion) => Program | undefined;
}

export function modelLife(parts: ModelLifeParts): ModelLife {
  const { repository, pool, clock, observer } = parts;
  /** By `<model>/<version>`, and `<model>/` for the latest. */
  const versions = new Map<string, Promise<Held>>();
  const ready = new Map<string, Held>();
  /** The latest version of each model, once somebody asked for it. */
  const newest = new Map<string, Held>();
  const problems = new Map<string, string>();
  const unloaded = new Set<string>();
  const unloading = new Set<string>();

  const note = (model: string, version: string, state: ModelState): void =>
    observer.record({ kind: "model-state", atMs: clock.nowMs(), model, version, state });

  function make(loaded: LoadedVersion): Held {
    let left: () => void = () => undefined;
    const gone = new Promise<void>((resolve) => (left = resolve));
    const held: Held = {
      loaded,
      leases: 0,
      retired: false,
      gone,
      leave: () => void pool.disown(held).finally(left),
    };
    return held;
  }

  /** From now on requests get this one; the one before goes when its last request is through. */
  function serve(held: Held): Held {
    const { name, version } = held.loaded.description;
    const before = ready.get(`${name}/${version}`);
    if (before) retire(before);
    ready.set(`${name}/${version}`, held);
    return held;
  }

  function retire(held: Held): void {
    if (held.retired) return;
    held.retired = true;
    const { name, version } = held.loaded.description;
    if (ready.get(`${name}/${version}`) === held) ready.delete(`${name}/${version}`);
    versions.delete(`${name}/${version}`);
    versions.delete(`${name}/`);
    newest.delete(name);
    note(name, version, "unloading");
    void held.gone.then(() => note(name, version, "unloaded"));
    if (held.leases === 0) held.leave();
  }

  function find(model: string, version: string | undefined): Promise<Held> {
    const key = `${model}/${version ?? ""}`;
    const known = versions.get(key);
    if (known) return known;
    const found = read(model, version);
    versions.set(key, found);
    found.then(
      (held) => {
        problems.delete(`${model}/${held.loaded.description.version}`);
        if (version === undefined && versions.get(key) === found) newest.set(model, held);
      },
      (thrown: unknown) => {
        if (versions.get(key) === found) versions.delete(key);
        problems.set(key, thrown instanceof Error ? thrown.message : String(thrown));
      },
    );
    return found;
  }

  /** What `find` would resolve with, when that is known already: most requests wait for nothing here. */
  function latest(model: string, version: string | undefined): Held | undefined {
    const held = version === undefined ? newest.get(model) : ready.get(`${model}/${version}`);
    return held?.retired === false ? held : undefined;
  }

  async function read(model: string, version: string | undefined): Promise<Held> {
    // Reading serves everyone who asks meanwhile, so it does not end with the request that happened to be first.
    const loaded = await repository.load(model, version, housekeepingCall("load"));
    const known = ready.get(`${model}/${loaded.description.version}`);
    return known?.loaded === loaded ? known : serve(make(loaded));
  }

  async function warm(held: Held, call: Call): Promise<void> {
    const program = parts.defaultProgram(held.loaded);
    for (const step of program?.steps ?? []) {
      if (step.kind !== "model") continue;
      (await pool.lease(step.graph, startCut, endCut, held, call))[Symbol.dispose]();
    }
  }

  return {
    async acquire(model, version, call) {
      checkModelName(model);
      let held: Held | undefined;
      // It may be replaced or unloaded while this request waits.
      while (!held || held.retired) {
        if (unloaded.has(model)) {
          throw new LongshoreError(
            "unknown-model",
            "resolve",
            `model ${model} was unloaded here; load it first`,
          );
        }
        const wanted = version === "" ? undefined : version;
        held = latest(model, wanted) ?? (await untilAborted(find(model, wanted), call));
      }
      const owner = held;
      const { loaded } = owner;
      owner.leases++;
      let open = true;
      return {
        loaded,
        owner,
        [Symbol.dispose]: () => {
          if (!open) return;
          open = false;
          owner.leases--;
          if (owner.retired && owner.leases === 0) owner.leave();
        },
      };
    },
    async load(model, version, call) {
      checkModelName(model);
      repository.forget(model);
      note(model, version ?? "", "loading");
      const loaded = await repository.load(model, version, call);
      const fresh = loaded.description;
      const held = make(loaded);
      try {
        await warm(held, call);
      } catch (thrown) {
        void pool.disown(held);
        problems.set(`${model}/${fresh.version}`, thrown instanceof Error ? thrown.message : String(thrown));
        throw thrown;
      }
      // The new one is loaded before the old one goes, so that no request in between waits for a load.
      for (const one of ready.values()) {
        const { description, uses } = one.loaded;
        const replaced =
          description.name === model && (version === undefined || description.version === fresh.version);
        if (replaced || uses.includes(model)) retire(one);
      }
      unloaded.delete(model);
      for (const key of problems.keys()) if (key.startsWith(`${model}/`)) problems.delete(key);
      serve(held);
      versions.set(`${model}/${fresh.version}`, Promise.resolve(held));
      if (version === undefined) versions.set(`${model}/`, Promise.resolve(held));
      note(model, fresh.version, "ready");
    },
    async unload(model, call) {
      checkModelName(model);
      // A model that nobody knows cannot be unloaded either: throws `unknown-model`.
      await repository.versions(model);
      unloaded.add(model);
      unloading.add(model);
      const retired = [...ready.values()].filter(({ loaded }) => loaded.description.name === model);
      for (const held of retired) retire(held);
      await untilAborted(Promise.all(retired.map((held) => held.gone)), call).finally(() =>
        unloading.delete(model),
      );
    },
    async index() {
      const entries: IndexEntry[] = [];
      for (const name of await repository.names()) {
        const all = await repository.versions(name).catch((thrown: unknown) => String(thrown));
        if (typeof all === "string") entries.push({ name, version: "", state: "unavailable", reason: all });
        else for (const version of all) entries.push(entryOf(name, version));
      }
      return entries;
    },
    held: () => [...ready.values()].map(({ loaded }) => loaded),
  };

  function entryOf(name: string, version: string): IndexEntry {
    const held = ready.get(`${name}/${version}`);
    const problem = problems.get(`${name}/${version}`) ?? problems.get(`${name}/`);
    if (unloading.has(name)) return { name, version, state: "unloading" };
    if (unloaded.has(name)) return { name, version, state: "unloaded" };
    if (held) {
      const { profileIgnored } = held.loaded;
      return { name, version, state: "ready", ...(profileIgnored ? { reason: profileIgnored } : {}) };
    }
    if (problem !== undefined) return { name, version, state: "unavailable", reason: problem };
    return { name, version, state: versions.has(`${name}/${version}`) ? "loading" : "available" };
  }
}
