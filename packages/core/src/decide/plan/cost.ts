import { mostMoveMicros } from "../../wire/endpoint/index.ts";
import { readingOf, segmentMs, serviceRatioAt } from "../table/index.ts";
import type { Choice } from "./choices.ts";
import type { Group, Options } from "./options.ts";
import type { PlanInputs } from "./plan-inputs.ts";
import type { DeviceView } from "./view.ts";
import { localMicros } from "./local-cost.ts";

/**
 * The expected and the greatest possible cost of a candidate, in micros. The greatest cost assumes the longest believed run and bodies
 * larger than predicted. While a request with a limit runs, each leg reserves its greatest cost from what is left (`Purse`), so the sum of
 * all legs stays within the limit.
 */

/**
 * Added to the score of a candidate without a known price, in micros, if another candidate has one: an objective with cost chooses it last.
 */
export const unknownMicros = 1e12;

/** The expected cost of the run elsewhere and of its bytes, without local parts. */
export function remoteMicros(
  { view, model }: PlanInputs,
  options: Options,
  { cells, cell, reply }: Group,
  option: number,
  route: number,
): number {
  const { endpoints } = view;
  const endpoint = model.routes.endpoint[route] ?? -1;
  const row = route * cells.count + cell;
  const fixed = cells.fixedMicros[row] ?? 0;
  // An endpoint slower than its promise costs more. One that is faster costs the price that the operator stated.
  const ratio = Math.max(1, serviceRatioAt(endpoints, endpoint));
  const run = fixed + ((cells.costMicros[row] ?? 0) - fixed) * ratio;
  const sent = (endpoints.inMicros[endpoint] ?? 0) * (options.sentBytes[option] ?? 0);
  return run + (sent + (endpoints.outMicros[endpoint] ?? 0) * reply.bytes) / 1e6;
}

/** The greatest cost of the run elsewhere and its bytes; Infinity if no price is known. */
export function mostRemoteMicros(
  { view, model }: PlanInputs,
  { cells, cell, reply }: Group,
  route: number,
  sentBytes: number,
): number {
  const { endpoints } = view;
  const { routes } = model;
  if (routes.unpriced[route] === 1) return Infinity;
  const endpoint = routes.endpoint[route] ?? -1;
  const row = route * cells.count + cell;
  const fixed = cells.fixedMicros[row] ?? 0;
  const ratio = Math.max(1, serviceRatioAt(endpoints, endpoint));
  const rates = endpoints.infos[endpoint]?.rates;
  const moved = rates ? mostMoveMicros(rates, sentBytes, reply.bytes) : 0;
  const grown = (cells.mostMicros[row] ?? Infinity) - fixed;
  return fixed + (grown > 0 ? grown * ratio : 0) + moved;
}

const longestReading = readingOf(1);

/** The greatest cost of a run on this device; Infinity if no price is known. */
export function mostLocalMicros(device: DeviceView, choice: Choice, from: number, to: number): number {
  if (device.info?.rates.unpriced === true) return Infinity;
  const slowness = Number.isNaN(choice.slowness) ? 1 : choice.slowness;
  return from < to ? localMicros(device, segmentMs(choice.bucket, from, to, longestReading) * slowness) : 0;
}

/** The most of everything that a candidate elsewhere runs: head and tail here, the rest there. Called for each one under a limit on cost. */
export function mostSplitMicros(inputs: PlanInputs, group: Group, route: number, sentBytes: number): number {
  const { choice, from, to } = group;
  const { device } = inputs.view;
  return (
    mostRemoteMicros(inputs, group, route, sentBytes) +
    mostLocalMicros(device, choice, choice.from, from) +
    mostLocalMicros(device, choice, to, choice.to)
  );
}
