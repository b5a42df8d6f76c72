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
import { sleep } from "@longshore/core/internal";
import { endpointInfo, toyModel } from "../fixtures/toy-model.ts";
import { type EmulatedLink, emulatedLink } from "../link/index.ts";
import { constantTrace, poissonArrivals } from "../trace/index.ts";
import { runScenario, type ScenarioEvent, simulatedEndpoint, virtualClock } from "./index.ts";

const inputBytes = 1000;
const faultMs = 4000;
/** When something happens to the endpoint in use, and when the last request comes. */
const beginsMs = [2000, 8000] as const;
const endsAtMs = 14_000;
const model = linkModel();

/**
 * The times of requests at two endpoints that each fall silent once while in use: first all packets to one are swallowed for
 * good, then the packets to and from the other do not pass, and do so later.
 */
async function throughBoth(seed: number, perSecond: number) {
  const clock = virtualClock();
  const random = seededRandom(seed);
  const learners = new Map<string, LinkLearner>();
  const trace = constantTrace(20e6);
  const servers = ["a", "b"].map((id) => {
    const learner = linkBelief({ model });
    learners.set(id, learner);
    const link = emulatedLink({ up: trace, down: trace, delayMs: 0.3, jitterMs: 0.2, clock, random });
    const state = { swallows: false, link };
    const carry: EmulatedLink["carry"] = (bytes, direction, options = {}) =>
      state.swallows ? sleep(clock, Infinity, options.abort) : link.carry(bytes, direction, options);
    const about = { models: [toyModel(inputBytes)], speed: 12.5, logSpread: 0.3, instances: 4 };
    const endpoint = simulatedEndpoint({
      ...about,
      info: endpointInfo(id, "edge"),
      clock,
      random,
      link: { ...link, carry },
      learner,
    });
    return Object.assign(state, { endpoint });
  });
  const endpoints = servers.map(({ endpoint }) => endpoint);
  await using offloader = createOffloader({
    endpoints,
    policy: standardPolicy(),
    clock,
    random,
    observer: silentObserver,
    links: (id) => learners.get(id),
    checks: { sampleRatio: 0 },
    defaults: { dataClass: "public" },
  });
  /** Since the last read. */
  const before = servers.map(() => 0);
  const mostUsed = (): (typeof servers)[number] => {
    const used = servers.map(({ endpoint }, at) => endpoint.counts.answered - (before[at] ?? 0));
    return servers[used.indexOf(Math.max(...used))]!;
  };
  const count = (): void =>
    servers.forEach(({ endpoint }, at) => void (before[at] = endpoint.counts.answered));
  const during = (
    atMs: number,
    fault: (server: (typeof servers)[number]) => () => void,
  ): readonly ScenarioEvent[] => {
    let mend = (): void => undefined;
    return [
      { atMs: atMs - 500, what: "look", happen: count },
      { atMs, what: "begin", happen: () => void (mend = fault(mostUsed())) },
      { atMs: atMs + faultMs, what: "end", happen: () => mend() },
    ];
  };
  const x = tensorOf("x", "UINT8", [1, inputBytes], new Uint8Array(inputBytes));
  const rows = await clock.runUntil(
    runScenario({
      offloader,
      clock,
      requests: poissonArrivals(perSecond, Math.ceil((perSecond * endsAtMs) / 1000), seed).map((atMs) => ({
        atMs,
        model: "toy",
        inputs: { x },
        limits: { deadlineMs: 5000 },
      })),
      events: [
        ...during(beginsMs[0], (server) => {
          server.swallows = true;
          return () => void (server.swallows = false);
        }),
        ...during(beginsMs[1], ({ link }) => {
          link.cut();
          return () => link.restore();
        }),
      ],
    }),
  );
  expect(rows.filter(({ outcome }) => outcome !== "answered")).toEqual([]);
  return rows;
}

it.each([
  [1, 10],
  [2, 40],
])(
  "no request is late by much at two endpoints that fall silent one after the other (seed %i, %i a second)",
  async (seed, perSecond) => {
    const rows = await throughBoth(seed, perSecond);
    const took = (fromMs: number, toMs: number): readonly number[] =>
      rows.flatMap(({ atMs, tookMs }) => (atMs >= fromMs && atMs < toMs ? [tookMs] : []));
    const before = took(1000, beginsMs[0]).toSorted((one, other) => one - other);
    const median = before[Math.floor(before.length / 2)]!;
    // A silence is known after 100 ms.
    expect(Math.max(...took(beginsMs[0], Infinity)) - median).toBeLessThan(150);
  },
);
