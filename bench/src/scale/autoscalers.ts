import type { Clock } from "@longshore/core";
import { createScaler, parseScaleObjective } from "@longshore/core/internal";
import type { Autoscaler, Seen } from "./fleet.ts";

/** The HorizontalPodAutoscaler's rule for a falling number: the largest of the window. */
function stabilised(windowMs: number): (wanted: number, nowMs: number) => number {
  const past: { readonly atMs: number; readonly wanted: number }[] = [];
  return (wanted, nowMs) => {
    past.push({ atMs: nowMs, wanted });
    while ((past[0]?.atMs ?? nowMs) < nowMs - windowMs) past.shift();
    return Math.max(...past.map((one) => one.wanted));
  };
}

/** Its default rule for a rising number: at most twice as many, or four more, every 15 seconds. */
const mostRise = (started: number): number => Math.max(2 * started, started + 4);
/** It changes nothing for a ratio this near to 1. */
const tolerance = 0.1;

/** HPA on the processor: `ceil(ready x busy / target)`. */
export function onProcessor(target: number, stabilisationMs: number, least: number): Autoscaler {
  const hold = stabilised(stabilisationMs);
  return {
    name: `hpa cpu ${target} % window ${stabilisationMs / 1000} s least ${least}`,
    wanted({ ready, started, busyRatio, nowMs }) {
      const ratio = busyRatio / (target / 100);
      const wanted = Math.abs(ratio - 1) <= tolerance ? started : Math.ceil(ready * ratio);
      return Math.max(least, Math.min(mostRise(started), hold(wanted, nowMs)));
    },
  };
}

/** KEDA on requests that wait (or wait and run), `AverageValue`: `ceil(requests / threshold)`. */
export function onQueue(
  threshold: number,
  stabilisationMs: number,
  least: number,
  running: boolean,
): Autoscaler {
  const hold = stabilised(stabilisationMs);
  return {
    name: `keda ${running ? "in flight" : "queue"} ${threshold} window ${stabilisationMs / 1000} s least ${least}`,
    wanted({ waiting, running: run, started, nowMs }: Seen) {
      const length = waiting + (running ? run : 0);
      const ratio = length / threshold / started;
      const wanted = Math.abs(ratio - 1) <= tolerance ? started : Math.ceil(length / threshold);
      return Math.max(least, Math.min(mostRise(started), hold(wanted, nowMs)));
    },
  };
}

/** Our number, through an HPA of target 1 without a window of its own. */
export function onNeeded(objective: string, startMs: number, most: number): Autoscaler {
  let nowMs = 0;
  const clock = { nowMs: () => nowMs } as Clock;
  const scaler = createScaler({
    clock,
    objective: parseScaleObjective(objective),
    startMs,
    idleMs: Infinity,
    most,
  });
  return {
    name: `needed ${objective}`,
    wanted(seen) {
      ({ nowMs } = seen);
      const { runMs, arrivals, ready } = seen;
      const occupiedMs = runMs.length === 0 ? 0 : runMs.reduce((sum, one) => sum + one, 0) / runMs.length;
      scaler.observe(new Map([["m", { arrivals, runMs, aloneMs: runMs, occupiedMs }]]), ready, true);
      return Math.min(mostRise(seen.started), Math.max(1, scaler.all().needed ?? seen.started));
    },
  };
}
