/** The queue of the real engine on a virtual clock: figures that hold on any machine, because none takes part in them. */
import { poissonArrivals } from "@longshore/lab";
import { type Bench, chosenOf, type Measured, numberOf, quantile, type Row } from "./harness.ts";
import { leastP99Ratio } from "./overload/strict-priority.ts";
import { batching, costs } from "./queue/batching.ts";
import { type Arrival, play, virtualEndpoint } from "./queue/endpoint.ts";

/** What all tenants allow, and how long a round takes each of its two phases, in milliseconds. */
const patientMs = 600;
const phaseMs = 8000;
const runTimesMs = [8, 16, 30] as const;

/** As `bench overload`: a light tenant alone, then beside one that sends ten times as much, in turns on one engine. */
async function tenants(
  runMs: number,
  rounds: number,
  seed: number,
): Promise<{ readonly ratio: number; readonly least: number; readonly worst: number }> {
  const endpoint = virtualEndpoint({ maxBatchSize: 0 }, () => runMs);
  const of = (tenant: string, perSecond: number, own: number): readonly Arrival[] =>
    poissonArrivals(perSecond, Math.ceil((perSecond * phaseMs * 1.3) / 1000), own)
      .filter((atMs) => atMs < phaseMs)
      .map((atMs) => ({ tenant, atMs }));
  const alone: number[] = [];
  const beside: number[] = [];
  const arrivals: number[] = [];
  let worst = 0;
  for (let round = 0; round < rounds; round++) {
    const light = of("light", 400 / runMs, seed + 2 * round);
    const heavy = of("heavy", 4000 / runMs, seed + 2 * round + 1);
    const solo = (await play(endpoint, light, patientMs)).get("light") ?? [];
    const both = [...light, ...heavy].sort((a, b) => a.atMs - b.atMs);
    const shared = (await play(endpoint, both, patientMs)).get("light") ?? [];
    alone.push(...solo);
    beside.push(...shared);
    arrivals.push(...light.map(({ atMs }) => round * 2 * phaseMs + atMs));
    worst = Math.max(worst, quantile(shared, 0.99) / quantile(solo, 0.99));
  }
  await endpoint.engine.close();
  return {
    ratio: quantile(beside, 0.99) / quantile(alone, 0.99),
    least: leastP99Ratio(arrivals, [runMs], [runMs], seed),
    worst,
  };
}

export const bench: Bench = {
  name: "queue",
  about: "tenants beside each other and learned batches, in the real engine on a virtual clock",
  options: ["--only PART,...", "--rounds N"],
  bars: {
    ...Object.fromEntries(runTimesMs.map((runMs) => [`lightTenantP99Ratio${runMs}`, { atMost: 1.3 }])),
    ...Object.fromEntries(costs.map(({ figure }) => [figure, { atLeast: 0.95 }])),
  },
  async run({ args, seed, say }): Promise<Measured> {
    const parts = ["tenants", "batching"] as const;
    const wanted = chosenOf(args, "only", parts) ?? parts;
    const rounds = numberOf(args, "rounds", 5);
    const figures: Record<string, number> = {};
    const rows: Row[] = [];
    for (const runMs of wanted.includes("tenants") ? runTimesMs : []) {
      const { ratio, least, worst } = await tenants(runMs, 4 * rounds, seed);
      figures[`lightTenantP99Ratio${runMs}`] = ratio;
      rows.push({ part: "tenants", runMs, ratio, least, worst });
      say(
        `  runs of ${runMs} ms: a light tenant's p99 beside ten times its load is ${ratio.toFixed(2)} times that alone; served before all others ${least.toFixed(2)}; the worst of ${4 * rounds} rounds ${worst.toFixed(2)}`,
      );
    }
    for (const cost of wanted.includes("batching") ? costs : []) {
      const { ratio, learned, best, byBest } = await batching(cost, rounds, seed);
      figures[cost.figure] = ratio;
      rows.push({ part: "batching", model: cost.name, ratio, learned, best, byBest });
      say(
        `  ${cost.name}: learned batches keep 99 of 100 answers in time at ${learned.toFixed(2)} of what the best size could do at most, ${best} at ${byBest.toFixed(2)}`,
      );
    }
    return { figures, rows };
  },
};
