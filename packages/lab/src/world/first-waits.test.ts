import { describe, expect, it } from "vitest";
import { type Plan, tensorOf } from "@longshore/core";
import { certain, type Connecting, meanOf } from "@longshore/core/internal";
import { loadingParts } from "../fixtures/loading-parts.ts";
import { endpointInfo, toyModel } from "../fixtures/toy-model.ts";
import { constantTrace } from "../trace/index.ts";
import { type OffloadWorld, offloadWorld, type SimulatedEndpoint } from "./index.ts";

const inputs = { x: tensorOf("x", "UINT8", [1, 100_000], new Uint8Array(100_000)) };
const loadMs = 1300;
const device = { speed: 1, info: endpointInfo("device", "device") };

/** The fields of an answer that the tests read. */
type Answered = Awaited<ReturnType<OffloadWorld["offloader"]["infer"]>>;

interface WorldOptions {
  readonly wrap: (endpoint: SimulatedEndpoint, clock: OffloadWorld["clock"]) => SimulatedEndpoint;
  /** Of the link to the edge server; no server without it. */
  readonly bitsPerSecond?: number;
}

/** A device on which the model takes 100 ms, and an edge server that is ten times as fast. */
function worldOf({ wrap, bitsPerSecond }: WorldOptions): OffloadWorld {
  const trace = bitsPerSecond === undefined ? undefined : constantTrace(bitsPerSecond);
  const edge = { info: endpointInfo("edge", "edge"), speed: 10, delayMs: 5 };
  return offloadWorld({
    models: [toyModel()],
    seed: 5,
    device,
    endpoints: trace ? [{ ...edge, up: trace, down: trace }] : [],
    defaults: { dataClass: "public" },
    wrap,
  });
}

/** The plan of a request before it is sent, and its answer. */
async function next({ clock, offloader }: OffloadWorld): Promise<{
  readonly plan: Plan;
  readonly predictedMs: number;
  readonly answer: Answered;
}> {
  const plan = await clock.runUntil(offloader.explain("toy", inputs));
  if ("infeasible" in plan) throw new Error(plan.because);
  const answer = await clock.runUntil(offloader.infer("toy", inputs));
  return { plan, predictedMs: meanOf(plan.predicted.completionMs), answer };
}

describe("a model that has to be loaded first", () => {
  it("is predicted with its load on this device, and without it once it is loaded", async () => {
    const world = worldOf({ wrap: loadingParts(loadMs, 0, true).wrap });
    const cold = await next(world);
    expect(cold.plan.because).toContain("with 1300 ms loading");
    expect(cold.predictedMs / cold.answer.tookMs).toBeGreaterThan(0.8);
    expect(cold.predictedMs / cold.answer.tookMs).toBeLessThan(1.25);
    const warm = await next(world);
    expect(warm.plan.because).not.toContain("loading");
    expect(warm.predictedMs).toBeLessThan(200);
  });

  it("is not waited for where a loaded server answers sooner, and is loaded meanwhile", async () => {
    const { wrap, loads } = loadingParts(loadMs, 0, true);
    // The way to the server takes about 400 ms: longer than a run here, and less than a load here.
    const world = worldOf({
      wrap: (endpoint, clock) => (endpoint.info.id === "device" ? wrap(endpoint, clock) : endpoint),
      bitsPerSecond: 2e6,
    });
    const first = await next(world);
    expect(first.answer.where).toBe("edge");
    expect(first.answer.tookMs).toBeLessThan(loadMs);
    expect(loads).toEqual(["device start..end"]);
    await world.clock.advance(2 * loadMs);
    const later = await next(world);
    expect(later.answer.where).toBe("device");
    expect(later.answer.tookMs).toBeLessThan(200);
  });

  it("keeps requests here while a server that would be faster loads it", async () => {
    const { wrap, loads } = loadingParts(loadMs, 0, true);
    const world = worldOf({
      wrap: (endpoint, clock) => (endpoint.info.id === "edge" ? wrap(endpoint, clock) : endpoint),
      bitsPerSecond: 50e6,
    });
    const first = await next(world);
    expect(first.plan.because).toContain("1300 ms loading there");
    expect(first.answer.where).toBe("device");
    expect(loads.some((one) => one.startsWith("edge"))).toBe(true);
    await world.clock.advance(2 * loadMs);
    for (let request = 0; request < 3; request++) await next(world);
    expect((await next(world)).answer.where).toBe("edge");
  });
});

