import { seededRandom } from "@longshore/core";
import { poissonArrivals } from "@longshore/lab";
import { median, quantile } from "../harness.ts";
import { play, type VirtualEndpoint, virtualEndpoint } from "./endpoint.ts";

/** A kind of model by what its runs take. */
export interface RunCost {
  readonly name: string;
  readonly figure: string;
  /** Milliseconds of a run, and of each of its rows. */
  readonly runMs: number;
  readonly rowMs: number;
}

export const costs: readonly RunCost[] = [
  { name: "dense", figure: "vsBestSettingWherePays", runMs: 0.75, rowMs: 0.065 },
  { name: "convolution", figure: "vsBestSettingWhereNot", runMs: 0.05, rowMs: 2 },
];

const maxBatchSize = 32;
const byHand: Readonly<Record<string, object>> = {
  "size 1": { maxBatchSize: 1 },
  "size 8, delay 0 ms": { maxBatchSize: 8, preferredSizes: [8], maxQueueDelayMs: 0 },
  ...Object.fromEntries(
    [0, 1, 3].map((delayMs) => [
      `size 32, delay ${delayMs} ms`,
      { maxBatchSize, preferredSizes: [32], maxQueueDelayMs: delayMs },
    ]),
  ),
};

/** 99 of 100 answers must be there within this, in milliseconds. */
const boundMs = 40;
/** One run in so many begins a busy moment of the machine: some runs take longer by a factor. */
const busyOnce = 400;
const busyRuns = 10;
const busyFactor = 2.5;
const seconds = 0.5;

function endpoint({ runMs, rowMs }: RunCost, batching: object, seed: number): VirtualEndpoint {
  const random = seededRandom(seed);
  let busy = 0;
  return virtualEndpoint(batching, (rows) => {
    const noise = Math.exp(0.12 * (random.next() + random.next() + random.next() - 1.5));
    if (busy > 0) busy--;
    else if (random.next() < 1 / busyOnce) busy = busyRuns;
    return (runMs + rowMs * rows) * noise * (busy > 0 ? busyFactor : 1);
  });
}

/** The highest rate, of what runs of the best size can do, at which 99 of 100 answers are in time, halved in on. */
async function highest(cost: RunCost, batching: object, seed: number): Promise<number> {
  const one = endpoint(cost, batching, seed);
  const most = Math.max(
    1 / (cost.runMs + cost.rowMs),
    maxBatchSize / (cost.runMs + cost.rowMs * maxBatchSize),
  );
  const holds = async (ratio: number): Promise<boolean> => {
    const perSecond = 1000 * most * ratio;
    const arrivals = poissonArrivals(perSecond, Math.ceil(perSecond * seconds), seed);
    const times = await play(
      one,
      arrivals.map((atMs) => ({ tenant: "t", atMs })),
    );
    return quantile(times.get("t") ?? [], 0.99) <= boundMs;
  };
  for (const ratio of [0.1, 0.3, 0.5, 0.7]) await holds(ratio);
  let [low, high] = [0.1, 1.1];
  for (let step = 0; step < 5; step++) {
    const middle = Math.sqrt(low * high);
    // A busy moment is not the setting's fault, so a rate fails when it fails twice.
    if ((await holds(middle)) || (await holds(middle))) low = middle;
    else high = middle;
  }
  return low;
}

/** Learned batching over the best of the settings, whichever that is over all rounds. */
export async function batching(
  cost: RunCost,
  rounds: number,
  seed: number,
): Promise<{
  readonly ratio: number;
  readonly learned: number;
  readonly best: string;
  readonly byBest: number;
}> {
  const of = async (setting: object): Promise<readonly number[]> => {
    const rates: number[] = [];
    for (let round = 0; round < rounds; round++) rates.push(await highest(cost, setting, seed + round));
    return rates;
  };
  const learned = await of({ maxBatchSize });
  let best = { name: "", rates: [] as readonly number[] };
  for (const [name, setting] of Object.entries(byHand)) {
    const rates = await of(setting);
    if (best.name === "" || median(rates) > median(best.rates)) best = { name, rates };
  }
  return {
    ratio: median(learned.map((rate, round) => rate / (best.rates[round] ?? NaN))),
    learned: median(learned),
    best: best.name,
    byBest: median(best.rates),
  };
}
