/** `bench reality`: the same traces in the simulation and over real sockets, with real servers and the real offloader. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { type Endpoint, seededRandom } from "@longshore/core";
import {
  allowedPlans,
  linkShapes,
  planName,
  poissonArrivals,
  readMahimahi,
  readTwoColumns,
  type Simulation,
  simulateOurs,
  simulatePlan,
  simulationOf,
  syntheticTrace,
  type Trace,
} from "@longshore/lab";
import { folderStore, systemClock } from "@longshore/nodejs";
import { sampleRepository } from "@longshore/samples";
import { openEngine, profiledStore, startPlace } from "longshore/measure";
import { type Bench, chosenOf, mean, type Measured, numberOf, quantile, type Row } from "./harness.ts";
import { measureSamples, profilesOf, wholeRunMs } from "./measure-samples.ts";
import { type ExchangeCosts, replayReally, warmUp } from "./reality/replay.ts";
import { slowDevice } from "./reality/slow-device.ts";
import { type RealitySubject, realitySubjects } from "./reality/subjects.ts";

/** Time before the first request: the relay and the offloader stand, and nothing is known of the link. */
const leadMs = 500;
const notCounted = 5;
/** Cuts that are measured inside a model at most. */
const mostCuts = 6;

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

interface Times {
  readonly tookMs: readonly number[];
  readonly plans: readonly string[];
}

function shares(plans: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const plan of plans) counts.set(plan, (counts.get(plan) ?? 0) + 1);
  return [...counts]
    .sort(([, a], [, b]) => b - a)
    .slice(0, 3)
    .map(([name, count]) => `${name} ${Math.round((100 * count) / plans.length)} %`)
    .join(", ");
}

const off = (real: number, simulated: number): number => Math.abs(simulated / real - 1);

export const bench: Bench = {
  name: "reality",
  about: "the same traces in the simulation and over real sockets, with real servers and the real offloader",
  options: ["--seconds N", "--only MODEL/LINK,..."],
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
    const measured = await measureSamples(subjects, mostCuts, say);
    const profiles = profilesOf(measured);
    const clock = systemClock();
    const rows: Row[] = [];
    const errors: { mean: number; p99: number }[] = [];
    const store = profiledStore(folderStore(sampleRepository()), profiles);
    const { engine, close } = openEngine({ store, tier: "device" });
    const server = await startPlace(
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
    const simulationFor = (subject: RealitySubject, link: Link, costs?: ExchangeCosts): Simulation => {
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
      return {
        ...simulation,
        places: simulation.places.map((place) => ({ ...place, ...costs })),
        inputs: Object.fromEntries(found.inputs[0] ?? new Map()),
      };
    };

    const deviceFor = ({ model, device: { speed } }: Simulation): Endpoint =>
      slowDevice(engine, model.profile, { speed, clock, random: seededRandom(seed) });

    /** One way of deciding, in both worlds. */
    function compare(subject: RealitySubject, link: Link, way: string, real: Times, simulated: Times): void {
      const realMean = mean(real.tookMs);
      const simulatedMean = mean(simulated.tookMs);
      const realP99 = quantile(real.tookMs, 0.99);
      const simulatedP99 = quantile(simulated.tookMs, 0.99);
      errors.push({ mean: off(realMean, simulatedMean), p99: off(realP99, simulatedP99) });
      say(
        `  ${subject.model.padEnd(10)} ${link.name.padEnd(28)} ${way.padEnd(26)} real ${realMean.toFixed(0)} / ${quantile(real.tookMs, 0.5).toFixed(0)} / ${realP99.toFixed(0)}  simulated ${simulatedMean.toFixed(0)} / ${quantile(simulated.tookMs, 0.5).toFixed(0)} / ${simulatedP99.toFixed(0)}  off by ${(100 * off(realMean, simulatedMean)).toFixed(1)} % and ${(100 * off(realP99, simulatedP99)).toFixed(1)} %`,
      );
      say(`      real: ${shares(real.plans)}; simulated: ${shares(simulated.plans)}`);
      for (const [world, times] of [
        ["real", real],
        ["simulated", simulated],
      ] as const) {
        times.tookMs.forEach((tookMs, index) =>
          rows.push({
            model: subject.model,
            link: link.name,
            way,
            world,
            index,
            tookMs,
            plan: times.plans[index] ?? "",
          }),
        );
      }
    }

    /** All links of a subject under both ways of deciding, a few at once. */
    async function compareAll(subject: RealitySubject): Promise<void> {
      const [any] = chosen(subject);
      if (!any) return;
      const plans = allowedPlans(simulationFor(subject, any));
      const costs = await warmUp(simulationFor(subject, any), engine, server, plans);
      const { handlingMs, envelope } = costs;
      say(
        `  ${subject.model}: software adds ${quantile(handlingMs, 0.5).toFixed(1)} ms to an exchange (p95 ${quantile(handlingMs, 0.95).toFixed(1)}), ${envelope.up} and ${envelope.down} bytes travel around tensors`,
      );
      const control = plans.map(({ plan }) => plan).find((plan) => planName(plan) === subject.control);
      if (!control) throw new Error(`${subject.model} has no plan ${subject.control}`);
      const counted = <T>(all: readonly T[]): readonly T[] => all.slice(notCounted);
      const timesOf = (all: readonly { readonly tookMs: number; readonly plan: string }[]): Times => ({
        tookMs: counted(all).map(({ tookMs }) => tookMs),
        plans: counted(all).map(({ plan }) => plan),
      });
      const replays = [control, undefined].flatMap((plan) =>
        chosen(subject).map((link) => ({ plan, link, simulation: simulationFor(subject, link, costs) })),
      );
      for (let from = 0; from < replays.length; from += subject.atOnce) {
        const now = replays.slice(from, from + subject.atOnce);
        const real = await Promise.all(
          now.map(({ plan, simulation }) => replayReally(simulation, deviceFor(simulation), server, plan)),
        );
        for (const [index, { plan, link, simulation }] of now.entries()) {
          const rows = real[index] ?? [];
          const lost = rows.find(({ outcome }) => outcome !== "answered");
          if (lost) say(`      lost: ${lost.outcome}: ${lost.because}`);
          const simulated = await (plan ? simulatePlan(simulation, plan) : simulateOurs(simulation));
          compare(subject, link, plan ? subject.control : "longshore", timesOf(rows), timesOf(simulated));
        }
      }
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
