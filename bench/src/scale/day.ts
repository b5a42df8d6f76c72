import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type Random, seededRandom } from "@longshore/core";
import { gaussian } from "@longshore/core/internal";

/** The requests of a day: arrival and run time in milliseconds. */
export interface Day {
  readonly name: string;
  readonly lengthMs: number;
  readonly atMs: Float64Array;
  readonly runMs: Float64Array;
}

export const meanRunMs = 900;
/** Standard deviation of the logarithm of run times. */
const runDeviation = 0.45;
const hourMs = 3_600_000;
const dayMs = 24 * hourMs;
const binMs = 10_000;

/** Requests a second over a day in hours, 0 to 1: a night, a morning peak, a noon dip and an evening peak. */
const hours = [
  0.2, 0.15, 0.12, 0.1, 0.1, 0.12, 0.2, 0.4, 0.7, 0.9, 0.95, 0.85, 0.7, 0.75, 0.8, 0.78, 0.75, 0.8, 0.95, 1,
  0.85, 0.6, 0.4, 0.28,
];

function diurnal(atMs: number): number {
  const position = (atMs % dayMs) / hourMs;
  const below = Math.floor(position);
  const [low = 0, high = 0] = [hours[below % 24], hours[(below + 1) % 24]];
  return low + (high - low) * (position - below);
}

/** Counts of the recorded hour in bins of ten seconds, over their mean: how real demand swings within minutes. */
function recordedHour(data: string): readonly number[] {
  const text = readFileSync(join(data, "traces/requests/AzureLLMInferenceTrace_code.csv"), "utf8");
  const atMs = text
    .trim()
    .split("\n")
    .slice(1)
    .map((line) => Date.parse(`${line.slice(0, 23).replace(" ", "T")}Z`));
  const first = atMs[0] ?? 0;
  const bins = Array.from({ length: Math.floor(((atMs.at(-1) ?? 0) - first) / binMs) }, () => 0);
  for (const at of atMs) {
    const bin = Math.floor((at - first) / binMs);
    if (bin < bins.length) bins[bin] = (bins[bin] ?? 0) + 1;
  }
  const mean = bins.reduce((sum, one) => sum + one, 0) / bins.length;
  return bins.map((one) => one / mean);
}

/** Flash crowds: about one an hour, up to four times the usual for some minutes, reached within one to three. */
function flashCrowds(random: Random): (atMs: number) => number {
  const all: {
    readonly fromMs: number;
    readonly riseMs: number;
    readonly forMs: number;
    readonly times: number;
  }[] = [];
  for (let at = 0; at < dayMs; at += -Math.log(1 - random.next()) * hourMs) {
    const riseMs = (1 + 2 * random.next()) * 60_000;
    all.push({
      fromMs: at,
      riseMs,
      forMs: riseMs + (3 + 9 * random.next()) * 60_000,
      times: 1 + 3 * random.next(),
    });
  }
  return (atMs) => {
    let factor = 1;
    for (const { fromMs, riseMs, forMs, times } of all) {
      const since = atMs - fromMs;
      if (since < 0 || since > forMs + riseMs) continue;
      const height = Math.min(1, since / riseMs, (forMs + riseMs - since) / riseMs);
      factor = Math.max(factor, 1 + (times - 1) * height);
    }
    return factor;
  };
}

/** A Poisson process of this many requests a second at each time. */
function drawn(name: string, lengthMs: number, rate: (atMs: number) => number, random: Random): Day {
  const at: number[] = [];
  for (let fromMs = 0; fromMs < lengthMs; fromMs += 1000) {
    const perSecond = rate(fromMs);
    for (let ms = -Math.log(1 - random.next()) * (1000 / perSecond); ms < 1000;) {
      at.push(fromMs + ms);
      ms += -Math.log(1 - random.next()) * (1000 / perSecond);
    }
  }
  const median = meanRunMs / Math.exp(runDeviation ** 2 / 2);
  return {
    name,
    lengthMs,
    atMs: Float64Array.from(at),
    runMs: Float64Array.from(at, () => median * Math.exp(runDeviation * gaussian(random))),
  };
}

export const dayNames = ["steady", "recorded", "crowds"] as const;

/** A day by its name; `recorded` needs the folder of data. */
export function dayOf(
  name: (typeof dayNames)[number],
  data: string | undefined,
  seed: number,
  peak: number,
): Day {
  const random = seededRandom(seed);
  if (name === "steady") return drawn(name, dayMs, (atMs) => peak * diurnal(atMs), random);
  if (name === "crowds") {
    const crowd = flashCrowds(random);
    return drawn(name, dayMs, (atMs) => 0.6 * peak * diurnal(atMs) * crowd(atMs), random);
  }
  if (data === undefined) throw new Error("the recorded day needs --data");
  const hour = recordedHour(data);
  const shift = Math.floor(random.next() * hour.length);
  // The bins are joined by lines: a step would be sharper than anything recorded.
  const swing = (atMs: number): number => {
    const position = atMs / binMs + shift;
    const below = Math.floor(position);
    const [low = 1, high = 1] = [hour[below % hour.length], hour[(below + 1) % hour.length]];
    return low + (high - low) * (position - below);
  };
  return drawn(name, dayMs, (atMs) => 0.7 * peak * diurnal(atMs) * swing(atMs), random);
}
