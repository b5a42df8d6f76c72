import { setTimeout as pause } from "node:timers/promises";
import { type Infeasible, isInfeasible, type Offloader, type Plan } from "@longshore/core";
import { meanOf } from "@longshore/core/internal";
import type { CommandIo, ExitCode } from "../options/io.ts";
import { directoryLine, lostTable, planText } from "./print-result.ts";
import { type PreparedRequest, prepareRequest } from "./request.ts";
import type { RequestOptions } from "./request-options.ts";

/** Options of `longshore plan`. */
export interface PlanCommandOptions extends RequestOptions {
  readonly random: boolean;
  readonly explain: boolean;
}

/** How long a plan waits for the first offers of servers, and how often it checks for them, in milliseconds. */
const firstOffersMs = 15_000;
const checkEveryMs = 250;

/**
 * The plan, once the servers have made their first offers. A request would not wait for them while this device can run it, but a
 * plan is read to compare them. A server whose offer did not come in time is polled again, since a busy machine may only be slow.
 */
export async function explained(
  {
    offloader,
    model,
    inputs,
    limits,
  }: Pick<PreparedRequest, "model" | "inputs" | "limits"> & {
    readonly offloader: Pick<Offloader, "explain" | "refresh">;
  },
  stop: AbortSignal,
): Promise<Plan | Infeasible> {
  for (const startedMs = performance.now(); ;) {
    const outcome = await offloader.explain(model, inputs, limits);
    const isLate = outcome.because.includes("its offer did not come in time");
    const isWaiting = isLate || outcome.because.includes("waiting for its first offer");
    if (!isWaiting || performance.now() - startedMs >= firstOffersMs) return outcome;
    if (isLate) await offloader.refresh();
    await pause(checkEveryMs, undefined, { signal: stop });
  }
}

/** Says where an inference would run, and why; runs nothing. Exit code 1 when no endpoint is allowed or able. */
export async function plan(model: string, options: PlanCommandOptions, io: CommandIo): Promise<ExitCode> {
  const prepared = await prepareRequest(model, options, io);
  try {
    const outcome = await explained(prepared, io.stop);
    if (options.json) {
      const text = JSON.stringify(outcome, (_key, value: unknown) =>
        value instanceof Float64Array ? [...value] : value,
      );
      io.out(
        isInfeasible(outcome)
          ? text
          : JSON.stringify({
              predictedMs: meanOf(outcome.predicted.completionMs),
              plan: JSON.parse(text) as unknown,
            }),
      );
    } else if (isInfeasible(outcome)) {
      io.out(`no endpoint: ${outcome.because}`);
      if (outcome.directory) io.out(`directory: ${directoryLine(outcome.directory)}`);
      if (options.explain) io.out(lostTable(outcome.lost));
    } else io.out(planText(outcome, options.explain));
    return isInfeasible(outcome) ? 1 : 0;
  } finally {
    await prepared.close();
  }
}
