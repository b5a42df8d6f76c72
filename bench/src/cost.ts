/**
 * `bench decide --part cost`: what requests cost. With `objective: "cost"` and a deadline, how near does the planner come to the cheapest plan? Is a limit on cost ever exceeded, and do metrics agree with results?
 *
 * - Three endpoints: `edge` (8 ms away, 60 ms a run, 4000 micros a second), `region` (35 ms, 30 ms, 1500 micros and 400 per megabyte), `spot` (90 ms, 150 ms,
 *   300 micros). A run on the device takes 2 s and keeps no deadline. Requests have 60 kB.
 * - Requests on a beat, at random, in pairs, and in bursts; over a wired link, Wi-Fi, and LTE (recorded ones with `--data`).
 * - The oracle knows what the link will carry and takes, for each request when it comes, the cheapest plan that keeps the deadline.
 * - A row counts only if it misses at most half a point more deadlines than the oracle.
 * - Limits are tested with random prices, links, slow-downs and false promises; `longshore_cost_micros_total` is compared with what results and failures were charged.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type EndpointInfo, type Limits, LongshoreError, seededRandom, type Tier } from "@longshore/core";
import { ratesOf } from "@longshore/core/internal";
import {
  constantTrace,
  linkShapes,
  type OffloadWorldParts,
  offloadWorld,
  plainModel,
  readMahimahi,
  type SimulatedWay,
  simulate,
  simulationOf,
  syntheticTrace,
  type Trace,
  typicalInputs,
} from "@longshore/lab";
import { createTelemetry, type Telemetry } from "@longshore/server";
import { type ArrivalKind, arrivalKinds } from "./decide-arrivals.ts";
import { decideTraces } from "./decide-traces.ts";
import { type Bench, chosenOf, mean, type Measured, numberOf, type Row } from "./harness.ts";

/** A run here takes too long for the deadline: only a priced server remains. */
const localMs = 2000;
const serverMs = 60;
const bytes = 60_000;

/** From near and dear to far, slow and cheap, in micros; the middle one also takes money for bytes. */
const endpoints = [
  { id: "edge", tier: "edge", speed: 1, rtt: 8, instances: 2, microsPerSecond: 4000 },
  {
    id: "region",
    tier: "cloud",
    speed: 2,
    rtt: 35,
    instances: 8,
    microsPerSecond: 1500,
    microsPerMegabyte: 400,
  },
  { id: "spot", tier: "cloud", speed: 0.4, rtt: 90, instances: 8, microsPerSecond: 300 },
] as const;

/** Deadlines in milliseconds: all endpoints keep the first on good links, and the cheapest never keeps the last. A run here keeps none. */
const deadlines = [700, 400, 220] as const;
/** A beat, chance, two at a time, and recorded bursts. */
const arrivals: ReadonlySet<string> = new Set(["beat", "poisson-06", "pairs", "bursts"]);

interface Setting {
  readonly kind: ArrivalKind;
  readonly link: string;
  readonly deadlineMs: number;
  readonly up: Trace;
  readonly down: Trace;
}

const nameOf = ({ kind, link, deadlineMs }: Setting): string => `${kind.name}/${link}/${deadlineMs}`;

function linksOf(
  data: string | undefined,
  seed: number,
): {
  readonly links: readonly { readonly name: string; readonly up: Trace; readonly down: Trace }[];
  readonly notRun: readonly string[];
} {
  const home = syntheticTrace(linkShapes.wifi, seed, 300_000, "wifi");
  const wifi = { name: "wifi", up: home, down: home };
  const wired = { name: "wired", up: constantTrace(40e6), down: constantTrace(100e6) };
  const folder = data && join(data, "traces/lte-mahimahi");
  if (folder === undefined || !existsSync(folder)) {
    const lte = syntheticTrace(linkShapes.stalling, seed, 300_000, "stalling");
    const notRun = ["recorded LTE: no data folder (--data DIR); a synthetic link stands in"];
    return { links: [wired, wifi, { name: "lte", up: lte, down: lte }], notRun };
  }
  const read = (side: string): Trace => {
    const file = `Verizon-LTE-short.${side}`;
    return readMahimahi(file, readFileSync(join(folder, file), "utf8"));
  };
  return { links: [wired, wifi, { name: "lte", up: read("up"), down: read("down") }], notRun: [] };
}

const of = (ways: readonly SimulatedWay[], kind: SimulatedWay["kind"]): SimulatedWay => {
  const found = ways.find((way) => way.kind === kind);
  if (!found) throw new Error(`no ${kind} was replayed`);
  return found;
};

