import { describe, expect, it } from "vitest";
import { type CutProfile, type FrameResult, type Inputs, type StreamLimits, tensorOf } from "@longshore/core";
import { sleep } from "@longshore/core/internal";
import { loadingParts } from "../fixtures/loading-parts.ts";
import { endpointInfo, toyModel } from "../fixtures/toy-model.ts";
import { constantTrace } from "../trace/index.ts";
import {
  type OffloadWorld,
  offloadWorld,
  type OffloadWorldParts,
  type SimulatedEndpoint,
  type SimulatedModel,
  type VirtualClock,
} from "./index.ts";

const model = toyModel();
const x = tensorOf("x", "UINT8", [1, 100_000], new Uint8Array(100_000));

/** A device of 100 ms a frame and an edge box at the end of a link. */
function store(edgeSpeed: number, bitsPerSecond: number, wrap?: OffloadWorldParts["wrap"]): OffloadWorld {
  const trace = constantTrace(bitsPerSecond);
  return offloadWorld({
    models: [model],
    seed: 5,
    device: { speed: 1, info: endpointInfo("device", "device") },
    endpoints: [{ info: endpointInfo("edge", "edge"), speed: edgeSpeed, up: trace, down: trace, delayMs: 5 }],
    defaults: { dataClass: "public" },
    ...(wrap ? { wrap } : {}),
  });
}

async function drain(
  { clock, offloader }: OffloadWorld,
  frames: Iterable<Inputs> | AsyncIterable<Inputs>,
  limits: StreamLimits,
): Promise<readonly FrameResult[]> {
  const results: FrameResult[] = [];
  const work = (async () => {
    for await (const one of offloader.stream("toy", frames, limits)) results.push(one);
  })();
  await clock.runUntil(work);
  return results;
}

const framesOf = (count: number): readonly Inputs[] => Array.from({ length: count }, () => ({ x }));

/** Frames a second once it runs: the first frames teach it the endpoint and the link. */
async function rate(world: OffloadWorld, limits: StreamLimits = {}): Promise<number> {
  await drain(world, framesOf(40), limits);
  const startedMs = world.clock.nowMs();
  const results = await drain(world, framesOf(60), limits);
  expect(results.map(({ frame }) => frame)).toEqual(Array.from({ length: 60 }).map((_none, at) => at));
  expect(results.every(({ kind }) => kind === "answered")).toBe(true);
  return (60 * 1000) / (world.clock.nowMs() - startedMs);
}

/** An inner cut: bytes that cross it, milliseconds before and after it. */
type Inner = readonly [id: string, bytes: number, headMs: number, tailMs: number];

/**
 * Two equal endpoints, and a model of 100 ms whose heavy input may not leave the device, while the crossings at these cuts may.
 */
function heavyWorld(inner: readonly Inner[], parts: Partial<OffloadWorldParts> = {}): OffloadWorld {
  const [cheap] = model.profile.variants;
  const bucket = cheap?.buckets[0];
  const [start, within, end] = bucket?.cuts ?? [];
  if (!cheap || !bucket || !start || !within || !end) throw new Error("the toy model has an inner cut");
  const sized = (cut: CutProfile, [id, bytes, headMs, tailMs]: Inner): CutProfile => ({
    ...cut,
    cut: { ...cut.cut, id, crossing: cut.cut.crossing.map((one) => ({ ...one, shape: [1, bytes] })) },
    headMs: [headMs],
    tailMs: [tailMs],
    codings: cut.codings.map((coding) => ({ ...coding, bytes })).slice(0, 1),
  });
  const cuts = [sized(start, ["start", heavyBytes, 0, 100]), ...inner.map((one) => sized(within, one)), end];
  const upTo = { bytes: 2 * heavyBytes };
  const typical = { bytes: heavyBytes };
  const buckets = [{ ...bucket, upTo, typical, legalCuts: cuts.length, cuts }];
  const heavy: SimulatedModel = {
    description: {
      ...model.description,
      inputs: [{ name: "x", datatype: "UINT8", shape: [1, heavyBytes] }],
      variants: model.description.variants.slice(0, 1),
    },
    profile: { ...model.profile, variants: [{ ...cheap, buckets }] },
  };
  const trace = constantTrace(1e9);
  return offloadWorld({
    models: [heavy],
    seed: 5,
    device: { speed: 1, info: endpointInfo("device", "device") },
    endpoints: [{ info: endpointInfo("edge", "edge"), speed: 1, up: trace, down: trace, delayMs: 1 }],
    defaults: { dataClass: "public" },
    policy: {
      ignoresEndpoint: true,
      decide: ({ zone, reveals }) =>
        zone === "device" || reveals !== "input" ? { allow: true } : { allow: false, rule: "it stays" },
    },
    ...parts,
  });
}

