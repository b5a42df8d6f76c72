import { type Clock, LongshoreError } from "@longshore/core";
import { housekeepingCall } from "@longshore/core/internal";
import {
  type Engine,
  type IndexEntry,
  type ModelStore,
  type RepositoryWatch,
  watchModels,
} from "@longshore/engine";
import { loadAll, type LoadParts } from "./load-all.ts";

/**
 * The model control, as in Triton. `none`: all of the repository, each loaded at its first request. `poll`: all, loaded at the
 * start, and the repository is looked at for changes. `explicit`: those that are loaded, at the start or over the network.
 */
export type ModelControl = "none" | "poll" | "explicit";

/** How models come and go. */
export interface ModelControlOptions {
  /** Default `none`. */
  readonly modelControl?: ModelControl;
  /** Between two looks at the repository with `poll`, in milliseconds. Default 15,000. */
  readonly pollMs?: number;
  /** Models that are loaded before the server is ready; `*` for all. */
  readonly loadModels?: readonly string[];
  /**
   * Start only with all models that are wanted at the start. Otherwise the rest is served, and the server is not ready before
   * those that failed were loaded after all. Default true, as in Triton.
   */
  readonly exitOnError?: boolean;
}

/**
 * Which of the models that are wanted at the start are missing. It is there before they are loaded: while some are, requests
 * load and unload others.
 */
export interface MissingModels {
  /** Resolves once all that is wanted at the start was tried and none of it is missing. */
  readonly complete: Promise<void>;
  /** It could not be loaded, and is missing unless it was settled meanwhile. One that was `absent` is until it is loaded. */
  failed(model: string, absent?: boolean): void;
  /**
   * A late load has succeeded, or the model was unloaded, so that no reader waits for it; other models may have been settled
   * with it. Never rejects.
   */
  settled(model: string): Promise<void>;
  isSettled(model: string): boolean;
  /** Something was loaded or unloaded: looks which models are not missing any more. Never rejects. */
  look(): Promise<void>;
  /** There is nothing further to try. */
  allTried(): void;
}

export function missingModels({
  index,
  report,
}: Pick<ControlParts, "report"> & Pick<Engine, "index">): MissingModels {
  /** Whether each was absent: its folder may appear without a load. */
  const missing = new Map<string, boolean>();
  const settled = new Set<string>();
  let tried = false;
  let finish: () => void = () => undefined;
  const complete = new Promise<void>((resolve) => (finish = resolve));
  const count = (): void => {
    if (tried && missing.size === 0) finish();
  };
  async function look(): Promise<void> {
    // The index does not show failures from now on as it will then.
    const before = [...missing];
    if (before.length === 0) return;
    try {
      const entries = await index();
      for (const [model, absent] of before) {
        const states = entries.filter(({ name }) => name === model).map(({ state }) => state);
        const open = states.length === 0 || states.includes("unavailable") || states.includes("loading");
        if (!open && (!absent || states.includes("ready"))) missing.delete(model);
      }
    } catch (thrown) {
      report(loadErrorText(thrown));
    }
    count();
  }
  return {
    complete,
    failed(model, absent = false) {
      if (!settled.has(model)) missing.set(model, absent);
    },
    settled(model) {
      // No caller reads it once all were tried.
      if (!tried) settled.add(model);
      missing.delete(model);
      count();
      return look();
    },
    isSettled: (model) => settled.has(model),
    look,
    allTried() {
      tried = true;
      settled.clear();
      count();
    },
  };
}

/**
 * Models that load at their first request (`none`). `look` reports each that cannot be loaded, as far as is known before. `some` is false while
 * a look found none of them usable, and looks again.
 */
export function usableModels({ index, report }: Pick<ControlParts, "report"> & Pick<Engine, "index">): {
  look(): Promise<void>;
  some(): Promise<boolean>;
} {
  let none = false;
  const broken = async (): Promise<readonly IndexEntry[]> => {
    const entries = await index();
    const found = entries.filter(({ state }) => state === "unavailable");
    none = found.length > 0 && found.length === entries.length;
    return found;
  };
  return {
    async look() {
      for (const { name, version, reason } of await broken())
        report(`model ${name}${version && ` version ${version}`} cannot be served: ${reason ?? "no reason"}`);
    },
    async some() {
      if (none) await broken();
      return !none;
    },
  };
}

/** The parts that control models. */
interface ControlParts extends LoadParts {
  readonly engine: LoadParts["engine"] & Pick<Engine, "unload" | "index">;
  readonly store: ModelStore;
  readonly clock: Clock;
  readonly missing: MissingModels;
}

/**
 * Loads what is wanted at the start, and watches the repository if it is to be polled, until it is disposed. Throws what a
 * model fails with, unless that is to be no error (`exitOnError`).
 */
export async function controlModels(options: ModelControlOptions, parts: ControlParts): Promise<Disposable> {
  const { modelControl = "none", pollMs = 15_000 } = options;
  const { engine, store, clock, missing, report } = parts;
  const call = housekeepingCall("model control");
  // The first look comes first: a change while models are loaded is a change.
  const watch: RepositoryWatch | undefined =
    modelControl === "poll"
      ? await watchModels({
          store,
          clock,
          intervalMs: pollMs,
          async changed(model) {
            await engine.load(model, undefined, call);
            await missing.settled(model);
          },
          async removed(model) {
            await engine.unload(model, call);
            await missing.settled(model);
          },
          // Listing them tells of it.
          ignored: () => engine.index(),
          failed: (model, thrown) => report(`${model || "the repository"}: ${loadErrorText(thrown)}`),
        })
      : undefined;
  try {
    const { loadModels = [], exitOnError = true } = options;
    const all = modelControl === "poll" || loadModels.includes("*");
    const wanted = all ? (await engine.index()).map(({ name }) => name) : loadModels;
    await loadAll(wanted, exitOnError, parts, call);
    missing.allTried();
  } catch (thrown) {
    watch?.[Symbol.dispose]();
    throw thrown;
  }
  return { [Symbol.dispose]: () => watch?.[Symbol.dispose]() };
}

export function loadErrorText(thrown: unknown): string {
  return LongshoreError.from(thrown, "resolve", "loading a model").message;
}
