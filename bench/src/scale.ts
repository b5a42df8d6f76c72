import { seededRandom } from "@longshore/core";
import { type Bench, chosenOf, numberOf, type Row } from "./harness.ts";
import { type Autoscaler, type FleetResult, runDay } from "./scale/fleet.ts";
import { onNeeded, onProcessor, onQueue } from "./scale/autoscalers.ts";
import { dayNames, dayOf } from "./scale/day.ts";

/*
 * Our number against what teams use: a HorizontalPodAutoscaler on the processor, and KEDA on queue length and on requests in flight. Each baseline
 * is swept over a grid for each day, with knowledge of the day that no operator has: the best of the grid at no more misses than ours counts. Ours
 * is not tuned to the day.
 */

const lookMs = 15_000;
const deadlineMs = 3000;
const most = 60;
/** Requests a second at the peak; a run takes 0.9 s. */
const peak = 13;
const windows = [60_000, 300_000];
const least = [1, 3];

/** The grid of each baseline, made again for each day: autoscalers have state. */
const baselines = {
  cpu: () =>
    [30, 40, 50, 60, 70, 80, 90].flatMap((target) =>
      windows.flatMap((window) => least.map((from) => onProcessor(target, window, from))),
    ),
  queue: () =>
    [0.1, 0.25, 0.5, 1].flatMap((threshold) =>
      windows.flatMap((window) => least.map((from) => onQueue(threshold, window, from, false))),
    ),
  inFlight: () =>
    [0.5, 0.6, 0.7, 0.8, 0.9, 1].flatMap((threshold) =>
      windows.flatMap((window) => least.map((from) => onQueue(threshold, window, from, true))),
    ),
} as const;
type Baseline = keyof typeof baselines;
const baselineNames = Object.keys(baselines) as Baseline[];

/** Allowed misses of our objective: the same fleet from thrifty to careful. */
const ours = [20, 10, 5, 2, 1];

export const bench: Bench = {
  name: "scale",
  about:
    "endpoint-hours at equal misses: needed endpoints against HPA on processor, KEDA on queue and on requests in flight",
  options: ["--day NAMES", "--start SECONDS", "--baseline NAMES"],
  bars: { hoursAtEqualMisses: { atMost: 0.8 } },
  async run({ data, seed, args, say }) {
    const days =
      chosenOf(args, "day", dayNames) ?? dayNames.filter((name) => name !== "recorded" || data !== undefined);
    const chosen = chosenOf(args, "baseline", baselineNames) ?? baselineNames;
    const startMs = numberOf(args, "start", 60) * 1000;
    const rows: Row[] = [];
    const ratios: number[] = [];
    const byBaseline = new Map<Baseline, number[]>();
    for (const name of days) {
      const day = dayOf(name, data, seed, peak);
      say(`${name}: ${day.atMs.length} requests, starts take ${startMs / 1000} s`);
      const run = async (scaler: Autoscaler): Promise<FleetResult> => {
        // A day runs without a pause; a limit of time ends the bench between two days.
        await new Promise((resolve) => setImmediate(resolve));
        const options = { lookMs, startMs, deadlineMs, most, random: seededRandom(seed + 4) };
        const result = runDay(day, scaler, options);
        rows.push({ day: name, autoscaler: scaler.name, startSeconds: startMs / 1000, ...result });
        return result;
      };
      const grid = new Map<Baseline, (FleetResult & { readonly name: string })[]>();
      for (const kind of chosen) {
        const results = [];
        for (const one of baselines[kind]()) results.push({ name: one.name, ...(await run(one)) });
        grid.set(kind, results);
      }
      for (const percent of ours) {
        const own = await run(onNeeded(`misses=${percent}%,deadline=${deadlineMs}ms`, startMs, most));
        const parts: string[] = [];
        let best: number | undefined;
        for (const [kind, results] of grid) {
          const [found] = results
            .filter(({ missRatio }) => missRatio <= own.missRatio)
            .sort((a, b) => a.endpointHours - b.endpointHours);
          if (!found) {
            parts.push(`${kind}: none has so few misses`);
            continue;
          }
          const ratio = own.endpointHours / found.endpointHours;
          parts.push(`${ratio.toFixed(2)} of ${found.name}`);
          byBaseline.set(kind, [...(byBaseline.get(kind) ?? []), ratio]);
          best = Math.max(best ?? 0, ratio);
        }
        if (best !== undefined) ratios.push(best);
        say(
          `  misses=${percent}%: missed ${(100 * own.missRatio).toFixed(2)} %, ${own.endpointHours.toFixed(0)} h, p95 ${own.p95Ms.toFixed(0)} ms; ${parts.join("; ")}`,
        );
      }
    }
    const mean = (values: readonly number[]): number =>
      values.reduce((sum, one) => sum + one, 0) / values.length;
    return {
      figures: {
        ...(ratios.length > 0 ? { hoursAtEqualMisses: mean(ratios) } : {}),
        ...Object.fromEntries(
          [...byBaseline].map(([kind, values]) => [
            `against${kind.charAt(0).toUpperCase()}${kind.slice(1)}`,
            mean(values),
          ]),
        ),
      },
      rows,
    };
  },
};