const heavyBytes = 2_000_000;
const heavyInput = new Uint8Array(heavyBytes);
const heavyFrames = (count: number): readonly Inputs[] =>
  Array.from({ length: count }, () => ({ x: tensorOf("x", "UINT8", [1, heavyBytes], heavyInput) }));

/** Frames a second of each plan of the toy model with all stages busy: the busiest stage decides. */
function pipelinedRates(edgeSpeed: number, bitsPerSecond: number): readonly number[] {
  const sendMs = (bytes: number): number => (8000 * bytes) / bitsPerSecond;
  const plans = [
    [100],
    [sendMs(100_000), 100 / edgeSpeed],
    [1, sendMs(50_000), 100 / edgeSpeed],
    [40, sendMs(20_000), 60 / edgeSpeed],
    [41, sendMs(10_000), 60 / edgeSpeed],
  ];
  return plans.map((stages) => 1000 / Math.max(...stages));
}

describe("a stream over two endpoints", () => {
  it("keeps both busy where they are alike: far more frames a second than either alone", async () => {
    // 10 frames a second here; 10 there, over a link that carries a frame in 16 ms.
    const both = await rate(store(1, 50e6));
    const alone = await rate(store(1, 50e6), { zones: ["device"] });
    expect(alone).toBeLessThan(10.1);
    expect(both / alone).toBeGreaterThan(1.6);
  });

  it("finds out that a link is quick when the plan of its first belief sends it next to nothing", async () => {
    // Only the crossing at an inner cut may leave, 800 kB of it, or 2 kB just before the end.
    const world = heavyWorld([
      ["c1", 800_000, 40, 60],
      ["c9", 2000, 97, 3],
    ]);
    await drain(world, heavyFrames(60), {});
    const startedMs = world.clock.nowMs();
    await drain(world, heavyFrames(60), {});
    // One endpoint makes 10 frames a second, the better cut 16.7 with both busy.
    expect((60 * 1000) / (world.clock.nowMs() - startedMs)).toBeGreaterThan(14);
  });

  it("is about as fast as the best plan pipelined, or faster by mixing plans, for any link and endpoint", async () => {
    for (const megabits of [1, 4, 60]) {
      for (const speed of [0.5, 3]) {
        const best = Math.max(...pipelinedRates(speed, megabits * 1e6));
        const got = await rate(store(speed, megabits * 1e6));
        expect(got / best, `${megabits} Mbit/s, edge ${speed}`).toBeGreaterThan(0.8);
      }
    }
  });

  it("keeps both busy where this device has more to do than runs, of which no plan says anything", async () => {
    const hiddenMs = 60;
    let free: Promise<void> = Promise.resolve();
    const busier = (device: SimulatedEndpoint, clock: VirtualClock): SimulatedEndpoint => ({
      ...device,
      async infer(...given) {
        const cameMs = clock.nowMs();
        const before = free;
        let done = (): void => undefined;
        free = new Promise((resolve) => (done = resolve));
        await before;
        const queueMs = clock.nowMs() - cameMs;
        const response = await device.infer(...given);
        // It is still at work when the answer is out.
        void sleep(clock, hiddenMs).then(done);
        const { account } = response;
        const stages = [{ stage: "queue" as const, name: "cores", tookMs: queueMs }, ...account.stages];
        return { ...response, account: { ...account, stages } };
      },
    });
    const world = store(1, 50e6, (endpoint, clock) =>
      endpoint.info.id === "device" ? busier(endpoint, clock) : endpoint,
    );
    // 6.25 frames a second here, 10 there; 9.3 where the device is taken at its word.
    expect(await rate(world)).toBeGreaterThan(12);
  });

  it("follows when the endpoint dies and when it comes back, without losing a frame", async () => {
    const world = store(4, 50e6);
    await drain(world, framesOf(30), {});
    const edge = world.endpoints.get("edge")!.endpoint;
    edge.faults.down = true;
    const without = await drain(world, framesOf(30), {});
    expect(without.every(({ kind }) => kind === "answered")).toBe(true);
    edge.faults.down = false;
    await world.clock.advance(30_000);
    const again = await drain(world, framesOf(60), {});
    expect(again.every(({ kind }) => kind === "answered")).toBe(true);
    expect(again.some((one) => one.kind === "answered" && one.result.where === "edge")).toBe(true);
  });

  it("lets no frame wait while a part of its best plan is being loaded", async () => {
    const loadMs = 3000;
    const { loads, wrap } = loadingParts(loadMs);
    const world = store(4, 50e6, wrap);
    const results = await drain(world, framesOf(120), {});
    const tookMs = results.map((one) => (one.kind === "answered" ? one.result.tookMs : Infinity));
    // Nothing is loaded when the first window begins; from then on only the whole model here is, until more is.
    expect(Math.min(...tookMs.slice(0, 4))).toBeGreaterThan(loadMs);
    expect(Math.max(...tookMs.slice(8))).toBeLessThan(loadMs / 2);
    const where = results.map((one) => (one.kind === "answered" ? one.result.where : ""));
    expect(where.slice(-20)).toContain("edge");
    expect(loads.length).toBeGreaterThan(1);
  });

  it("loads no further cut whose gain is below the cost of loading on a core that all frames share", async () => {
    const { loads, wrap } = loadingParts(1500, 1);
    const inner: readonly Inner[] = [
      ["c1", 800_000, 10, 102],
      ["c2", 800_000, 24, 92],
      ["c3", 400_000, 36, 76],
      ["c4", 200_000, 46, 68],
      ["c5", 200_000, 64, 52],
    ];
    const world = heavyWorld(inner, { wrap, logSpread: 0.25 });
    await drain(world, heavyFrames(300), {});
    const startedMs = world.clock.nowMs();
    await drain(world, heavyFrames(300), {});
    // One endpoint makes 10 a second.
    expect((300 * 1000) / (world.clock.nowMs() - startedMs)).toBeGreaterThan(16);
    expect(loads.filter((one) => one.startsWith("edge")).length).toBeLessThanOrEqual(2);
  });

  it("gives each frame a key of its own, since a key names one request", async () => {
    const keys: (string | undefined)[] = [];
    const world = store(20, 1e9, (endpoint) => ({
      ...endpoint,
      infer(request, call, progress) {
        if (endpoint.info.id === "device") keys.push(call.idempotencyKey);
        return endpoint.infer(request, call, progress);
      },
    }));
    await drain(world, framesOf(3), { zones: ["device"], idempotencyKey: "day-7" });
    expect(keys).toEqual(["day-7.0", "day-7.1", "day-7.2"]);
  });

  it("answers frames under way when the offloader is closed, then says so", async () => {
    const world = store(1, 50e6);
    const answered: number[] = [];
    const work = (async () => {
      for await (const { kind, frame } of world.offloader.stream("toy", framesOf(100), {}))
        if (kind === "answered") answered.push(frame);
    })();
    const ended = expect(work).rejects.toMatchObject({ reason: "shutting-down" });
    await world.clock.advance(1000);
    const before = answered.length;
    await world.clock.runUntil(world.offloader.close());
    await world.clock.runUntil(ended);
    // All that its window held.
    expect(answered).toEqual(Array.from({ length: before + 4 }, (_none, at) => at));
  });

  it("refuses frames once the offloader is closed", async () => {
    const world = store(1, 50e6);
    await world.clock.runUntil(world.offloader.close());
    await expect(drain(world, framesOf(3), {})).rejects.toMatchObject({ reason: "shutting-down" });
  });
});
