import { expect, it } from "vitest";
import {
  createOffloader,
  type LinkLearner,
  linkBelief,
  linkModel,
  seededRandom,
  silentObserver,
  standardPolicy,
  tensorOf,
} from "@longshore/core";
import { endpointInfo, toyModel } from "../fixtures/toy-model.ts";
import { emulatedLink } from "../link/index.ts";
import { constantTrace, poissonArrivals } from "../trace/index.ts";
import { fifoSlots, sharedProcessor, stepSlots } from "../slots/index.ts";
import { runScenario, simulatedEndpoint, virtualClock } from "./index.ts";

const inputBytes = 1000;
const hangsAtMs = 3000;

interface Scene {
  readonly seeds: readonly number[];
  readonly perSecond: number;
  /** Runs take mostly 60 to 160 ms divided by this. */
  readonly speed: number;
  /** Cores that all servers share, of which each takes one at a time; default: each has its own. */
  readonly cores?: number;
  readonly confirm: boolean;
  readonly hangs: boolean;
  readonly endsAtMs: number;
}

/**
 * The times of requests of several clients, one for each seed, before one of three servers that they share falls silent, and
 * while it is.
 */
async function throughSilence({ seeds, perSecond, speed, cores, confirm, hangs, endsAtMs }: Scene): Promise<{
  readonly before: readonly number[];
  readonly after: readonly number[];
  readonly runs: number;
}> {
  const clock = virtualClock();
  const model = linkModel();
  const trace = constantTrace(1e9);
  const processor = cores === undefined ? undefined : sharedProcessor({ clock, cores });
  const servers = ["a", "b", "c"].map((id) => ({
    id,
    slots: processor ? stepSlots({ clock, cores: 1, processor }) : fifoSlots({ clock, count: 1 }),
  }));
  const asker = (from: number) => {
    const learners = new Map<string, LinkLearner>();
    const endpoints = servers.map(({ id, slots }, index) => {
      const random = seededRandom(from + 101 * index);
      const learner = linkBelief({ model });
      learners.set(id, learner);
      const link = emulatedLink({ up: trace, down: trace, delayMs: 0.3, jitterMs: 0.2, clock, random });
      const about = { models: [toyModel(inputBytes)], speed, logSpread: 0.5, slots };
      return simulatedEndpoint({ ...about, info: endpointInfo(id, "edge"), clock, random, link, learner });
    });
    const offloader = createOffloader({
      endpoints,
      policy: standardPolicy(),
      clock,
      random: seededRandom(from),
      observer: silentObserver,
      links: (id) => learners.get(id),
      checks: { sampleRatio: 0 },
      defaults: { confirm, dataClass: "public" },
    });
    const x = tensorOf("x", "UINT8", [1, inputBytes], new Uint8Array(inputBytes));
    const rows = runScenario({
      offloader,
      clock,
      requests: poissonArrivals(perSecond, (perSecond * endsAtMs) / 1000, from).map((atMs) => ({
        atMs,
        model: "toy",
        inputs: { x },
        limits: { deadlineMs: 5000 },
      })),
      events: hangs
        ? [{ atMs: hangsAtMs, what: "hang", happen: () => void (endpoints[0]!.faults.hang = true) }]
        : [],
    });
    return { rows, endpoints, offloader };
  };
  const askers = seeds.map(asker);
  const rows = (await clock.runUntil(Promise.all(askers.map((one) => one.rows)))).flat();
  await clock.runUntil(Promise.all(askers.map(({ offloader }) => offloader.close())));
  expect(rows.filter(({ outcome }) => outcome !== "answered")).toEqual([]);
  const took = (fromMs: number, toMs: number): readonly number[] =>
    rows.flatMap(({ atMs, tookMs }) => (atMs >= fromMs && atMs < toMs ? [tookMs] : []));
  const accepted = askers.flatMap(({ endpoints }) => endpoints.map(({ counts }) => counts.accepted));
  return {
    before: took(1000, hangsAtMs),
    after: took(hangsAtMs, Infinity),
    runs: accepted.reduce((total, count) => total + count, 0) / rows.length,
  };
}

it.each([1, 2])("two servers of three confirm soon while the third is silent (seed %i)", async (seed) => {
  const { before, after, runs } = await throughSilence({
    seeds: [seed, seed + 7919],
    perSecond: 40,
    speed: 12.5,
    confirm: true,
    hangs: true,
    endsAtMs: 5000,
  });
  const median = before.toSorted((one, other) => one - other)[Math.floor(before.length / 2)]!;
  // Later than any of the last answers, and 100 ms at least, it is known; then what waits there runs elsewhere.
  expect(Math.max(...after) - median).toBeLessThan(200);
  expect(runs).toBeLessThan(2.25);
});

it.each([9, 10])(
  "they do so, too, where all cores are busy, though much is expected of the silent one (seed %i)",
  async (seed) => {
    const { before, after, runs } = await throughSilence({
      seeds: [seed, seed + 7919],
      perSecond: 40,
      speed: 10,
      cores: 2,
      confirm: true,
      hangs: true,
      endsAtMs: 5000,
    });
    const median = before.toSorted((one, other) => one - other)[Math.floor(before.length / 2)]!;
    expect(Math.max(...after) - median).toBeLessThan(250);
    expect(runs).toBeLessThan(2.25);
  },
);

it.each([1, 2])("a lone client of three healthy servers rarely sends twice (seed %i)", async (seed) => {
  const alone = { seeds: [seed], perSecond: 3, speed: 1, confirm: false, hangs: false, endsAtMs: 200_000 };
  const { runs } = await throughSilence(alone);
  // One second run in ten is what the budget for being quicker gives; those of requests taken to be lost come beside it.
  expect(runs).toBeLessThan(1.15);
});
