import { alarm } from "./alarm.ts";
import type { Trial } from "./alias.ts";
import type { Side } from "./side.ts";

/** Observations of a rollout so far. */
export interface TrialFigures {
  readonly stable: SideFigures;
  readonly candidate: SideFigures;
  /** Shadow answers that were compared. */
  readonly compared: number;
  readonly agreed: number;
}

/** Requests of one side. */
export interface SideFigures {
  readonly requests: number;
  readonly errors: number;
  readonly meanMs: number;
}

/** How a request ended. `failed`: with an error that is not its caller's fault. `given up`: its caller cancelled after this time. */
export type TrialOutcome = "answered" | "failed" | "given up";

/** Watches one candidate and decides when and why to roll it back. */
export interface TrialWatch {
  /** Records the end of a request of a side. Returns the reason of a rollback, if any. */
  ended(side: Side, tookMs: number, how: TrialOutcome): string | undefined;
  /** Records the comparison of a shadow's answer. Returns the reason of a rollback, if any. */
  compared(agreed: boolean): string | undefined;
  figures(): TrialFigures;
}

/** Number of stable times from which the typical one is computed. */
const remembered = 255;
/** Minimum of stable times before times are judged. */
const fewest = 20;
/**
 * Allowed share of slower answers. A candidate exactly at the limit is slower than the typical time half of the time; the rest covers the
 * uncertainty of the typical time.
 */
const slowerRatio = 0.58;
/**
 * Extra time that does not count as slowness, in milliseconds: a shadow begins while its caller's answer is written, which can take as long
 * as a run of a small network.
 */
const slackMs = 1;

/** Starts without observations. */
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

  /** The candidate's share of all errors while it keeps its limit. */
  const allowed = (): number => {
    const weighted = weightRatio * limits.errorFactor;
    return weighted / (weighted + 1 - weightRatio);
  };

  /** Undefined while nothing is known about the stable version. */
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
      // An early cancellation says nothing about the time it would have taken. Figures of a comparison must count the same on both sides.
      if (how === "given up" && (mode === "ab" || side === "stable" || isSlow(tookMs) !== true))
        return undefined;
      one.requests++;
      if (how === "failed") {
        one.errors++;
        // For a shadow each request has both sides. Otherwise the weight sets the share of each side.
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
          // The first runs load the version and are cold.
          const slow = isSlow(tookMs);
          if (slow) slower++;
          if (slow !== undefined) latency.seen(slow, slowerRatio);
        }
      }
      // An A/B comparison is only counted.
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