describe("a server that never ran the model and has to load it", () => {
  it("is predicted with that load, and with the run of the profile", async () => {
    const { wrap } = loadingParts(loadMs, 0, true);
    const world = worldOf({
      wrap: (endpoint, clock) => {
        if (endpoint.info.id !== "edge") return endpoint;
        const cold = wrap(endpoint, clock);
        return {
          ...cold,
          // Without a profile and a run it knows the time of the load alone, and guesses the run.
          offers: async (...asked) =>
            (await cold.offers(...asked))
              .filter(({ segment }) => segment.from === "start" && segment.to === "end")
              .map((offer) => ({ ...offer, completionMs: certain(50_000), origin: "inferred" as const })),
        };
      },
      bitsPerSecond: 50e6,
    });
    const first = await next(world);
    expect(first.plan.because).toContain("1300 ms loading there");
    expect(first.answer.where).toBe("device");
    // The guess of 50 s is not believed: the profile says 10 ms.
    const [, ms] = /edge would take .* (\d+) ms without/.exec(first.plan.because) ?? [];
    expect(Number(ms)).toBeGreaterThan(loadMs);
    expect(Number(ms)).toBeLessThan(2 * loadMs);
  });
});

describe("a connection that has to be made first", () => {
  const connectMs = 150;

  it("is in the prediction, and the explanation names it", async () => {
    let connecting: Connecting | undefined = { roundTrips: 3, tookMs: connectMs };
    const world = worldOf({
      wrap: (endpoint) => ({
        ...endpoint,
        capabilities: { ...endpoint.capabilities, connecting: () => connecting },
      }),
      bitsPerSecond: 50e6,
    });
    connecting = undefined;
    for (let request = 0; request < 5; request++) await next(world);
    const open = await next(world);
    expect(open.plan.because).toContain("edge finishes");
    expect(open.plan.because).not.toContain("connecting");
    connecting = { roundTrips: 3, tookMs: connectMs };
    const closed = await next(world);
    expect(closed.plan.because).toMatch(/1\d\d ms connecting/);
    // A run here takes 100 ms.
    expect(closed.answer.where).toBe("device");
  });

  it("begins slowly after a pause, which is in the prediction until the link's belief has learned it", async () => {
    let connecting: Connecting | undefined;
    const world = worldOf({
      wrap: (endpoint) => ({
        ...endpoint,
        capabilities: { ...endpoint.capabilities, connecting: () => connecting },
      }),
      bitsPerSecond: 50e6,
    });
    for (let request = 0; request < 5; request++) await next(world);
    const open = await next(world);
    expect(open.plan.because).not.toContain("slow start");
    connecting = { roundTrips: 0, idleMs: 5000 };
    const idle = await next(world);
    const [, ms] = /([\d.]+) ms slow start of TCP/.exec(idle.plan.because) ?? [];
    expect(Number(ms)).toBeGreaterThan(5);
    expect(idle.predictedMs - open.predictedMs).toBeCloseTo(Number(ms), -1);
    for (let request = 0; request < 20; request++) await next(world);
    expect((await next(world)).plan.because).not.toContain("slow start");
  });

  it("takes round trips where none was made before", async () => {
    const world = worldOf({
      wrap: (endpoint) => ({
        ...endpoint,
        capabilities: { ...endpoint.capabilities, connecting: () => ({ roundTrips: 2 }) },
      }),
      bitsPerSecond: 100e6,
    });
    for (let request = 0; request < 5; request++) await next(world);
    const { plan } = await next(world);
    // Two round trips of at least 10 ms, and the rounds of a window that opens.
    const [, ms] = /([\d.]+) ms connecting/.exec(plan.because) ?? [];
    expect(Number(ms)).toBeGreaterThan(20);
    expect(Number(ms)).toBeLessThan(100);
  });
});
