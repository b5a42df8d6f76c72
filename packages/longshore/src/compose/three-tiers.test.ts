import {
  type BucketProfile,
  type Call,
  codecSet,
  createOffloader,
  type CutProfile,
  type EndpointInfo,
  type Endpoint,
  type Limits,
  type Link,
  type ModelDescription,
  offloadEndpoint,
  oipEndpoint,
  type Random,
  rawCodec,
  type Result,
  seededRandom,
  silentObserver,
  standardPolicy,
  tablePolicy,
  tensorOf,
} from "@longshore/core";
import { certain, housekeepingCall } from "@longshore/core/internal";
import { chainMeasures, measured, planSplit } from "@longshore/graph";
import {
  constantTrace,
  emulatedLink,
  emulatedTransport,
  simulatedEndpoint,
  type SimulatedEndpoint,
  virtualClock,
  type VirtualClock,
} from "@longshore/lab";
import { createHandler } from "@longshore/server";
import { describe, expect, it } from "vitest";

/** A chain of nodes with a cut after each: times on the profile's machine and bytes that cross, at `start` first. */
interface Chain {
  readonly nodeMs: readonly number[];
  readonly bytes: readonly number[];
}

interface Tiers {
  /** Of device, edge and cloud, relative to the profile's machine. */
  readonly speeds: readonly [number, number, number];
  /** Device to edge, edge to cloud. */
  readonly bitsPerSecond: readonly [number, number];
  readonly delayMs: readonly [number, number];
}

const answerBytes = 40;

function modelOf({ nodeMs, bytes }: Chain): { description: ModelDescription; bucket: BucketProfile } {
  const total = nodeMs.reduce((sum, ms) => sum + ms, 0);
  const spec = (name: string, size: number) => ({ name, datatype: "UINT8", shape: [1, size] }) as const;
  const crossing = (at: number) =>
    at === 0
      ? spec("x", bytes[0] ?? 0)
      : at === nodeMs.length
        ? spec("y", answerBytes)
        : spec(`t${at}`, bytes[at] ?? 0);
  const cuts = Array.from({ length: nodeMs.length + 1 }, (_none, at): CutProfile => {
    const headMs = nodeMs.slice(0, at).reduce((sum, ms) => sum + ms, 0);
    const id = at === 0 ? "start" : at === nodeMs.length ? "end" : `c${at}`;
    return {
      cut: {
        id,
        crossing: [crossing(at)],
        reveals: at === 0 ? "input" : at === nodeMs.length ? "answer" : "features",
      },
      headMs: [headMs],
      tailMs: [total - headMs],
      headMemoryBytes: 0,
      codings: [
        {
          codecs: {},
          bytes: at === nodeMs.length ? answerBytes : (bytes[at] ?? 0),
          encodeMs: 0,
          decodeMs: 0,
          agreementRatio: 1,
          lossless: true,
        },
      ],
    };
  });
  return {
    description: {
      name: "chain",
      version: "1",
      digest: `sha256:${"4".repeat(64)}`,
      inputs: [crossing(0)],
      outputs: [crossing(nodeMs.length)],
      variants: [{ name: "base", body: { kind: "graph", file: "model.onnx" }, agreementRatio: 1 }],
      batching: { maxBatchSize: 0 },
      instances: [],
      labels: {},
      trusted: true,
      dataClass: "internal",
    },
    bucket: {
      upTo: { bytes: 1e9 },
      typical: { bytes: bytes[0] ?? 1 },
      runs: 3,
      legalCuts: cuts.length,
      cuts,
    },
  };
}

/** A link that is known for sure: the test is about the offers made from it. */
function knownLink({ bitsPerSecond, delayMs }: Tiers, hop: 0 | 1): Link {
  return {
    transferMs: (bytes, _direction, nowMs) =>
      certain(delayMs[hop] + (8000 * bytes) / bitsPerSecond[hop], {
        observedAtMs: nowMs,
        origin: "measured",
      }),
    roundTripMs: (nowMs) => certain(2 * delayMs[hop], { observedAtMs: nowMs, origin: "measured" }),
  };
}

const infoOf = (id: string, tier: EndpointInfo["tier"], zone: string): EndpointInfo => ({
  id,
  tier,
  zone,
  trust: "operated",
  codecs: ["raw"],
  state: "none",
  offers: true,
  rates: { microsPerSecond: 0, microsPerMegabyte: 0, activeWatts: 2 },
});

interface World {
  readonly clock: VirtualClock;
  readonly cloud: SimulatedEndpoint;
  /** The endpoint that the edge puts on the network. */
  readonly gateway: Endpoint;
  /** Calls that came to the cloud. */
  readonly heard: Call[];
  ask(limits?: Limits): Promise<Result>;
}

