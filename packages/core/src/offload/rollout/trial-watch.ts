import { alarm } from "./alarm.ts";
import type { Trial } from "./alias.ts";
import type { Side } from "./side.ts";

/** What was seen of a rollout so far. */
export interface TrialFigures {
  readonly stable: SideFigures;
  readonly candidate: SideFigures;
  /** Of a shadow. */
  readonly compared: number;
  readonly agreed: number;
}

/** Requests of one side. */
export interface SideFigures {
  readonly requests: number;
  readonly errors: number;
  readonly meanMs: number;
}

/** How a request ended: `failed` with something that is not its caller's fault, `given up` by its caller, who had waited for so long. */
export type Ended = "answered" | "failed" | "given up";

/** Watches one candidate and says when it is to be given up, and why. */
export interface TrialWatch {
  /** A request of a side is over. */
  ended(side: Side, tookMs: number, how: Ended): string | undefined;
  /** A shadow's answer was compared. */
  compared(agreed: boolean): string | undefined;
  figures(): TrialFigures;
}

/** Times of the stable version that its typical one is taken from. */
const remembered = 255;
/** With fewer of them nothing is said about times. */
const fewest = 20;
/** A candidate that is as quick as allowed is slower than the typical time half of the time, and the typical one is only known so well. */
const slowerRatio = 0.58;
/**
 * So much longer is no slowness, in milliseconds: a shadow begins while its caller's answer is written, and what that adds is as long
 * as a run of a small network.
 */
const slackMs = 1;

/** Starts with nothing seen. */
export function trialWatch({ mode, weightRatio, limits }: Trial): TrialWatch {
  const each = limits.falseAlarmRatio / 3;
  const errors = alarm(each);
  const latency = alarm(each);
  const agreement = alarm(each);
  const sides = { stable: fresh(), candidate: fresh() };
  const times: number[] = [];
  let slower = 0;
  let compared = 0;
  let agreed = 0;

  /** The share of errors that are the candidate's while it keeps its limit. */
  const allowed = (): number => {
    const weighted = weightRatio * limits.errorFactor;
    return weighted / (weighted + 1 - weightRatio);
  };

  /** Undefined while nothing is known of the stable version. */
  const isSlow = (tookMs: number): boolean | undefined =>
    times.length < fewest ? undefined : tookMs > limits.latencyFactor * median(times) + slackMs;

  const verdict = (): string | undefined => {
    if (sides.candidate.requests < limits.minSamples) return undefined;
    const { stable, candidate } = sides;
    if (errors.raised) {
      return `${candidate.errors} of ${candidate.requests} requests failed, of the stable version ${stable.errors} of ${stable.requests}`;
    }
    if (latency.raised) {
      return `${slower} of ${latency.count} answers took more than ${limits.latencyFactor} times as long as the stable version's usually do, ${median(times).toPrecision(3)} ms`;
    }
    return agreement.raised
      ? `${compared - agreed} of ${compared} answers differ from the stable version's`
      : undefined;
  };

  return {
    ended(side, tookMs, how) {
      const one = sides[side];
      // Who gave up sooner says nothing of how long it would have taken, and figures of a comparison are of the same on both sides.
      if (how === "given up" && (mode === "ab" || side === "stable" || isSlow(tookMs) !== true))
        return undefined;
      one.requests++;
      if (how === "failed") {
        one.errors++;
        // Of a shadow each request has both sides; else the weight says how many requests each side gets.
        errors.seen(
          side === "candidate",
          mode === "shadow" ? limits.errorFactor / (1 + limits.errorFactor) : allowed(),
        );
      } else {
        one.totalMs += tookMs;
        if (side === "stable") {
          if (times.length === remembered) times.shift();
          times.push(tookMs);
        } else if (one.requests > limits.minSamples) {
          // The first ones load the version and run it cold.
          const slow = isSlow(tookMs);
          if (slow) slower++;
          if (slow !== undefined) latency.seen(slow, slowerRatio);
        }
      }
      // Sides of a comparison are only counted.
      return mode === "ab" ? undefined : verdict();
    },
    compared(same) {
      compared++;
      if (same) agreed++;
      agreement.seen(!same, 1 - limits.agreementRatio);
      return verdict();
    },
    figures: () => ({
      stable: shown(sides.stable),
      candidate: shown(sides.candidate),
      compared,
      agreed,
    }),
  };
}

interface Counted {
  requests: number;
  errors: number;
  totalMs: number;
}

const fresh = (): Counted => ({ requests: 0, errors: 0, totalMs: 0 });
const mean = ({ requests, errors, totalMs }: Counted): number => totalMs / Math.max(1, requests - errors);
const shown = (one: Counted): SideFigures => ({
  requests: one.requests,
  errors: one.errors,
  meanMs: mean(one),
});

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? Infinity;
}
