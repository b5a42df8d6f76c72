import { oracle } from "./oracle.ts";
import { replay, type ReplaySetting } from "./replay.ts";
import { rateTrace, steadyArrivals } from "@longshore/lab";
import { replayOffloader, type Sides } from "./replay-offloader.ts";

/** A link of one rate that carries nothing for a while, and requests on a beat. */
export interface OutageSetting extends Pick<ReplaySetting, "requestBytes" | "localMs" | "roundTripMs"> {
  readonly bitsPerSecond: number;
  readonly outageMs: number;
  /** Distance of requests, in milliseconds. */
  readonly everyMs: number;
  /** From the recovery to the next request, in milliseconds. */
  readonly phaseMs: number;
}

/** Before the outage, for the offloader to learn the link, and after it. */
const beforeMs = 20_000;
const afterMs = 6000;
const serverMs = 15;

/**
 * From the recovery of the link to the first request that the offloader sends, in milliseconds, where the oracle sends each one; Infinity if it
 * sends none, NaN if the oracle does not send.
 */
export async function returnAfterOutageMs(setting: OutageSetting): Promise<number> {
  const { bitsPerSecond, outageMs, everyMs, phaseMs } = setting;
  const backMs = beforeMs + outageMs;
  const lengthMs = backMs + afterMs;
  const rates = [
    { fromMs: 0, bitsPerSecond },
    { fromMs: beforeMs, bitsPerSecond: 0 },
    { fromMs: backMs, bitsPerSecond },
  ];
  const trace = rateTrace(`outage of ${outageMs} ms`, rates, lengthMs, "synthetic");
  const firstMs = (backMs + phaseMs) % everyMs;
  const count = Math.floor((lengthMs - firstMs) / everyMs);
  const arrivals = steadyArrivals(everyMs, count).map((atMs) => atMs + firstMs);
  const replayed: ReplaySetting = { ...setting, trace, serverMs, arrivals, lengthMs };
  const sides: Sides[] = [];
  await replayOffloader(replayed, {}, sides);
  const decided: boolean[] = [];
  const best = oracle();
  replay(replayed, {
    ...best,
    arrived(request, sight) {
      const choice = best.arrived(request, sight);
      decided[request.id] = choice.where !== "local";
      return choice;
    },
  });
  const after = arrivals.flatMap((atMs, index) => (atMs >= backMs ? [index] : []));
  if (!after.every((index) => decided[index])) return NaN;
  const first = after.find((index) => sides[index]?.there === true);
  return first === undefined ? Infinity : (arrivals[first] ?? NaN) - backMs;
}
