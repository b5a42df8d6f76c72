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
}

/** Models that were loaded at the start, and what looks after them. */
export interface ControlledModels extends Disposable {
  /** What could not be loaded, by model. */
  readonly failed: ReadonlyMap<string, string>;
}

/**
 * Loads what is wanted at the start, and watches the repository if it is to be polled. What cannot be loaded is reported
 * and does not keep the others from being served.
 */
export async function controlModels(
  { modelControl = "none", pollMs = 15_000, loadModels = [] }: ModelControlOptions,
  parts: {
    readonly engine: Engine;
    readonly store: ModelStore;
    readonly clock: Clock;
    readonly report: (text: string) => void;
  },
): Promise<ControlledModels> {
  const { engine, store, clock, report } = parts;
  const failed = new Map<string, string>();
  const call = housekeepingCall("model control");
  // Looked at first: what changes while models are loaded is a change.
  const watch: RepositoryWatch | undefined =
    modelControl === "poll"
      ? await watchModels({
          store,
          clock,
          intervalMs: pollMs,
          changed: (model) => engine.load(model, undefined, call),
          removed: (model) => engine.unload(model, call),
          failed: (model, thrown) => report(`${model || "the repository"}: ${textOf(thrown)}`),
        })
      : undefined;
  const all = modelControl === "poll" || loadModels.includes("*");
  const wanted = all ? [...new Set((await engine.index()).map(({ name }) => name))] : loadModels;
  for (const model of wanted) {
    try {
      await engine.load(model, undefined, call);
    } catch (thrown) {
      failed.set(model, textOf(thrown));
      report(textOf(thrown));
    }
  }
  return { failed, [Symbol.dispose]: () => watch?.[Symbol.dispose]() };
}

function textOf(thrown: unknown): string {
  return LongshoreError.from(thrown, "resolve", "loading a model").message;
}