/** The real loop at the device, the real protocol and server at the edge, the real loop there, and a cloud after it. */
function world(chain: Chain, tiers: Tiers, seed: number): World {
  const clock = virtualClock();
  const { description, bucket } = modelOf(chain);
  const profile = {
    schemaVersion: 1 as const,
    model: "chain",
    version: "1",
    digest: description.digest,
    measuredOn: { runtime: "made up", threads: 1, description: "made up" },
    variants: [{ variant: "base", agreementRatio: 1, buckets: [bucket] }],
  };
  const models = [{ description, profile }];
  const heard: Call[] = [];
  const random = seededRandom(seed);
  const linkOf = (hop: 0 | 1) => {
    const trace = constantTrace(tiers.bitsPerSecond[hop]);
    return emulatedLink({ up: trace, down: trace, delayMs: tiers.delayMs[hop], clock, random });
  };
  const simulated = (info: EndpointInfo, speed: number, more = {}) =>
    simulatedEndpoint({ info, models, clock, random, speed, logSpread: 0, ...more });
  const cloud = simulated(infoOf("cloud", "cloud", "us"), tiers.speeds[2], {
    link: linkOf(1),
  });
  const edge = simulated(infoOf("edge", "edge", "eu/store"), tiers.speeds[1]);
  const parts = { policy: standardPolicy(), clock, random, observer: silentObserver };
  const policy = tablePolicy({ internal: { leastTrust: "listed" } });
  const endpoint = offloadEndpoint({
    ...parts,
    policy,
    local: edge,
    endpoints: [
      {
        ...cloud,
        infer: (request, call, progress) => {
          heard.push(call);
          return cloud.infer(request, call, progress);
        },
      },
    ],
    links: (id) => (id === "cloud" ? knownLink(tiers, 1) : undefined),
  });
  const codecs = codecSet(rawCodec);
  const handler = createHandler({ endpoint, codecs, clock, observer: silentObserver });
  const peer = { address: "127.0.0.1", loopback: true };
  const offloader = createOffloader({
    ...parts,
    policy,
    local: simulated(infoOf("device", "device", "device"), tiers.speeds[0]),
    endpoints: [
      oipEndpoint({
        info: infoOf("edge", "edge", "eu/store"),
        transport: emulatedTransport(
          (request, call) => handler({ ...request, peer }, call),
          linkOf(0),
          clock,
        ),
        codecs,
        clock,
        random,
        observer: silentObserver,
      }),
    ],
    links: (id) => (id === "edge" ? knownLink(tiers, 0) : undefined),
  });
  const x = tensorOf("x", "UINT8", [1, chain.bytes[0] ?? 0], new Uint8Array(chain.bytes[0] ?? 0));
  return {
    clock,
    cloud,
    gateway: endpoint,
    heard,
    ask: (limits) => clock.runUntil(offloader.infer("chain", { x }, limits)),
  };
}

/** The least mean time over all ways to place the chain on the three tiers, as the planner of graphs proves it. */
function optimumMs({ nodeMs, bytes }: Chain, tiers: Tiers): number {
  const count = nodeMs.length;
  const dag = {
    nodes: count,
    tensors: Array.from({ length: count + 1 }, (_none, at) => ({
      producer: at - 1,
      consumers: at < count ? [at] : [],
      kept: at === count,
    })),
  };
  // Headers of a request and of its reply.
  const [askBytes, tellBytes] = [1100, 1100];
  const { meanMs } = chainMeasures({
    dag,
    tiers: tiers.speeds.map((speed) => ({ nodeMs: nodeMs.map((ms) => ms / speed) })),
    hops: tiers.bitsPerSecond.map((rate, hop) => ({
      msPerByte: [8000 / rate],
      fixedMs: [2 * (tiers.delayMs[hop] ?? 0) + ((askBytes + tellBytes) * 8000) / rate],
    })),
    tensorBytes: [...bytes.slice(0, count), answerBytes],
  });
  const best = planSplit({ dag, tiers: 3, goal: { kind: "sum", of: meanMs } });
  if (!best) throw new Error("a chain always runs at the device");
  expect(best.exact).toBe(true);
  expect(measured(dag, best.placement, best.reach, meanMs)).toBeCloseTo(best.value, 6);
  return best.value;
}

function randomChain(random: Random): Chain {
  const count = 3 + Math.floor(random.next() * 3);
  const some = (least: number, most: number): number => least + Math.floor(random.next() * (most - least));
  return {
    nodeMs: Array.from({ length: count }, () => some(5, 120)),
    bytes: Array.from({ length: count }, (_none, at) => some(20_000, at === 0 ? 400_000 : 250_000)),
  };
}

function randomTiers(random: Random): Tiers {
  const between = (least: number, most: number): number => least * (most / least) ** random.next();
  return {
    speeds: [between(0.3, 1.5), between(0.8, 4), between(3, 16)],
    bitsPerSecond: [between(5e6, 100e6), between(5e6, 200e6)],
    delayMs: [between(1, 10), between(5, 40)],
  };
}

/** Mean of what some requests take. */
async function meanMs({ ask, clock }: World, requests: number, limits?: Limits): Promise<number> {
  let total = 0;
  for (let request = 0; request < requests; request++) {
    total += (await ask(limits)).tookMs;
    await clock.advance(500);
  }
  return total / requests;
}

