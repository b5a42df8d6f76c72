/** Whether the chosen split is the best when splits are really run: samples and published networks, over links of a few rates. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  createOffloader,
  type Endpoint,
  type Inputs,
  linkBelief,
  linkModel,
  seededRandom,
  silentObserver,
  standardPolicy,
} from "@longshore/core";
import { meanOf, radios, sleep, wrapEndpoint } from "@longshore/core/internal";
import {
  constantTrace,
  expectedMs,
  followPlan,
  linkProxy,
  type PlanCandidate,
  planCandidates,
  planName,
  planOf,
  wholeSegment,
} from "@longshore/lab";
import { folderStore, systemClock, systemRandom } from "@longshore/nodejs";
import { sampleRepository } from "@longshore/samples";
import {
  dial,
  type MeasuredModel,
  openEngine,
  type DemoEndpoint,
  profiledStore,
  serverInfo,
  startEndpoint,
} from "longshore/measure";
import { type BenchContext, median, quantile, type Row } from "./harness.ts";
import { measurePublished, measureSamples, profilesOf } from "./measure-samples.ts";

/** A link: the rate each way, and the delay one way. */
interface Link {
  readonly bitsPerSecond: number;
  readonly delayMs: number;
}

/** A model with inner cuts that win under some prices, and a pipeline; each with a real input. */
interface Subject {
  readonly model: string;
  /** A sample input; a published network has none, and seeded weights and inputs. */
  readonly file: string | undefined;
  readonly links: readonly Link[];
  /** Requests that the offloader learns from, and how often they come: links are tried for a small share of the time. */
  readonly learning: number;
  readonly gapMs: number;
  readonly rounds: number;
  readonly mostRun: number;
}

/** Quick enough for their first layers' tensors, and for their last ones' only. */
const networkLinks = [
  { bitsPerSecond: 20e6, delayMs: 5 },
  { bitsPerSecond: 400e6, delayMs: 0.3 },
];

const subjects: readonly Subject[] = [
  {
    model: "anomaly",
    file: "sensor/healthy-1.npy",
    links: [
      { bitsPerSecond: 8e6, delayMs: 5 },
      { bitsPerSecond: 60e6, delayMs: 1 },
      { bitsPerSecond: 400e6, delayMs: 0.3 },
    ],
    learning: 60,
    gapMs: 250,
    rounds: 7,
    mostRun: 12,
  },
  {
    model: "ocr-frame",
    file: "images/receipt-1.jpg",
    links: [
      { bitsPerSecond: 2e6, delayMs: 10 },
      { bitsPerSecond: 20e6, delayMs: 5 },
    ],
    learning: 12,
    gapMs: 1500,
    rounds: 7,
    mostRun: 5,
  },
  ...["squeezenet", "resnet50", "inception_v1"].map((model) => ({
    model,
    file: undefined,
    links: networkLinks,
    learning: 30,
    gapMs: 500,
    rounds: 7,
    mostRun: 8,
  })),
];

/** Models whose splits are chosen and run. */
export const regretModels: readonly string[] = subjects.map(({ model }) => model);

/** The plan of most of the last requests is the offloader's choice: before, it learned link, endpoint and device. */
const lastOnes = 4;
/** Cuts that are measured inside a model at most. */
const mostCuts = 10;
const effort = { samples: 1, rounds: 5, maxCuts: mostCuts, everyCodec: true };
/** WebAssembly is compiled better after a while: earlier times say nothing about later ones. */
const warmingMs = 2000;
/** Plans that should take more than this many times the best are not run: the profile would have to be that far off. */
const farRatio = 2;

