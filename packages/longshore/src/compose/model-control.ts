import { type Clock, housekeepingCall, LongshoreError } from "@longshore/core";
import { type Engine, type ModelStore, type RepositoryWatch, watchModels } from "@longshore/engine";

/**
 * Who decides which models are served, as in Triton. `none`: all of the repository, each loaded when it is first asked
 * for. `poll`: all, loaded at the start, and the repository is looked at for changes. `explicit`: those that are loaded,
 * at the start or over the network.
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

/** What looks after the models that were loaded at the start. */
export interface ControlledModels extends Disposable {
  /** Resolves when all that is wanted at the start is loaded: at once, or after what failed was loaded after all. */
  readonly complete: Promise<void>;
  /** A model was loaded: perhaps the last one that was missing. */
  loaded(model: string): void;
}

/**
 * Loads what is wanted at the start, and watches the repository if it is to be polled. Throws what a model fails with, unless
 * that is to be no error (`exitOnError`).
 */
export async function controlModels(
  { modelControl = "none", pollMs = 15_000, loadModels = [], exitOnError = true }: ModelControlOptions,
  parts: {
    readonly engine: Engine;
    readonly store: ModelStore;
    readonly clock: Clock;
    readonly report: (text: string) => void;
  },
): Promise<ControlledModels> {
  const { engine, store, clock, report } = parts;
  const missing = new Set<string>();
  const call = housekeepingCall("model control");
  let finish: () => void = () => undefined;
  const complete = new Promise<void>((resolve) => (finish = resolve));
  const loaded = (model: string): void => {
    if (missing.delete(model) && missing.size === 0) finish();
  };
  // Looked at first: what changes while models are loaded is a change.
  const watch: RepositoryWatch | undefined =
    modelControl === "poll"
      ? await watchModels({
          store,
          clock,
          intervalMs: pollMs,
          async changed(model) {
            await engine.load(model, undefined, call);
            loaded(model);
          },
          async removed(model) {
            await engine.unload(model, call);
            loaded(model);
          },
          failed: (model, thrown) => report(`${model || "the repository"}: ${textOf(thrown)}`),
        })
      : undefined;
  const all = modelControl === "poll" || loadModels.includes("*");
  const wanted = all ? [...new Set((await engine.index()).map(({ name }) => name))] : loadModels;
  for (const model of wanted) {
    try {
      await engine.load(model, undefined, call);
    } catch (thrown) {
      if (exitOnError) {
        watch?.[Symbol.dispose]();
        const { reason, stage, message } = LongshoreError.from(thrown, "resolve", "loading a model");
        throw new LongshoreError(
          reason,
          stage,
          `${message}; nothing is served without it unless that is no error (--no-exit-on-error)`,
          { cause: thrown },
        );
      }
      missing.add(model);
      report(textOf(thrown));
    }
  }
  if (missing.size === 0) finish();
  return { complete, loaded, [Symbol.dispose]: () => watch?.[Symbol.dispose]() };
}

function textOf(thrown: unknown): string {
  return LongshoreError.from(thrown, "resolve", "loading a model").message;
}
