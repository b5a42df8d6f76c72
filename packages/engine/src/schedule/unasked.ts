import {
  type Clock,
  LongshoreError,
  type Observer,
  type Random,
  type Tensors,
  type Tolerance,
} from "@longshore/core";
import { allSteps, goldenFile, parseGolden } from "@longshore/core/internal";
import type { GraphBody, ModelStore } from "../repository/index.ts";
import { followRows, rowsOf, rowsOut } from "../runtime/index.ts";
import { tryBatching } from "./batch-trial.ts";
import { rowSamples } from "./row-samples.ts";
import type { Scheduler } from "./scheduler-interface.ts";
import type { BatchVerdict, BatchVerdicts } from "./verdict.ts";

/** Inputs of batching for graphs whose configuration does not enable it. */
export interface UnaskedParts {
  readonly store: Pick<ModelStore, "read">;
  /** Undefined: every start runs the trial again. */
  readonly verdicts?: BatchVerdicts | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly observer: Observer;
}

/** Joins requests for graphs whose configuration does not enable it, if that is safe and pays. */
export interface UnaskedBatching {
  /** Begins to find out, beside the requests; returns at once. */
  begin(graph: GraphBody, scheduler: Scheduler): void;
}

export function unaskedBatching(parts: UnaskedParts): UnaskedBatching {
  /** One trial at a time: each would disturb the times of another. */
  let last: Promise<unknown> = Promise.resolve();

  function decided(graph: GraphBody, scheduler: Scheduler, verdict: BatchVerdict, kept: boolean): void {
    const { maxRows, because } = verdict;
    if (!scheduler.open) return;
    if (maxRows > 1) scheduler.joinUpTo(Math.min(maxRows, graph.joinableRows));
    const atMs = parts.clock.nowMs();
    parts.observer.record({ kind: "batching-decided", atMs, model: graph.model, maxRows, because, kept });
  }

  async function decide(graph: GraphBody, scheduler: Scheduler): Promise<void> {
    const { build } = scheduler;
    const golden = await goldenRows(parts.store, graph);
    const key =
      build === undefined
        ? undefined
        : `${graph.file.digest} ${build} ${graph.joinableRows} ${JSON.stringify(golden?.tolerance ?? null)}`;
    const kept = key === undefined ? undefined : await parts.verdicts?.read(key);
    if (kept) {
      decided(graph, scheduler, kept, true);
      return;
    }
    const samples = rowSamples();
    if (!golden) scheduler.sample(samples);
    const rows = golden?.rows ?? (await samples.rows);
    const turn = last.then(() =>
      tryBatching({
        rows,
        tolerance: golden?.tolerance,
        most: graph.joinableRows,
        random: parts.random,
        run: (feeds) => scheduler.tryOut(feeds),
      }),
    );
    last = turn.catch(() => undefined);
    const verdict = await turn;
    decided(graph, scheduler, verdict, false);
    // A run that failed may have failed for want of memory, and says nothing of the next start.
    if (key !== undefined && verdict.because !== "runs failed") await parts.verdicts?.write(key, verdict);
  }

  return {
    begin(graph, scheduler) {
      decide(graph, scheduler).catch((thrown: unknown) => {
        const error = LongshoreError.from(thrown, "execute", "the trial of batching");
        // The graph was unloaded meanwhile, so no verdict is needed.
        if (error.reason === "shutting-down") return;
        const atMs = parts.clock.nowMs();
        const { message: because } = error;
        parts.observer.record({
          kind: "batching-decided",
          atMs,
          model: graph.model,
          maxRows: 1,
          because,
          kept: false,
        });
      });
    },
  };
}

/** Single rows of the golden inputs beside a graph, and the tolerance if all of them state the same. */
async function goldenRows(
  store: Pick<ModelStore, "read">,
  { model, version, signature }: GraphBody,
): Promise<{ readonly rows: readonly Tensors[]; readonly tolerance: Tolerance | undefined } | undefined> {
  const bytes = await store.read(`${model}/${version}/${goldenFile}`);
  if (!bytes) return undefined;
  const { pairs } = parseGolden(bytes);
  const shape = (inputs: Tensors): string =>
    JSON.stringify(signature.inputs.map(({ name }) => inputs.get(name)?.spec.shape.slice(1)));
  const usable = pairs.filter(
    ({ inputs }) => signature.inputs.every(({ name }) => inputs.has(name)) && (rowsOf(inputs) ?? 0) > 0,
  );
  const [first] = usable;
  if (!first) return undefined;
  // Rows of a run have one shape.
  const alike = usable.filter(({ inputs }) => shape(inputs) === shape(first.inputs)).slice(0, 8);
  const rows = alike.flatMap(({ inputs }) => {
    const count = rowsOf(inputs) ?? 0;
    if (!followRows(inputs, count)) return [];
    const take = rowsOut(inputs);
    return Array.from({ length: Math.min(4, count) }, (_, row) => allSteps(take(row, 1)));
  });
  if (rows.length === 0) return undefined;
  const stated = new Set(alike.map(({ tolerance }) => JSON.stringify(tolerance ?? null)));
  return { rows, tolerance: stated.size === 1 ? first.tolerance : undefined };
}
