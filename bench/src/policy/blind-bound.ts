/**
 * The best that a client without foresight can reach if no acknowledgement of a request is back before its second run would
 * have to start. Then each try is a run on both sides or a bet, and moments with the same acknowledgements cannot be told
 * apart: of the bets, the same share is late as of all requests that look good. So the tail limits the number of bets, the
 * budget limits the runs on both sides, and the rest has to stay.
 */
import { packetsOf, uploadMs } from "@longshore/lab";
import { oracle } from "./oracle.ts";
import { arrivalsOf, replay, type ReplaySetting } from "./replay.ts";

/** The bound for a client without foresight, from its tail and its budget. */
export interface BlindBound {
  /** Requests, those that look good, and those of them that are late without a second run. */
  readonly requests: number;
  readonly lookGood: number;
  readonly lateOfThem: number;
  /** Most that can be sent. */
  readonly sent: number;
  /** The mean relative to the oracle's if, of all that look good, the most profitable ones were sent, which no client knows. */
  readonly meanVsOracle: number;
}

/** A moment looks good if the rate of this long before the newest acknowledgement would do. */
const lookMs = 50;

/** Undefined where acknowledgements are in time. `lateRatio` is the p99 that is to be kept in local runs, `extraRatio` the budget. */
export function blindBound(
  setting: ReplaySetting,
  lateRatio: number,
  extraRatio: number,
): BlindBound | undefined {
  const { trace, requestBytes, localMs, roundTripMs, serverMs } = setting;
  if (roundTripMs < (lateRatio - 1) * localMs) return undefined;
  const tried = arrivalsOf(setting).map((atMs) => {
    // When a second run would have to start, the client knows what passed one round trip earlier.
    const toMs = Math.max(0, atMs + (lateRatio - 1) * localMs - roundTripMs);
    const seen = trace.positionAt(toMs) - trace.positionAt(Math.max(0, toMs - lookMs));
    const tookMs = uploadMs(trace, atMs, requestBytes) + serverMs + roundTripMs;
    const expectedMs = (packetsOf(requestBytes) * lookMs) / seen + serverMs + roundTripMs;
    return {
      good: expectedMs < localMs,
      late: tookMs > lateRatio * localMs,
      gainMs: Math.max(0, localMs - tookMs),
    };
  });
  const requests = tried.length;
  const lookGood = tried.filter(({ good }) => good).length;
  const lateOfThem = tried.filter(({ good, late }) => good && late).length;
  const mayBeLate = requests - 1 - Math.floor(0.99 * requests);
  const bets = lateOfThem > 0 ? Math.floor((mayBeLate * lookGood) / lateOfThem) : lookGood;
  const best = tried.toSorted((a, b) => b.gainMs - a.gainMs);
  const both = best.slice(0, Math.floor(extraRatio * requests));
  const alone = best
    .slice(both.length)
    .filter(({ good }) => good)
    .slice(0, bets);
  const gainMs = [...both, ...alone].reduce((sum, one) => sum + one.gainMs, 0);
  return {
    requests,
    lookGood,
    lateOfThem,
    sent: both.length + alone.length,
    meanVsOracle: (localMs - gainMs / requests) / replay(setting, oracle()).meanMs,
  };
}