/** Measures the models natively, then runs them from a device of another runtime, which is slower unevenly. */
export async function regretRows(
  context: Pick<BenchContext, "data" | "seed" | "say">,
  models: readonly string[],
): Promise<readonly Row[]> {
  const rows: Row[] = [];
  const folder = mkdtempSync(join(tmpdir(), "longshore-regret-"));
  try {
    for (const subject of subjects.filter(({ model }) => models.includes(model))) {
      const { model, file } = subject;
      const repository = file === undefined ? folder : sampleRepository();
      const own =
        file === undefined
          ? await measurePublished(context, folder, model, effort)
          : (await measureSamples([{ model, file }], mostCuts, context.say)).get(model);
      if (own) rows.push(...(await overLinks(subject, own, repository, context)));
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return rows;
}

async function overLinks(
  subject: Subject,
  own: MeasuredModel,
  repository: string,
  { say }: Pick<BenchContext, "say">,
): Promise<readonly Row[]> {
  const rows: Row[] = [];
  const profiles = profilesOf(new Map([[subject.model, own]]));
  const store = profiledStore(folderStore(repository), profiles);
  const device = openEngine({ store, tier: "device", runtime: "wasm" });
  const about = { id: "cloud", tier: "cloud", zone: "remote/cloud", microsPerSecond: 0 } as const;
  const server = await startEndpoint({ ...about, repository, profiles }, new AbortController().signal);
  try {
    for (const link of subject.links) {
      rows.push(...(await overLink(subject, own, device.engine, server, link, say)));
    }
  } finally {
    await server.close();
    await device.close();
  }
  return rows;
}

async function overLink(
  { learning, gapMs, rounds, mostRun }: Subject,
  { simulated: { description, profile }, inputs }: MeasuredModel,
  device: Endpoint,
  server: DemoEndpoint,
  { bitsPerSecond, delayMs }: Link,
  say: (line: string) => void,
): Promise<readonly Row[]> {
  const { name } = description;
  const input: Inputs = Object.fromEntries(inputs[0] ?? new Map());
  const clock = systemClock();
  const random = systemRandom();
  const link = linkBelief({ model: linkModel() });
  const trace = constantTrace(bitsPerSecond);
  await using proxy = await linkProxy({
    target: { port: server.port },
    up: trace,
    down: trace,
    delayMs,
  });
  const address = `http://127.0.0.1:${proxy.port}`;
  const about = serverInfo({ address, id: "cloud", tier: "cloud", zone: "remote/cloud", trust: "operated" });
  const endpoint = dial(about, { clock, random, observer: silentObserver, link });
  // Closing the offloader would close the device, which is used again.
  const local = wrapEndpoint(device, { close: async () => undefined });
  const offloader = createOffloader({
    local,
    endpoints: [endpoint],
    policy: standardPolicy(),
    clock,
    random,
    observer: silentObserver,
    links: () => link,
    defaults: { dataClass: "public" },
  });
  try {
    const variant = description.variants[0]?.name ?? "";
    const bucket = profile.variants.find((one) => one.variant === variant)?.buckets[0];
    if (!bucket) throw new Error(`${name} has no profile of ${variant}`);
    const candidates = planCandidates(variant, bucket, ["cloud"]);
    const here = candidates.find(({ plan }) => plan.endpoint === undefined);
    if (!here) throw new Error(`no plan runs ${name} here`);
    const run = async ({ plan }: PlanCandidate): Promise<number> => {
      const face = followPlan({
        clock,
        device,
        endpoint: () => endpoint,
        segment: wholeSegment(description),
        choose: () => plan,
        activeWatts: 0,
        radio: radios.wired,
      });
      return (await face.infer(name, input)).tookMs;
    };
    const hereMs: number[] = [];
    const warmMs = clock.nowMs() + warmingMs;
    while (hereMs.length <= rounds || clock.nowMs() < warmMs) hereMs.push(await run(here));
    const deviceSpeed = here.headMs / median(hereMs.slice(-rounds));
    const prices = {
      deviceSpeed,
      endpointSpeed: 1,
      upBitsPerSecond: bitsPerSecond,
      downBitsPerSecond: bitsPerSecond,
      roundTripMs: 2 * delayMs,
    };
    const chosen: string[] = [];
    let predictedMs = NaN;
    for (let request = 0; request < learning; request++) {
      const dueMs = clock.nowMs() + gapMs;
      const result = await offloader.infer(name, input);
      chosen.push(planName(planOf(result, device.info.id)));
      const last = result.plans.at(-1);
      if (last) predictedMs = meanOf(last.predicted.completionMs);
      await sleep(clock, Math.max(0, dueMs - clock.nowMs()));
    }
    const choice = mostOften(chosen.slice(-lastOnes));
    const fitted = candidates
      .map((candidate) => ({ candidate, ms: expectedMs(candidate, prices), name: planName(candidate.plan) }))
      .sort((a, b) => a.ms - b.ms);
    const bestMs = fitted[0]?.ms ?? 0;
    const tried = fitted.filter(
      (one, index) => one.name === choice || (index < mostRun && one.ms <= farRatio * bestMs),
    );
    const took = new Map<string, number[]>(tried.map((one) => [one.name, []]));
    for (let round = 0; round < rounds; round++) {
      const order = round % 2 === 0 ? tried : tried.toReversed();
      for (const one of order) took.get(one.name)?.push(await run(one.candidate));
    }
    const rows = tried.map((one) => ({
      part: "regret",
      model: name,
      bitsPerSecond,
      plan: one.name,
      chosen: one.name === choice,
      planned: one === fitted[0],
      fittedMs: one.ms,
      executedMs: median((took.get(one.name) ?? []).slice(1)),
      roundsMs: (took.get(one.name) ?? [])
        .slice(1)
        .map((ms) => ms.toFixed(3))
        .join(" "),
      ...(one.name === choice ? { predictedMs } : {}),
    }));
    report(name, bitsPerSecond, deviceSpeed, rows, candidates.length, say);
    return rows;
  } finally {
    await offloader.close();
  }
}

function mostOften(names: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  return [...counts].sort(([, a], [, b]) => b - a)[0]?.[0] ?? "";
}

/** The times of the rounds of a plan. */
const roundsOf = (row: Row): readonly number[] => String(row["roundsMs"]).split(" ").map(Number);

/**
 * The author of a decision: the offloader by its beliefs about link, endpoints and device, or the planner that knows their true
 * values and only has the fitted model wrong.
 */
type Decider = "chosen" | "planned";

/** Executed time of the plan decided for over that of the best executed one, less 1, in some of the rounds. */
function regretIn(rows: readonly Row[], by: Decider, rounds: readonly number[]): number {
  const executed = (list: readonly Row[]): number =>
    Math.min(
      ...list.map((row) => {
        const took = roundsOf(row);
        return median(rounds.map((round) => took[round] ?? NaN));
      }),
    );
  return executed(rows.filter((row) => row[by] === true)) / executed(rows) - 1;
}

/** Of one model at one rate. */
function regretOf(rows: readonly Row[], by: Decider): number {
  return regretIn(rows, by, [...(rows[0] ? roundsOf(rows[0]) : []).keys()]);
}

/** The same for people, with a 95 % interval by bootstrap over the rounds, which all plans were in. */
function regretText(rows: readonly Row[], by: Decider): string {
  const rounds = [...(rows[0] ? roundsOf(rows[0]) : []).keys()];
  const random = seededRandom(1);
  const drawn = Array.from({ length: 1000 }, () =>
    regretIn(
      rows,
      by,
      rounds.map(() => Math.floor(random.next() * rounds.length)),
    ),
  );
  const percents = [regretOf(rows, by), quantile(drawn, 0.025), quantile(drawn, 0.975)].map((one) =>
    (100 * one).toFixed(1),
  );
  return `${percents[0]} % (95 %: ${percents[1]} to ${percents[2]})`;
}

function report(
  name: string,
  rate: number,
  deviceSpeed: number,
  rows: readonly Row[],
  plans: number,
  say: (line: string) => void,
): void {
  say(
    `  ${name} at ${rate / 1e6} Mbit/s, device at ${deviceSpeed.toFixed(2)} of the profile's speed: ${rows.length} of ${plans} plans run, regret of the offloader's (*) ${regretText(rows, "chosen")}, of the fitted model's (+) ${regretText(rows, "planned")}`,
  );
  for (const row of rows.toSorted((a, b) => Number(a["executedMs"]) - Number(b["executedMs"]))) {
    say(
      `   ${row["chosen"] === true ? "*" : " "}${row["planned"] === true ? "+" : " "} ${String(row["plan"]).padEnd(36)} fitted ${Number(row["fittedMs"]).toFixed(1).padStart(8)} ms, executed ${Number(row["executedMs"]).toFixed(1).padStart(8)} ms`,
    );
  }
}

/** The regrets of each model at each rate, and how far fitted times are from executed ones. */
export function regretFigures(rows: readonly Row[]): Readonly<Record<string, number>> {
  const scenes = new Map<string, Row[]>();
  for (const row of rows) {
    const key = `${String(row["model"])} ${String(row["bitsPerSecond"])}`;
    scenes.set(key, [...(scenes.get(key) ?? []), row]);
  }
  const regrets = (by: Decider): number[] => Array.from(scenes.values(), (scene) => regretOf(scene, by));
  const errors = rows.map((row) => Math.abs(Number(row["fittedMs"]) / Number(row["executedMs"]) - 1));
  return {
    worstExecutedRegret: Math.max(...regrets("chosen")),
    medianExecutedRegret: median(regrets("chosen")),
    worstPlannedRegret: Math.max(...regrets("planned")),
    medianPlannedRegret: median(regrets("planned")),
    regretScenes: scenes.size,
    medianFittedError: median(errors),
    worstFittedError: Math.max(...errors),
  };
}
