import { expect, it } from "vitest";
import {
  createOffloader,
  type LinkLearner,
  linkBelief,
  linkModel,
  seededRandom,
  standardPolicy,
  tensorOf,
} from "@longshore/core";
import { endpointInfo, toyModel } from "../fixtures/toy-model.ts";
import { emulatedLink } from "../link/index.ts";
import { constantTrace, poissonArrivals } from "../trace/index.ts";
import { fifoSlots } from "../slots/index.ts";
import { runScenario, simulatedEndpoint, virtualClock } from "./index.ts";

const inputBytes = 1000;
const deadlineMs = 5000;

it.each([1, 2])(
  "an endpoint that dies after all have stalled loses no request that the other has time for (seed %i)",
  async (seed) => {
    const clock = virtualClock();
    const model = linkModel();
    const trace = constantTrace(1e9);
    const learners = new Map<string, LinkLearner>();
    const endpoints = ["a", "b"].map((id, index) => {
      const random = seededRandom(seed + 101 * index);
      const learner = linkBelief({ model });
      learners.set(id, learner);
      const link = emulatedLink({ up: trace, down: trace, delayMs: 0.3, jitterMs: 0.2, clock, random });
      const slots = fifoSlots({ clock, count: 200 });
      const about = { models: [toyModel(inputBytes)], speed: 12.5, logSpread: 0.5, slots };
      return simulatedEndpoint({ ...about, info: endpointInfo(id, "edge"), clock, random, link, learner });
    });
    let legs = 0;
    const offloader = createOffloader({
      endpoints,
      policy: standardPolicy(),
      clock,
      random: seededRandom(seed),
      observer: { record: ({ kind }) => void (legs += kind === "leg-started" ? 1 : 0) },
      links: (id) => learners.get(id),
      defaults: { dataClass: "public" },
    });
    const x = tensorOf("x", "UINT8", [1, inputBytes], new Uint8Array(inputBytes));
    const slow = (factor: number): void => {
      for (const { faults } of endpoints) faults.slowFactor = factor;
    };
    // Runs of about 10 ms take 1.5 s in six tenths of each second.
    const stalls = [1, 2, 3, 4].flatMap((second) => [
      { atMs: 1000 * second, what: "stall", happen: () => slow(150) },
      { atMs: 1000 * second + 600, what: "well", happen: () => slow(1) },
    ]);
    const arrivals = poissonArrivals(80, 420, seed);
    const rows = await clock.runUntil(
      runScenario({
        offloader,
        clock,
        requests: arrivals.map((atMs) => ({ atMs, model: "toy", inputs: { x }, limits: { deadlineMs } })),
        events: [
          ...stalls,
          { atMs: 4590, what: "dies", happen: () => void (endpoints[0]!.faults.down = true) },
        ],
      }),
    );
    await clock.runUntil(offloader.close());
    expect(endpoints[0]!.counts.failed).toBeGreaterThan(2);
    // No request begins at a healthy server that is believed to be too late; one that failed lately is tried nevertheless.
    const known = new Set<string>(["answered", "no-endpoint"]);
    const lost = rows.filter(({ outcome }) => !known.has(outcome));
    expect(lost.every(({ outcome }) => outcome === "no-answer" || outcome === "deadline-exceeded")).toBe(
      true,
    );
    expect(lost.length).toBeLessThan(0.01 * rows.length);
    expect(Math.max(...rows.map(({ tookMs }) => tookMs))).toBeLessThan(deadlineMs);
    // A hundred that are saved, a fifth of the requests and ten a second.
    expect(legs).toBeLessThan(arrivals.length * 1.2 + 160);
  },
);
