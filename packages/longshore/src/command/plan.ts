import { isInfeasible } from "@longshore/core";
import { meanOf } from "@longshore/core/internal";
import type { CommandIo, ExitCode } from "../options/io.ts";
import { directoryLine, lostTable, planText } from "./print-result.ts";
import { prepareRequest } from "./request.ts";
import type { RequestOptions } from "../options/request-options.ts";

/** Options of `longshore plan`. */
export interface PlanOptions extends RequestOptions {
  readonly random: boolean;
  readonly explain: boolean;
}

/** Says where an inference would run, and why; runs nothing. Exit code 1 when no endpoint is allowed or able. */
export async function plan(model: string, options: PlanOptions, io: CommandIo): Promise<ExitCode> {
  const prepared = await prepareRequest(model, options, io);
  try {
    const outcome = await prepared.offloader.explain(prepared.model, prepared.inputs, prepared.limits);
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
