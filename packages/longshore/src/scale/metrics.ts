import { type Family, gauge, metricsForm, metricsText, metricsTypes } from "@longshore/server";
import type { NumberRow, Numbers } from "./numbers.ts";

/** The numbers as metrics of Prometheus. */
export function scaleMetrics(
  numbers: Numbers,
  sources: () => { readonly answering: number; readonly silent: number },
): (accept: string | undefined) => { readonly type: string; readonly bytes: Uint8Array } {
  const each = (name: string, help: string, value: (row: NumberRow) => number): Family =>
    gauge(name, help, () =>
      numbers.rows().map((row) => [
        [
          ["model", row.model],
          ["objective", row.objective],
        ],
        value(row),
      ]),
    );
  const families: readonly Family[] = [
    each(
      "longshore_needed_endpoints",
      "Fewest endpoints that keep the objective, by model; * for all models together",
      ({ decision }) => decision.needed,
    ),
    each(
      "longshore_scale_objective_met",
      "1 if that number is predicted to keep the objective, 0 if no number does",
      ({ decision }) => (decision.met ? 1 : 0),
    ),
    each(
      "longshore_scale_requests_per_second",
      "Requests that arrived in the last 15 seconds, per second",
      ({ decision }) => decision.rate,
    ),
    each(
      "longshore_scale_coming_requests_per_second",
      "Highest rate that is believed when an endpoint that starts now is ready",
      ({ decision }) => decision.comingRate,
    ),
    gauge("longshore_scale_start_seconds", "Time that an endpoint takes to start, as planned for", () => [
      [[], numbers.startMs / 1000],
    ]),
    gauge("longshore_scale_sources", "Gateways and pickers that the demand is read from", () => {
      const { answering, silent } = sources();
      return [
        [[["state", "answering"]], answering],
        [[["state", "silent"]], silent],
      ];
    }),
  ];
  return (accept) => {
    const form = metricsForm(accept);
    const writing = metricsText(families, form, undefined);
    let step = writing.next();
    while (step.done !== true) step = writing.next();
    return { type: metricsTypes[form], bytes: Buffer.concat(step.value) };
  };
}
