import { describe, expect, it } from "vitest";
import {
  createOffloader,
  type LinkLearner,
  linkBelief,
  type Offloader,
  seededRandom,
  silentObserver,
  tablePolicy,
  tensorOf,
} from "@longshore/core";
import { endpointInfo, toyModel } from "../fixtures/toy-model.ts";
import { emulatedLink, type EmulatedLink } from "../link/index.ts";
import { linkShapes, poissonArrivals, syntheticTrace } from "../trace/index.ts";
import {
  runScenarioOn,
  type ScenarioEvent,
  type ScenarioRow,
  simulatedEndpoint,
  type SimulatedEndpoint,
  virtualClock,
  type VirtualClock,
} from "./index.ts";

interface World {
  readonly clock: VirtualClock;
  readonly link: EmulatedLink;
  readonly edge: SimulatedEndpoint;
  readonly offloader: Offloader;
}

/** A slow device (400 ms), and an edge box (25 ms) at the end of an uplink that stalls; the real offloader over both. */
function storeWorld(seed: number): World {
  const clock = virtualClock();
  const random = seededRandom(seed);
  const trace = syntheticTrace({ ...linkShapes.stalling, meanBitsPerSecond: 20e6 }, seed);
  const link = emulatedLink({ up: trace, down: trace, delayMs: 10, clock, random });
  const learner: LinkLearner = linkBelief();
  const models = [toyModel()];
  const device = simulatedEndpoint({
    info: endpointInfo("device", "device"),
    models,
    clock,
    random,
    speed: 0.25,
  });
  const edge = simulatedEndpoint({
    info: endpointInfo("edge", "edge"),
    models,
    clock,
    random,
    speed: 4,
    link,
    learner,
  });
  const offloader = createOffloader({
    local: device,
    endpoints: [edge],
    policy: tablePolicy({ internal: { leastTrust: "listed" } }),
    clock,
    random,
    observer: silentObserver,
    links: (id) => (id === "edge" ? learner : undefined),
  });
  return { clock, link, edge, offloader };
}

async function run(
  seed: number,
  events: (world: World) => readonly ScenarioEvent[],
): Promise<readonly ScenarioRow[]> {
  const world = storeWorld(seed);
  const x = tensorOf("x", "UINT8", [1, 100_000], new Uint8Array(100_000));
  const rows = await runScenarioOn(world.clock, {
    offloader: world.offloader,
    requests: poissonArrivals(1, 60, seed).map((atMs) => ({
      atMs,
      model: "toy",
      inputs: { x },
      limits: { deadlineMs: 5000, dataClass: "internal" },
    })),
    events: events(world),
  });
  await world.clock.runUntil(world.offloader.close());
  return rows;
}

describe("the real offloader in the simulated world", () => {
  it("loses no request while the link is cut and the edge box dies, and replays exactly", async () => {
    const faults = ({ link, edge }: World): readonly ScenarioEvent[] => [
      { atMs: 15_000, what: "link cut", happen: () => link.cut() },
      { atMs: 25_000, what: "link back", happen: () => link.restore() },
      { atMs: 40_000, what: "edge box dies", happen: () => (edge.faults.down = true) },
    ];
    const rows = await run(3, faults);
    expect(rows).toHaveLength(60);
    expect(rows.filter(({ outcome }) => outcome !== "answered")).toEqual([]);
    const between = (fromMs: number, toMs: number): readonly ScenarioRow[] =>
      rows.filter(({ atMs }) => atMs >= fromMs && atMs < toMs);
    expect(between(2000, 15_000).filter(({ where }) => where === "edge").length).toBeGreaterThan(5);
    expect(between(15_500, 24_500).every(({ where }) => where === "device")).toBe(true);
    expect(between(40_500, 60_000).every(({ where }) => where === "device")).toBe(true);
    expect(await run(3, faults)).toEqual(rows);
  });
});