function endpointsOf(result: Result): readonly string[] {
  return result.accounts.flatMap((one) => [one.endpoint, ...one.forwarded.map(({ endpoint }) => endpoint)]);
}

const worlds = 40;

describe("offers over three tiers", () => {
  it("agree with the exact planner, each tier knowing only its neighbours", async () => {
    let inner = 0;
    for (let seed = 1; seed <= worlds; seed++) {
      const random = seededRandom(seed);
      const chain = randomChain(random);
      const tiers = randomTiers(random);
      const one = world(chain, tiers, seed);
      // The first answers come before the edge has heard of the cloud.
      await meanMs(one, 2);
      await one.clock.advance(6000);
      const ratio = (await meanMs(one, 3)) / optimumMs(chain, tiers);
      expect(ratio, `seed ${seed}`).toBeLessThan(1.05);
      const last = await one.ask();
      if (endpointsOf(last).length > 1) inner++;
    }
    expect(inner).toBeGreaterThan(worlds / 3);
  });

  it("keep to the zones of the request along the whole way, at the best that is left", async () => {
    let without = 0;
    for (let seed = 1; seed <= 12; seed++) {
      const random = seededRandom(seed);
      const chain = randomChain(random);
      const tiers = randomTiers(random);
      const one = world(chain, tiers, seed);
      await meanMs(one, 2);
      await one.clock.advance(6000);
      const free = await one.ask();
      const kept = await one.ask({ zones: ["eu"] });
      expect(endpointsOf(kept)).not.toContain("cloud");
      if (endpointsOf(free).includes("cloud")) without++;
      // An endlessly slow cloud is as good as none.
      const best = optimumMs(chain, { ...tiers, speeds: [tiers.speeds[0], tiers.speeds[1], 1e-6] });
      expect(kept.tookMs / best, `seed ${seed}`).toBeLessThan(1.05);
    }
    expect(without).toBeGreaterThan(3);
  });

  it("carry the remaining time and the way so far to the last tier", async () => {
    const chain = { nodeMs: [100, 100], bytes: [50_000, 50_000] };
    const tiers: Tiers = { speeds: [0.2, 1, 20], bitsPerSecond: [50e6, 50e6], delayMs: [3, 10] };
    const one = world(chain, tiers, 1);
    await meanMs(one, 2);
    await one.clock.advance(6000);
    one.heard.length = 0;
    const startedMs = one.clock.nowMs();
    expect(endpointsOf(await one.ask({ deadlineMs: 800 }))).toContain("cloud");
    const [call] = one.heard;
    expect(call?.path).toEqual(["device", "edge"]);
    expect(call?.deadlineMs).toBeLessThanOrEqual(startedMs + 800);
    expect(call?.deadlineMs).toBeGreaterThan(startedMs + 700);
  });

  it("lose to a black hole's real times, after few answers", async () => {
    const chain = { nodeMs: [60, 60, 60], bytes: [60_000, 40_000, 30_000] };
    const tiers: Tiers = { speeds: [0.4, 1.5, 8], bitsPerSecond: [40e6, 40e6], delayMs: [3, 15] };
    const one = world(chain, tiers, 2);
    // It claims a millisecond or less and takes forty times what is honest.
    one.cloud.faults.promiseFactor = 0.01;
    one.cloud.faults.slowFactor = 40;
    await meanMs(one, 6);
    const best = optimumMs(chain, { ...tiers, speeds: [0.4, 1.5, 8 / 40] });
    expect((await meanMs(one, 20)) / best).toBeLessThan(1.25);
    // Honest again, it is found again.
    one.cloud.faults.promiseFactor = 1;
    one.cloud.faults.slowFactor = 1;
    await one.clock.advance(120_000);
    await meanMs(one, 10);
    await one.clock.advance(60_000);
    await meanMs(one, 4);
    expect((await meanMs(one, 4)) / optimumMs(chain, tiers)).toBeLessThan(1.1);
  });

  it("are not passed on once they are stale, and are again when they were renewed", async () => {
    const chain = { nodeMs: [100, 100], bytes: [50_000, 50_000] };
    const tiers: Tiers = { speeds: [0.2, 1, 20], bitsPerSecond: [50e6, 50e6], delayMs: [3, 10] };
    const one = world(chain, tiers, 3);
    await meanMs(one, 2);
    const ways = async (): Promise<number> => {
      const offers = await one.clock.runUntil(
        one.gateway.offers({ model: "chain" }, housekeepingCall("ask")),
      );
      return offers.filter(({ path }) => path.includes("cloud")).length;
    };
    expect(await ways()).toBeGreaterThan(0);
    // The model is unused for so long that the edge stops polling.
    await one.clock.advance(300_000);
    expect(await ways()).toBe(0);
    await one.clock.advance(1000);
    expect(await ways()).toBeGreaterThan(0);
  });
});