/** One replay: ours, the oracle, and the cheapest plan that never changes and misses no more than the oracle and half a point. */
async function rowOf(
  setting: Setting,
  seed: number,
  requests: number,
  inTime: number | undefined,
): Promise<Row> {
  const { model, deviceSpeed } = plainModel({ bytes, localMs, serverMs });
  const { kind, deadlineMs, up, down } = setting;
  const simulation = simulationOf(
    {
      model: "plain",
      seed,
      objective: "cost",
      deadlineMs,
      endpoints: [...endpoints],
      ...(inTime === undefined ? {} : { minInTimeRatio: inTime }),
    },
    {
      model,
      deviceSpeed,
      links: () => ({ up, down }),
      arrivalsMs: kind.instants(localMs / 4, 0).slice(0, requests),
    },
  );
  const ways = await simulate(simulation);
  const ours = of(ways, "longshore").figures;
  const oracle = of(ways, "oracle").figures;
  const missed = ours.missed / ours.counted;
  const oracleMissed = oracle.missed / oracle.counted;
  const fixed = ways.filter(
    (way) =>
      way.kind !== "longshore" &&
      way.kind !== "oracle" &&
      way.figures.missed / way.figures.counted <= oracleMissed + 0.005,
  );
  const best = Math.min(oracle.meanCostMicros, ...fixed.map(({ figures }) => figures.meanCostMicros));
  return {
    kind: "replay",
    setting: nameOf(setting),
    requests: ours.counted,
    costMicros: ours.meanCostMicros,
    oracleMicros: oracle.meanCostMicros,
    cheapestMicros: best,
    costVsOracle: ours.meanCostMicros / best,
    missed,
    oracleMissed,
    // Missing deadlines costs less, so a row that misses more than the oracle counts as no saving.
    counts: missed <= oracleMissed + 0.005,
  };
}

const tiers: readonly Tier[] = ["edge", "cloud"];

/** All that a page of metrics says of money. */
function inMetrics(telemetry: Telemetry): number {
  const { pieces } = telemetry.metricsPage(undefined, undefined);
  let step = pieces.next();
  while (!step.done) step = pieces.next();
  const text = step.value.map((piece) => new TextDecoder().decode(piece)).join("");
  let sum = 0;
  for (const [, value] of text.matchAll(/^longshore_cost_micros_total\{.*\} (\S+)$/gm)) sum += Number(value);
  return sum;
}

/** Random prices, links, faults and limits; compares spending with limits, and metrics with results. */
async function randomCalls(seed: number, calls: number): Promise<Row> {
  const random = seededRandom(seed);
  const price = (most: number): number => (random.next() < 0.3 ? 0 : most * random.next() ** 3);
  const { model, deviceSpeed } = plainModel({ bytes: 20_000, localMs: 150, serverMs: 20 });
  const info = (id: string, tier: Tier, zone: string): EndpointInfo => ({
    id,
    tier,
    zone,
    trust: "operated",
    codecs: [],
    state: "movable",
    offers: random.next() < 0.7,
    rates: ratesOf(
      {
        microsPerSecond: price(5000),
        microsPerRequest: price(50),
        microsPerMegabyteIn: price(500),
        microsPerMegabyteOut: price(5000),
        activeWatts: 2,
      },
      id,
    ),
  });
  let charged = 0;
  const parts: OffloadWorldParts = {
    models: [model],
    seed,
    logSpread: 0.4,
    device: { speed: deviceSpeed, info: { ...info("device", "device", "device"), offers: true } },
    endpoints: ["a", "b", "c"].map((id, at) => {
      const trace = constantTrace(10 ** (5.5 + 2 * random.next()));
      return {
        info: info(id, tiers[at % 2] ?? "edge", `remote/${id}`),
        speed: 0.5 + 4 * random.next(),
        up: trace,
        down: trace,
        delayMs: 1 + 40 * random.next(),
      };
    }),
    defaults: { dataClass: "public" },
    observer: {
      record(event) {
        telemetry.observer.record(event);
        if (event.kind === "cost-charged") charged += event.micros;
      },
    },
  };
  const world = offloadWorld(parts);
  const { clock, offloader } = world;
  const telemetry = createTelemetry({ clock, random });
  const inputs = Object.fromEntries(typicalInputs(model));
  let [answered, broken, paid, failed] = [0, 0, 0, 0];
  const under = new Set<Promise<void>>();
  for (let count = 0; count < calls; count++) {
    for (const { endpoint } of world.endpoints.values()) {
      const { faults } = endpoint;
      if (random.next() < 0.01) faults.slowFactor = random.next() < 0.5 ? 1 : 1 + 4 * random.next();
      if (random.next() < 0.01) faults.promiseFactor = random.next() < 0.5 ? 1 : 0.05;
    }
    const maxCostMicros = 400 * random.next() ** 3;
    const limits: Limits = {
      maxCostMicros,
      objective: random.next() < 0.5 ? "latency" : random.next() < 0.5 ? "cost" : "mean=1,cost=1",
      ...(random.next() < 0.5 ? { deadlineMs: 50 + 2000 * random.next() } : {}),
    };
    const before = charged;
    const asked = offloader.infer("model", inputs, limits).then(
      ({ costMicros }) => {
        answered++;
        paid += costMicros;
        if (costMicros > maxCostMicros * (1 + 1e-9)) broken++;
      },
      (thrown: unknown) => {
        if (!LongshoreError.is(thrown)) throw thrown;
        failed++;
      },
    );
    under.add(asked);
    void asked.finally(() => under.delete(asked));
    // One after the other, so that what a failed call was charged is known.
    const failedBefore = failed;
    await clock.runUntil(asked);
    if (failed > failedBefore) paid += charged - before;
    await clock.advance(300 * random.next());
  }
  return { kind: "limits", seed, calls, answered, failed, broken, metrics: inMetrics(telemetry), paid };
}

