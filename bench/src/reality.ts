/** `bench decide --part reality`: the same traces in the simulation and over real sockets, with real servers and the real offloader. */
import { existsSync, readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { type Endpoint, type Result, seededRandom } from "@longshore/core";
import {
  allowedPlans,
  linkShapes,
  planName,
  poissonArrivals,
  readMahimahi,
  readTwoColumns,
  type Simulation,
  type StageSums,
  simulateOurs,
  simulatePlan,
  simulationOf,
  syntheticTrace,
  type Trace,
} from "@longshore/lab";
import { folderStore, loadMeter, systemClock } from "@longshore/nodejs";
import { sampleRepository } from "@longshore/samples";
import { openEngine, profiledStore, startEndpoint } from "longshore/measure";
import { type Bench, chosenOf, mean, type Measured, numberOf, quantile, type Row } from "./harness.ts";
import { measureSamples, profilesOf, wholeRunMs } from "./measure-samples.ts";
import { madeOnce } from "./reality/made-once.ts";
import { type ExchangeCosts, replayReally, warmUp } from "./reality/replay.ts";
import { asServed, atRest, type Served, stepsOf } from "./reality/served-steps.ts";
import { slowDevice } from "./reality/slow-device.ts";
import { type RealitySubject, realitySubjects } from "./reality/subjects.ts";

/** Time before the first request: the relay and the offloader stand, and nothing is known of the link. */
const leadMs = 500;
const notCounted = 5;
/** Cuts that are measured inside a model at most. */
const mostCuts = 6;

/** The measurements without a link. */
interface Known {
  readonly costs: ExchangeCosts;
  /** Of a pipeline, around the time of the replay. */
  readonly served?: Served;
}

interface Link {
  readonly name: string;
  readonly up: Trace;
  readonly down: Trace;
  readonly rttMs: number;
}

function linksOf(
  data: string | undefined,
  seed: number,
): { links: readonly Link[]; notRun: readonly string[] } {
  const folder = data && join(data, "traces");
  if (!folder || !existsSync(folder)) {
    const up = syntheticTrace(linkShapes.stalling, seed, 120_000, "stalling uplink");
    const thin = syntheticTrace(linkShapes.thin, seed, 120_000, "thin uplink");
    return {
      links: [up, thin].map((trace) => ({ name: trace.name, up: trace, down: trace, rttMs: 50 })),
      notRun: ["recorded links: no data folder (--data DIR); synthetic ones stand in"],
    };
  }
  const text = (path: string): string => readFileSync(join(folder, path), "utf8");
  const pair = (name: string, rttMs: number): Link => ({
    name: `${name}.up`,
    up: readMahimahi(`${name}.up`, text(`lte-mahimahi/${name}.up`)),
    down: readMahimahi(`${name}.down`, text(`lte-mahimahi/${name}.down`)),
    rttMs,
  });
  const alone = (path: string, rttMs: number): Link => {
    const trace = readTwoColumns(path, text(path));
    return { name: path, up: trace, down: trace, rttMs };
  };
  return {
    links: [
      pair("Verizon-LTE-short", 50),
      pair("TMobile-LTE-short", 40),
      pair("TMobile-UMTS-driving", 70),
      alone("broadband/puffer_220218_a", 20),
    ],
    notRun: [],
  };
}

/** The outcome of a request of the replay with that seed, in either world. */
interface Answer {
  readonly seed: number;
  readonly index: number;
  readonly tookMs: number;
  readonly stagesMs: StageSums;
  readonly plan: string;
}

/** The requests of a replay that count. */
function answersOf(rows: readonly Omit<Answer, "seed">[], seed: number): readonly Answer[] {
  return rows
    .slice(notCounted)
    .map(({ index, tookMs, stagesMs, plan }) => ({ seed, index, tookMs, stagesMs, plan }));
}

function timesOf(answers: readonly Answer[]): {
  readonly mean: number;
  readonly p99: number;
  /** Mean, median and p99. */
  readonly text: string;
} {
  const times = answers.map(({ tookMs }) => tookMs);
  const [average, p99] = [mean(times), quantile(times, 0.99)];
  const text = [average, quantile(times, 0.5), p99].map((one) => one.toFixed(0)).join(" / ");
  return { mean: average, p99, text };
}

function shares(answers: readonly Answer[]): string {
  const counts = new Map<string, number>();
  for (const { plan } of answers) counts.set(plan, (counts.get(plan) ?? 0) + 1);
  return [...counts]
    .sort(([, a], [, b]) => b - a)
    .slice(0, 3)
    .map(([name, count]) => `${name} ${Math.round((100 * count) / answers.length)} %`)
    .join(", ");
}

/** The mean time of each stage, in milliseconds, the longest first. */
function stageMeans(answers: readonly Answer[]): string {
  const sums = new Map<string, number>();
  for (const { stagesMs } of answers) {
    for (const [stage, tookMs] of Object.entries(stagesMs)) sums.set(stage, (sums.get(stage) ?? 0) + tookMs);
  }
  return [...sums]
    .map(([stage, sum]) => [stage, sum / answers.length] as const)
    .filter(([, tookMs]) => tookMs >= 0.5)
    .toSorted(([, a], [, b]) => b - a)
    .map(([stage, tookMs]) => `${stage} ${tookMs.toFixed(0)}`)
    .join(", ");
}

const off = (real: number, simulated: number): number => Math.abs(simulated / real - 1);

export const bench: Bench = {
  name: "reality",
  about: "the same traces in the simulation and over real sockets, with real servers and the real offloader",
  options: ["--seconds N", "--seeds N", "--only MODEL/LINK,..."],
  bars: { meanError: { atMost: 0.1 }, p99Error: { atMost: 0.2 } },
  async run({ data, seed, args, say }): Promise<Measured> {
    const lengthMs = 1000 * numberOf(args, "seconds", 120);
    const { links, notRun } = linksOf(data, seed);
    const linksFor = (subject: RealitySubject): readonly Link[] => links.slice(0, subject.links);
    const named = (subject: RealitySubject, link: Link): string => `${subject.model}/${link.name}`;
    const all = realitySubjects.flatMap((subject) => linksFor(subject).map((link) => named(subject, link)));
    const only = chosenOf(args, "only", all) ?? all;
    const chosen = (subject: RealitySubject): readonly Link[] =>
      linksFor(subject).filter((link) => only.includes(named(subject, link)));
    const subjects = realitySubjects.filter((subject) => chosen(subject).length > 0);
    const clock = systemClock();
    let phaseMs = clock.nowMs();
    /** Tells how long it was since the last one. */
    const phase = (name: string): void => {
      const nowMs = clock.nowMs();
      say(`      ${name} took ${((nowMs - phaseMs) / 1000).toFixed(0)} s`);
      phaseMs = nowMs;
    };
    const measured = await measureSamples(subjects, mostCuts, say);
    phase("measuring");
    const profiles = profilesOf(measured);
    const rows: Row[] = [];
    const errors: { mean: number; p99: number }[] = [];
    const store = profiledStore(folderStore(sampleRepository()), profiles);
    const { engine, close } = openEngine({ store, tier: "device" });
    const server = await startEndpoint(
      {
        id: "cloud",
        tier: "cloud",
        zone: "remote/cloud",
        repository: sampleRepository(),
        profiles,
        microsPerSecond: 0,
      },
      new AbortController().signal,
    );
    const simulationFor = (subject: RealitySubject, link: Link, seed: number, known?: Known): Simulation => {
      const found = measured.get(subject.model);
      if (!found) throw new Error(`${subject.model} was not measured`);
      const count = Math.ceil((lengthMs - leadMs) / subject.gapMs);
      const arrivalsMs = poissonArrivals(1000 / subject.gapMs, count, seed).map((atMs) => atMs + leadMs);
      const simulation = simulationOf(
        {
          model: subject.model,
          seed,
          notCounted,
          device: { speed: wholeRunMs(found.simulated) / subject.deviceMs, radio: "wired" },
          endpoints: [{ id: "cloud", tier: "cloud", zone: "remote/cloud", instances: 1, rtt: link.rttMs }],
        },
        { model: found.simulated, deviceSpeed: 1, links: () => link, arrivalsMs },
      );
      const { costs, served } = known ?? {};
      const stepwise = served
        ? { cores: availableParallelism(), speed: wholeRunMs(found.simulated) / served.wholeMs }
        : {};
      return {
        ...simulation,
        model: { ...simulation.model, ...(served ? { steps: served.steps } : {}) },
        endpoints: simulation.endpoints.map((endpoint) => ({ ...endpoint, ...costs, ...stepwise })),
        inputs: Object.fromEntries(found.inputs[0] ?? new Map()),
      };
    };

    const deviceFor = ({ model, device: { speed }, seed }: Simulation, device: Endpoint): Endpoint =>
      slowDevice(device, model, { speed, clock, random: seededRandom(seed) });

    /** One way of deciding, in both worlds. */
    function compare(
      subject: RealitySubject,
      link: Link,
      way: string,
      real: readonly Answer[],
      simulated: readonly Answer[],
    ): void {
      const inReality = timesOf(real);
      const inSimulation = timesOf(simulated);
      const error = {
        mean: off(inReality.mean, inSimulation.mean),
        p99: off(inReality.p99, inSimulation.p99),
      };
      errors.push(error);
      say(
        `  ${subject.model.padEnd(10)} ${link.name.padEnd(28)} ${way.padEnd(26)} real ${inReality.text}  simulated ${inSimulation.text}  off by ${(100 * error.mean).toFixed(1)} % and ${(100 * error.p99).toFixed(1)} %`,
      );
      say(`      real: ${shares(real)}; simulated: ${shares(simulated)}`);
      say(`      real: ${stageMeans(real)}; simulated: ${stageMeans(simulated)} ms`);
      for (const [world, times] of [
        ["real", real],
        ["simulated", simulated],
      ] as const) {
        times.forEach(({ stagesMs, ...answer }) => {
          const stages = Object.entries(stagesMs).map(([stage, tookMs]) => [`${stage}Ms`, tookMs]);
          rows.push({
            model: subject.model,
            link: link.name,
            way,
            world,
            ...answer,
            ...Object.fromEntries(stages),
          });
        });
      }
    }

    /** All links of a subject under both ways of deciding and with each seed, a few at once. */
    async function compareAll(subject: RealitySubject): Promise<void> {
      const [any] = chosen(subject);
      if (!any) return;
      const unknown = simulationFor(subject, any, seed);
      const plans = allowedPlans(unknown);
      const control = plans.map(({ plan }) => plan).find((plan) => planName(plan) === subject.control);
      if (!control) throw new Error(`${subject.model} has no plan ${subject.control}`);
      const device = madeOnce(engine);
      const costs = await warmUp(unknown, device, server, plans);
      say(
        `  ${subject.model}: software adds ${quantile(costs.handlingMs, 0.5).toFixed(1)} ms to an exchange (p95 ${quantile(costs.handlingMs, 0.95).toFixed(1)}), ${costs.envelope.up} and ${costs.envelope.down} bytes travel around tensors`,
      );
      phase(`warming up over ${plans.length} plans`);
      const rest = (): Promise<readonly Result[]> =>
        stepsOf(unknown.model.description)
          ? atRest(unknown, server, { variant: control.variant, gapMs: subject.gapMs })
          : Promise.resolve([]);
      const ways = [control, undefined].flatMap((plan) => chosen(subject).map((link) => ({ plan, link })));
      const count = numberOf(args, "seeds", subject.seeds);
      const seeds = Array.from({ length: count }, (_, index) => seed + index);
      // Replays of a seed have the same arrivals and send at the same instants: so as few as possible of them run at once.
      const replays = ways.flatMap((way) =>
        seeds.map((each) => ({ way, seed: each, real: new Array<Answer>(), known: { costs } as Known })),
      );
      // A process that is late measures this machine.
      using meter = loadMeter();
      let before = await rest();
      for (let from = 0; from < replays.length; from += subject.atOnce) {
        const now = replays.slice(from, from + subject.atOnce);
        await Promise.all(
          now.map(async ({ way, seed: each, real }) => {
            const simulation = simulationFor(subject, way.link, each, { costs });
            const replayed = await replayReally(simulation, deviceFor(simulation, device), server, way.plan);
            real.push(...answersOf(replayed, each));
            const lost = replayed.find(({ outcome }) => outcome !== "answered");
            if (lost) say(`      lost: ${lost.outcome}: ${lost.because}`);
          }),
        );
        // The speed of the machine changes within minutes: the simulation uses the speeds just before and just after.
        const after = await rest();
        const told = await asServed(unknown, device, [...before, ...after]);
        before = after;
        if (!told) continue;
        for (const one of now) one.known = { costs, served: told };
        const graphs = told.steps.filter(({ graph }) => graph !== undefined);
        say(
          `  ${subject.model}: the server takes ${told.wholeMs.toFixed(0)} ms, the profile says ${wholeRunMs(unknown.model).toFixed(0)}; ${graphs.map(({ id, tookMs, runs }) => `${id} ${tookMs.toFixed(0)} (${runs})`).join(", ")}`,
        );
      }
      const { loopDelayP50Ms, loopDelayP99Ms } = meter.read();
      say(
        `      timers here were late by ${loopDelayP50Ms.toFixed(1)} ms, once in a hundred times by ${loopDelayP99Ms.toFixed(1)} ms`,
      );
      phase(`replaying ${replays.length} times over sockets`);
      for (const way of ways) {
        const { plan, link } = way;
        const ofWay = replays.filter((one) => one.way === way);
        const simulated: Answer[] = [];
        for (const { seed: each, known } of ofWay) {
          const simulation = simulationFor(subject, link, each, known);
          const replayed = await (plan ? simulatePlan(simulation, plan) : simulateOurs(simulation));
          simulated.push(...answersOf(replayed, each));
        }
        const real = ofWay.flatMap((one) => one.real);
        compare(subject, link, plan ? subject.control : "longshore", real, simulated);
      }
      phase("simulating");
    }

    try {
      for (const subject of subjects) await compareAll(subject);
    } finally {
      await server.close();
      await close();
      await pause(50);
    }
    return {
      figures: {
        meanError: Math.max(...errors.map((one) => one.mean)),
        p99Error: Math.max(...errors.map((one) => one.p99)),
      },
      rows,
      notRun,
    };
  },
};