export const bench: Bench = {
  name: "cost",
  about:
    "micros that requests cost where money is made small, beside the cheapest plan that keeps the deadline",
  options: ["--only ARRIVALS/LINK/DEADLINE,...", "--requests N", "--calls N", "--in-time RATIO"],
  bars: {
    costVsOracle: { atMost: 1.1 },
    limitsBroken: { atMost: 0 },
    metricsOffMicros: { atMost: 1 },
  },
  async run({ data, seed, args, say }): Promise<Measured> {
    const { links, notRun } = linksOf(data, seed);
    const kinds = arrivalKinds(data, decideTraces(data, seed).bursts, seed).filter(({ name }) =>
      arrivals.has(name),
    );
    const all = kinds.flatMap((kind) =>
      links.flatMap(({ name: link, up, down }) =>
        deadlines.map((deadlineMs): Setting => ({ kind, link, deadlineMs, up, down })),
      ),
    );
    const only = chosenOf(args, "only", all.map(nameOf));
    const rows: Row[] = [];
    const inTime = args.includes("--in-time") ? numberOf(args, "in-time", 0.95) : undefined;
    for (const setting of all.filter((one) => only?.includes(nameOf(one)) ?? true)) {
      const row = await rowOf(setting, seed, numberOf(args, "requests", 300), inTime);
      rows.push(row);
      const { costMicros, cheapestMicros, costVsOracle, missed, oracleMissed, counts } = row;
      say(
        `  ${nameOf(setting).padEnd(26)} ours ${Number(costMicros).toFixed(1).padStart(7)}  cheapest ${Number(cheapestMicros).toFixed(1).padStart(7)}  ratio ${Number(costVsOracle).toFixed(3)}  missed ${(100 * Number(missed)).toFixed(2)} %, oracle ${(100 * Number(oracleMissed)).toFixed(2)} %${counts === true ? "" : "  does not count"}`,
      );
    }
    const ratios = rows.map((row) => Number(row["costVsOracle"]));
    const counted = rows.filter((row) => row["counts"] === true).map((row) => Number(row["costVsOracle"]));
    const calls = numberOf(args, "calls", 10_000);
    const worlds = Math.ceil(calls / 500);
    let [broken, off, answered] = [0, 0, 0];
    for (let world = 0; world < worlds; world++) {
      const row = await randomCalls(seed + world, Math.min(500, calls - 500 * world));
      rows.push(row);
      broken += Number(row["broken"]);
      answered += Number(row["answered"]);
      off = Math.max(off, Math.abs(Number(row["metrics"]) - Number(row["paid"])));
    }
    say(
      `  ${calls} random calls: ${answered} answered, ${broken} above their limit; metrics are off by ${off.toExponential(2)} micros`,
    );
    return {
      figures: {
        costVsOracle: counted.length === 0 ? Infinity : Math.max(...counted),
        averageCostVsOracle: mean(ratios),
        notCounted: rows.filter((row) => row["counts"] === false).length,
        limitsBroken: broken,
        metricsOffMicros: off,
      },
      rows,
      notRun,
    };
  },
};
