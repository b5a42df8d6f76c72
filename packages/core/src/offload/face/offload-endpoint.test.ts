import { simulatedEndpoint, type SimulatedModel, virtualClock, type VirtualClock } from "@longshore/lab";
import { describe, expect, it } from "vitest";
import {
  type Call,
  housekeepingCall,
  LongshoreError,
  type LongshoreEvent,
  neverAborted,
  type Reason,
  seededRandom,
  silentObserver,
  sleep,
} from "../../words/base/index.ts";
import type { Endpoint, EndpointInfo, InferenceRequest, Offer } from "../../wire/endpoint/index.ts";
import { meanOf } from "../../words/estimate/index.ts";
import type { CutProfile, ModelDescription, Profile } from "../../words/model/index.ts";
import { tablePolicy } from "../../decide/policy/index.ts";
import { narrowedOffer, offerJson, parseOffers } from "../../wire/oip/index.ts";
import { tensorOf } from "../../words/tensor/index.ts";
import { undominated } from "../endpoints/index.ts";
import { createOffloader } from "./create-offloader.ts";
import { offloadEndpoint, type OffloadEndpointParts } from "./offload-endpoint.ts";

const description: ModelDescription = {
  name: "toy",
  version: "1",
  digest: `sha256:${"3".repeat(64)}`,
  inputs: [{ name: "x", datatype: "UINT8", shape: [1000] }],
  outputs: [{ name: "y", datatype: "UINT8", shape: [10] }],
  variants: [{ name: "base", body: { kind: "graph", file: "model.onnx" }, agreementRatio: 1 }],
  batching: { maxBatchSize: 0 },
  instances: [],
  labels: {},
  trusted: true,
  dataClass: "internal",
};
const cut = (id: string, headMs: number, tailMs: number, bytes: number): CutProfile => ({
  cut: {
    id,
    crossing: id === "end" ? description.outputs : description.inputs,
    reveals: id === "end" ? "answer" : "input",
  },
  headMs: [headMs],
  tailMs: [tailMs],
  headMemoryBytes: 0,
  codings: [{ codecs: {}, bytes, encodeMs: 0, decodeMs: 0, agreementRatio: 1, lossless: true }],
});
const profile: Profile = {
  schemaVersion: 1,
  model: "toy",
  version: "1",
  digest: description.digest,
  measuredOn: { runtime: "made up", threads: 1, description: "made up" },
  variants: [
    {
      variant: "base",
      agreementRatio: 1,
      buckets: [
        {
          upTo: { bytes: 1e9 },
          typical: { bytes: 1000 },
          runs: 3,
          legalCuts: 2,
          cuts: [cut("start", 0, 100, 1000), cut("end", 100, 0, 10)],
        },
      ],
    },
  ],
};
const model: SimulatedModel = {
  description,
  profile,
  compute: () => new Map([["y", tensorOf("y", "UINT8", [10], new Uint8Array(10).fill(7))]]),
};

const info = (id: string, tier: EndpointInfo["tier"], zone: string): EndpointInfo => ({
  id,
  tier,
  zone,
  trust: "operated",
  codecs: ["raw"],
  state: "none",
  offers: true,
  rates: { microsPerSecond: 0, microsPerMegabyte: 0, activeWatts: 2 },
});

function testEndpoint(clock: VirtualClock, id: string, zone: string, speed: number, has = model) {
  return simulatedEndpoint({
    info: info(id, zone === "device" ? "device" : "edge", zone),
    models: [has],
    clock,
    random: seededRandom(2),
    speed,
    logSpread: 0,
  });
}

function parts(
  clock: VirtualClock,
): Pick<OffloadEndpointParts, "policy" | "clock" | "random" | "observer" | "links"> {
  return {
    policy: tablePolicy({ internal: { leastTrust: "none" }, public: { leastTrust: "none" } }),
    clock,
    random: seededRandom(5),
    observer: silentObserver,
    links: () => undefined,
  };
}

const x = tensorOf("x", "UINT8", [1000], new Uint8Array(1000));
const request: InferenceRequest = {
  segment: {
    model: "toy",
    version: "1",
    digest: description.digest,
    variant: "base",
    from: "start",
    to: "end",
  },
  inputs: new Map([["x", x]]),
  codecs: {},
};
const call = (change: Partial<Call> = {}): Call => ({ ...housekeepingCall("test"), ...change });

describe("offloadEndpoint", () => {
  it("offers what it can do here and what others can do through it, with zones and path of the whole way", async () => {
    const clock = virtualClock();
    const edge = offloadEndpoint({
      ...parts(clock),
      local: testEndpoint(clock, "edge", "eu", 1),
      endpoints: [testEndpoint(clock, "cloud", "us", 10)],
    });
    const offers = await clock.runUntil(edge.offers({ model: "toy" }, call()));
    const whole = offers.filter((offer) => offer.segment.from === "start" && offer.segment.to === "end");
    expect(whole.map((offer) => [offer.path, offer.zones, Math.round(meanOf(offer.completionMs))])).toEqual([
      [["edge"], ["eu"], 100],
      [["edge", "cloud"], ["eu", "us"], 10],
    ]);
  });

  /** A gateway before one endpoint, and the keys that this is asked with. */
  function keyed(clock: VirtualClock, has = model) {
    const keys: (string | undefined)[] = [];
    const edge = testEndpoint(clock, "edge", "eu", 1, has);
    const watched: Endpoint = {
      ...edge,
      infer(asked, its, progress) {
        keys.push(its.idempotencyKey);
        return edge.infer(asked, its, progress);
      },
    };
    const gateway = offloadEndpoint({
      ...parts(clock),
      info: info("gateway", "edge", "eu"),
      endpoints: [watched],
    });
    return { keys, gateway };
  }

  it("sends a key only where the request came with one: a server that keeps no results may run twice", async () => {
    const clock = virtualClock();
    const { keys, gateway } = keyed(clock);
    await clock.runUntil(gateway.infer(request, call()));
    for (let time = 0; time < 2; time++)
      await clock.runUntil(gateway.infer(request, call({ idempotencyKey: "k" })));
    expect(keys).toEqual([undefined, expect.stringMatching(/^local~k\./), keys[1]]);
  });

  it("sends a key of its own for models of a foreign server: it is unknown what that keeps", async () => {
    const clock = virtualClock();
    const digest = "foreign:toy/1/0";
    const { keys, gateway } = keyed(clock, {
      ...model,
      description: { ...description, digest },
      profile: { ...profile, digest },
    });
    const { segment } = request;
    for (const id of ["a", "b"])
      await clock.runUntil(gateway.infer({ ...request, segment: { ...segment, digest } }, call({ id })));
    expect(keys).toEqual([expect.stringMatching(/^local~a\./), expect.stringMatching(/^local~b\./)]);
  });

  it.each([{ zones: ["eu"] }, { leastTrust: "operated" as const }])(
    "holds what others ask of it to the rules of its own operator, too: %o",
    async (defaults) => {
      const clock = virtualClock();
      const gateway = (zone: string, trust: EndpointInfo["trust"]): Endpoint => {
        const inner = testEndpoint(clock, "behind", zone, 1);
        const endpoint = { ...inner, info: { ...inner.info, trust } };
        return offloadEndpoint({
          ...parts(clock),
          info: info("gateway", "edge", "eu"),
          endpoints: [endpoint],
          defaults,
        });
      };
      const run = (gate: Endpoint, rules: Partial<Call["rules"]> = {}) =>
        clock.runUntil(gate.infer(request, call({ rules: { ...call().rules, ...rules } })));
      for (const zones of [undefined, ["us"], ["eu", "us"]]) {
        await expect(run(gateway("us", "listed"), zones && { zones })).rejects.toMatchObject({
          reason: "policy-denied",
        });
      }
      const inside = await run(gateway("eu/de", "operated"), { zones: ["eu", "us"] });
      expect(inside.account.forwarded).toHaveLength(1);
      await expect(run(gateway("eu/de", "operated"), { zones: ["us"] })).rejects.toMatchObject({
        reason: "policy-denied",
      });
    },
  );

  it.each([{ zones: ["eu"] }, { leastTrust: "vouched" as const }])(
    "offers nobody what the rules of its own operator keep from them: %o",
    async (defaults) => {
      const clock = virtualClock();
      const endpoint = testEndpoint(clock, "behind", "us", 10);
      const gate = offloadEndpoint({
        ...parts(clock),
        info: info("gateway", "edge", "eu"),
        endpoints: [endpoint],
        defaults,
      });
      const device = createOffloader({
        ...parts(clock),
        local: testEndpoint(clock, "device", "device", 0.5),
        endpoints: [gate],
      });
      const result = await clock.runUntil(device.infer("toy", { x }));
      expect([result.where, result.tookMs]).toEqual(["device", 200]);
      expect(await clock.runUntil(gate.offers({ model: "toy" }, call()))).toEqual([]);
    },
  );

  it("passes on the form, the outputs and the parameters of a request", async () => {
    const clock = virtualClock();
    const passed: InferenceRequest[] = [];
    const cloud = testEndpoint(clock, "cloud", "us", 10);
    const spy: Endpoint = {
      ...cloud,
      info: cloud.info,
      infer: (given, with_, progress) => {
        passed.push(given);
        return cloud.infer(given, with_, progress);
      },
    };
    const { info } = testEndpoint(clock, "gate", "eu", 1);
    const gate = offloadEndpoint({ ...parts(clock), info, endpoints: [spy] });
    const wire = { headerLength: 0, body: { kind: "parts", parts: [] } } as const;
    const extras = { wire, outputs: ["y"], parameters: { threshold: 0.5 } };
    await clock.runUntil(gate.infer({ ...request, ...extras }, call()));
    expect(passed).toEqual([expect.objectContaining(extras)]);
  });

  it("never offers or takes a way back to where the request has been", async () => {
    const clock = virtualClock();
    const asked: Call[] = [];
    const cloud = testEndpoint(clock, "cloud", "us", 10);
    const spy: Endpoint = {
      ...cloud,
      info: cloud.info,
      infer: (given, with_, progress) => {
        asked.push(with_);
        return cloud.infer(given, with_, progress);
      },
    };
    const edge = offloadEndpoint({
      ...parts(clock),
      local: testEndpoint(clock, "edge", "eu", 1),
      endpoints: [spy],
    });
    const offers = await clock.runUntil(edge.offers({ model: "toy" }, call({ path: ["cloud"] })));
    expect(offers.every((offer) => offer.path.length === 1)).toBe(true);
    const here = await clock.runUntil(edge.infer(request, call({ path: ["cloud"] })));
    expect(here.account.forwarded).toEqual([]);
    expect(asked).toEqual([]);
    // It was left out of the first question, because that came through it; now it is known.
    await clock.advance(10);
    const through = await clock.runUntil(
      edge.infer(request, call({ path: ["camera"], deadlineMs: clock.nowMs() + 500 })),
    );
    expect(through.account.forwarded.map((one) => one.endpoint)).toEqual(["cloud"]);
    expect(asked[0]?.path).toEqual(["camera", "edge"]);
    expect(asked[0]?.deadlineMs).toBeLessThanOrEqual(clock.nowMs() + 500);
    expect(asked[0]?.rules).toEqual(call().rules);
  });

  it("composes over three tiers, each knowing only its neighbours, and does not count to infinity when two know each other", async () => {
    const clock = virtualClock();
    const cloud = testEndpoint(clock, "cloud", "us", 20);
    const regional = offloadEndpoint({
      ...parts(clock),
      info: info("regional", "edge", "eu"),
      endpoints: [cloud],
    });
    const store = offloadEndpoint({
      ...parts(clock),
      local: testEndpoint(clock, "store", "eu/de", 1),
      endpoints: [regional],
    });
    const device = createOffloader({
      ...parts(clock),
      local: testEndpoint(clock, "device", "device", 0.5),
      endpoints: [store],
    });
    const result = await clock.runUntil(device.infer("toy", { x }));
    expect(result.where).toBe("store");
    expect(result.because).toContain("on to regional, cloud");
    expect(result.tookMs).toBeLessThan(10);
    const kept = await clock.runUntil(device.infer("toy", { x }, { zones: ["eu"] }));
    expect(kept.because).not.toContain("cloud");
    expect(kept.tookMs).toBeGreaterThan(50);

    // Two gateways that list each other and nothing else: neither offers anything, and asking ends.
    const a: { it?: Endpoint } = {};
    const late: Endpoint = {
      info: info("a", "edge", "eu"),
      describe: (...given) => a.it!.describe(...given),
      offers: (...given) => a.it!.offers(...given),
      infer: (...given) => a.it!.infer(...given),
      capabilities: {},
      close: () => Promise.resolve(),
    };
    const b = offloadEndpoint({ ...parts(clock), info: info("b", "edge", "eu"), endpoints: [late] });
    a.it = offloadEndpoint({ ...parts(clock), info: info("a", "edge", "eu"), endpoints: [b] });
    const nothing = await clock.runUntil(
      a.it.offers({ model: "toy" }, call({ deadlineMs: clock.nowMs() + 10_000 })),
    );
    expect(nothing).toEqual([]);
  });

  it("finds the way back where two know each other by other names than their own", async () => {
    const clock = virtualClock();
    const cloud = testEndpoint(clock, "cloud", "us", 20);
    const asked: string[] = [];
    const a: { it?: Endpoint } = {};
    /** An endpoint as it is seen over the network, where it is known by its address. */
    const at = (address: string, it: () => Endpoint): Endpoint => ({
      info: info(address, "edge", "eu"),
      describe: (...given) => it().describe(...given),
      async offers(query, { path: _unsaid, ...with_ }) {
        const offers = await it().offers(query, { ...with_, path: [] });
        return offers.map((offer) =>
          narrowedOffer(parseOffers([offerJson(offer, 0)], 0)[0]!, info(address, "edge", "eu")),
        );
      },
      infer(given, with_, progress) {
        asked.push(address);
        return it().infer(given, with_, progress);
      },
      capabilities: {},
      close: () => Promise.resolve(),
    });
    const b = offloadEndpoint({
      ...parts(clock),
      info: info("b", "edge", "eu"),
      endpoints: [at("10.0.0.1:8000", () => a.it!), cloud],
    });
    a.it = offloadEndpoint({
      ...parts(clock),
      info: info("a", "edge", "eu"),
      endpoints: [at("10.0.0.2:8000", () => b)],
    });
    const through = await clock.runUntil(a.it.infer(request, call({ path: ["camera"] })));
    expect(through.account.forwarded.map(({ endpoint }) => endpoint)).toEqual(["b"]);
    await clock.advance(6000);
    const ways = async (of: Endpoint): Promise<readonly string[]> =>
      (await clock.runUntil(of.offers({ model: "toy" }, call()))).map(({ path }) => path.join(" "));
    expect(await ways(a.it)).toEqual(["a b cloud"]);
    expect(await ways(b)).toEqual(["b cloud"]);
    // Nothing is left but the way back, which nobody tries.
    cloud.faults.down = true;
    asked.length = 0;
    const lost = clock.runUntil(b.infer(request, call({ path: ["camera", "a"] })));
    await expect(lost).rejects.toMatchObject({ reason: "unreachable" });
    expect(asked).toEqual([]);
  });

  it.each<[OffloadEndpointParts["defaults"], string | undefined, string | undefined]>([
    [undefined, undefined, undefined],
    [undefined, "cost;in-time=0.9;agreement=1", "cost;in-time=0.9;agreement=1"],
    [{ minAgreementRatio: 1 }, undefined, "latency;agreement=1"],
    [{ minAgreementRatio: 1, objective: "p95" }, "cost", "cost;agreement=1"],
    [{ objective: "p95" }, undefined, "p95"],
    // The energy of this device is no part of the objective at other endpoints.
    [undefined, "mean=1,energy=2", undefined],
  ])("with defaults %o, a goal of %s is passed on as %s", async (defaults, came, sent) => {
    const clock = virtualClock();
    const cloud = testEndpoint(clock, "cloud", "us", 10);
    const asked: Call[] = [];
    const spy: Endpoint = {
      ...cloud,
      info: cloud.info,
      infer: (given, with_, progress) => {
        asked.push(with_);
        return cloud.infer(given, with_, progress);
      },
    };
    const gateway = offloadEndpoint({
      ...parts(clock),
      info: info("gateway", "edge", "eu"),
      endpoints: [spy],
      ...(defaults ? { defaults } : {}),
    });
    await clock.runUntil(gateway.infer(request, call({ goal: came, deadlineMs: clock.nowMs() + 5000 })));
    expect(asked.map(({ goal }) => goal)).toEqual([sent]);
  });

  it("refuses before it reads a body that no endpoint may take", async () => {
    const clock = virtualClock();
    const gateway = offloadEndpoint({
      ...parts(clock),
      info: info("gateway", "edge", "eu"),
      endpoints: [testEndpoint(clock, "cloud", "us", 10)],
    });
    let reads = 0;
    const incoming = { spec: x.spec, byteLength: 1000, read: () => Promise.resolve((reads++, x)) };
    const sent = { ...request, inputs: new Map([["x", incoming]]) };
    // Nothing here is the caller's own device, so what the policy does not know is kept out of every endpoint.
    const rules = { dataClass: "unheard-of", leastTrust: "none" } as const;
    await expect(clock.runUntil(gateway.infer(sent, call({ rules })))).rejects.toMatchObject({
      reason: "policy-denied",
    });
    expect(reads).toBe(0);
    await clock.runUntil(gateway.infer(sent, call()));
    expect(reads).toBe(1);
  });

  it("says which version it has when another is requested, and what is missing without a local endpoint", async () => {
    const clock = virtualClock();
    const edge = offloadEndpoint({ ...parts(clock), local: testEndpoint(clock, "edge", "eu", 1) });
    const other = { ...request, segment: { ...request.segment, digest: `sha256:${"9".repeat(64)}` } };
    await expect(clock.runUntil(edge.infer(other, call()))).rejects.toMatchObject({
      reason: "unknown-version",
    });
    expect(await clock.runUntil(edge.describe("nothing", undefined, call()))).toBeUndefined();
    expect(() => offloadEndpoint({ ...parts(clock), endpoints: [] })).toThrow(
      expect.objectContaining({ reason: "invalid-configuration" }) as Error,
    );
    await edge.close();
    await expect(edge.infer(request, call())).rejects.toMatchObject({ reason: "shutting-down" });
  });
});

describe("the first use of a model", () => {
  /** An endpoint that is so busy that the first `count` questions are not answered in time. */
  function busy(clock: VirtualClock, id: string, count: number, answersMs = 3500): Endpoint {
    const one = testEndpoint(clock, id, "eu", 1);
    let asked = 0;
    return {
      ...one,
      info: one.info,
      async describe(...given) {
        if (asked++ < count) await sleep(clock, answersMs, given[2].abort);
        return one.describe(...given);
      },
    };
  }
  const gatewayOver = (clock: VirtualClock, ...endpoints: Endpoint[]) =>
    offloadEndpoint({ ...parts(clock), info: info("gateway", "edge", "eu"), endpoints });

  it("lets it be told at once from then on, but not to a question that has been here", async () => {
    const clock = virtualClock();
    const gateway = gatewayOver(clock, testEndpoint(clock, "a", "eu", 1));
    expect(gateway.capabilities.known?.("toy", undefined, call())).toBeUndefined();
    const told = await clock.runUntil(gateway.describe("toy", undefined, call()));
    expect(told?.description.digest).toBe(description.digest);
    expect(gateway.capabilities.known?.("toy", undefined, call({ path: ["camera"] }))).toEqual(told);
    expect(
      gateway.capabilities.known?.("toy", undefined, call({ path: ["camera", "gateway"] })),
    ).toBeUndefined();
  });

  it("is answered although the only endpoint is too busy to say what it has at once", async () => {
    const clock = virtualClock();
    const gateway = gatewayOver(clock, busy(clock, "a", 1));
    const answer = await clock.runUntil(gateway.infer(request, call()));
    expect(answer.account.forwarded.map((one) => one.endpoint)).toEqual(["a"]);
  });

  it("does not say that nobody has it while an endpoint has not answered", async () => {
    const clock = virtualClock();
    const other = testEndpoint(clock, "b", "eu", 1);
    const without = { ...other, info: other.info, describe: () => Promise.resolve(undefined) };
    const gateway = gatewayOver(clock, busy(clock, "a", 50), without);
    await expect(clock.runUntil(gateway.infer(request, call()))).rejects.toMatchObject({
      reason: "unreachable",
      message: expect.stringContaining("(a: ") as string,
    });
    const nobody = gatewayOver(clock, without);
    await expect(clock.runUntil(nobody.infer(request, call()))).rejects.toMatchObject({
      reason: "unknown-model",
    });
  });

  it("says that a version is not there where another one is", async () => {
    const clock = virtualClock();
    const { info, ...endpoint1 } = testEndpoint(clock, "b", "eu", 1);
    const first: Endpoint = {
      ...endpoint1,
      info,
      describe: async (model, version, asker) =>
        (version ?? "1") === "1" ? await endpoint1.describe(model, version, asker) : undefined,
    };
    const gateway = gatewayOver(clock, first);
    const ninth = { ...request, segment: { ...request.segment, version: "9", digest: "" } };
    await expect(clock.runUntil(gateway.infer(ninth, call()))).rejects.toMatchObject({
      reason: "unknown-version",
      message: expect.stringContaining("version 1 is known") as string,
    });
    // A sender that polls for others asks for other versions itself.
    expect(await clock.runUntil(gateway.describe("toy", "9", call()))).toBeUndefined();
  });

  it("by several callers through other endpoints waits for the same answer", async () => {
    const clock = virtualClock();
    const gateway = gatewayOver(clock, busy(clock, "a", 1, 2000));
    const all = [1, 2, 3].map(() => gateway.infer(request, call({ path: ["camera"] })));
    const question = gateway.describe("toy", "1", call({ path: ["camera"] }));
    await expect(clock.runUntil(question)).rejects.toMatchObject({ reason: "starting" });
    expect(await clock.runUntil(Promise.all(all))).toHaveLength(3);
  });
});

/** Milliseconds until an endpoint has answered. */
async function timedAt(endpoint: Endpoint, clock: VirtualClock): Promise<number> {
  const startedMs = clock.nowMs();
  await endpoint.infer(request, call({ deadlineMs: startedMs + 5000 }));
  return clock.nowMs() - startedMs;
}

it("answers soon although the endpoint in use falls silent when its second runs are spent", async () => {
  const clock = virtualClock();
  const edge = testEndpoint(clock, "a", "eu", 10);
  const gateway = offloadEndpoint({
    ...parts(clock),
    info: info("gateway", "edge", "eu"),
    endpoints: [edge, testEndpoint(clock, "b", "eu", 8)],
    hedges: { burst: 0, targetRatio: 0, initialPrice: 5 },
  });
  const timed = (): Promise<number> => timedAt(gateway, clock);
  for (let round = 0; round < 20; round++) await clock.runUntil(timed());
  edge.faults.hang = true;
  const took = await clock.runUntil(Promise.all([timed(), timed(), timed()]));
  expect(Math.max(...took)).toBeLessThan(500);
});

it("tells whose request it was and of which model when an endpoint fails it, or does not say what it has", async () => {
  const clock = virtualClock();
  const [broken, well] = [testEndpoint(clock, "a", "eu", 10), testEndpoint(clock, "b", "eu", 8)];
  const events: LongshoreEvent[] = [];
  const gateway = offloadEndpoint({
    ...parts(clock),
    observer: { record: (event) => void (event.kind === "failure" && events.push(event)) },
    info: info("gateway", "edge", "eu"),
    endpoints: [broken, well],
  });
  await clock.runUntil(timedAt(gateway, clock));
  broken.faults.down = true;
  await clock.runUntil(gateway.infer(request, call({ tenant: "acme" })));
  await clock.runUntil(sleep(clock, 6000, neverAborted));
  expect(events[0]).toMatchObject({ callId: "test", tenant: "acme", model: "toy", reason: "unreachable" });
  expect(events[1]).toMatchObject({ callId: "ask-a", model: "toy", reason: "unreachable" });
  expect(events[1]).not.toHaveProperty("tenant");
});

it("uses no endpoint that has the same content under another name, since its rules may differ", async () => {
  const clock = virtualClock();
  const named = { ...model, description: { ...description, name: "copy", dataClass: "public" } };
  const copy = { ...named, profile: { ...profile, model: "copy" } };
  const [own, other] = [testEndpoint(clock, "a", "eu", 10), testEndpoint(clock, "b", "us", 10, copy)];
  const gateway = offloadEndpoint({
    ...parts(clock),
    policy: tablePolicy({ internal: { zones: ["eu"], leastTrust: "none" }, public: { leastTrust: "none" } }),
    info: info("gateway", "edge", "eu"),
    endpoints: [own, other],
  });
  const unclassed = call({ rules: { ...call().rules, dataClass: "public" } });
  const ask = (name: string): Promise<unknown> =>
    clock.runUntil(gateway.infer({ ...request, segment: { ...request.segment, model: name } }, unclassed));
  await ask("copy");
  await ask("toy");
  own.faults.down = true;
  await expect(ask("toy")).rejects.toMatchObject({ reason: "unreachable" });
  expect(other.counts.accepted).toBe(1);
});

it("uses an endpoint that was silent, or gone, when nothing else is left", async () => {
  const clock = virtualClock();
  const [slow, other] = [testEndpoint(clock, "a", "eu", 10), testEndpoint(clock, "b", "eu", 8)];
  const gateway = offloadEndpoint({
    ...parts(clock),
    info: info("gateway", "edge", "eu"),
    endpoints: [slow, other],
  });
  const timed = (): Promise<number> => timedAt(gateway, clock);
  for (let round = 0; round < 20; round++) await clock.runUntil(timed());
  slow.faults.hang = true;
  await clock.runUntil(Promise.all([timed(), timed(), timed()]));
  // It is left alone now, and comes back just when the other one goes.
  slow.faults.hang = false;
  other.faults.down = true;
  expect(await clock.runUntil(Promise.all([timed(), timed()]))).toHaveLength(2);
  slow.faults.down = true;
  await expect(clock.runUntil(timed())).rejects.toMatchObject({ reason: "unreachable" });
  await expect(clock.runUntil(timed())).rejects.toMatchObject({ reason: "unreachable" });
  slow.faults.down = false;
  expect(await clock.runUntil(timed())).toBeLessThan(500);
});

it("uses the endpoint that was silent for the shortest time when all were", async () => {
  const clock = virtualClock();
  const [dead, slow] = [testEndpoint(clock, "a", "eu", 10), testEndpoint(clock, "b", "eu", 8)];
  const gateway = offloadEndpoint({
    ...parts(clock),
    info: info("gateway", "edge", "eu"),
    endpoints: [dead, slow],
  });
  const where = async (withinMs = 5000): Promise<string | undefined> => {
    const { account } = await gateway.infer(request, call({ deadlineMs: clock.nowMs() + withinMs }));
    return account.forwarded[0]?.endpoint;
  };
  for (let round = 0; round < 20; round++) await clock.runUntil(where());
  dead.faults.hang = true;
  for (let round = 0; round < 30; round++) {
    await clock.runUntil(where());
    await clock.runUntil(sleep(clock, 300, new AbortController().signal));
  }
  slow.faults.hang = true;
  await clock.runUntil(Promise.allSettled([where(1000), where(1000), where(1000)]));
  slow.faults.hang = false;
  const startedMs = clock.nowMs();
  expect(await clock.runUntil(Promise.all([where(), where()]))).toEqual(["b", "b"]);
  expect(clock.nowMs() - startedMs).toBeLessThan(500);
});

it("uses no endpoint that was silent while a model that can be fetched here is left", async () => {
  const clock = virtualClock();
  const silent = testEndpoint(clock, "a", "eu", 10);
  const gateway = offloadEndpoint({
    ...parts(clock),
    local: { ...testEndpoint(clock, "device", "device", 1), capabilities: { lacks: () => 1000 } },
    endpoints: [silent],
  });
  const elsewhere = async (withinMs: number): Promise<readonly string[]> => {
    const { account } = await gateway.infer(request, call({ deadlineMs: clock.nowMs() + withinMs }));
    return account.forwarded.map(({ endpoint }) => endpoint);
  };
  for (let round = 0; round < 20; round++) expect(await clock.runUntil(elsewhere(5000))).toEqual(["a"]);
  silent.faults.hang = true;
  // In time for their deadline.
  expect(await clock.runUntil(Promise.all([elsewhere(400), elsewhere(400)]))).toEqual([[], []]);
  expect(await clock.runUntil(elsewhere(5000))).toEqual([]);
});

describe("where one endpoint breaks and more is expected of the other than there is time", () => {
  const leftMs = 1000;
  /** A gateway over one that takes 10 ms and one that says it took 10 s, unless `zone` is where nothing may go. */
  function scene(zone = "eu") {
    const clock = virtualClock();
    const [well, slow] = [testEndpoint(clock, "a", "eu", 10), testEndpoint(clock, "b", zone, 10)];
    slow.faults.promiseFactor = 1000;
    const over = (...endpoints: Endpoint[]) =>
      offloadEndpoint({ ...parts(clock), info: info("gateway", "edge", "eu"), endpoints });
    const ask = (gateway: Endpoint): Promise<unknown> => {
      const { rules, ...of } = call({ deadlineMs: clock.nowMs() + leftMs });
      return gateway.infer(request, { ...of, rules: { ...rules, zones: ["eu"] } });
    };
    return { clock, well, slow, over, ask };
  }

  it("uses that endpoint, though it uses no endpoint at first that seems too slow", async () => {
    const { clock, well, slow, over, ask } = scene();
    await expect(clock.runUntil(ask(over(slow)))).rejects.toMatchObject({ reason: "no-endpoint" });
    expect(slow.counts.accepted).toBe(0);
    clock.timer(5, () => void (well.faults.down = true));
    await clock.runUntil(ask(over(well, slow)));
    expect([well.counts, slow.counts]).toMatchObject([{ failed: 1 }, { answered: 1 }]);
  });

  it("does not use it where a rule forbids that", async () => {
    const { clock, well, slow, over, ask } = scene("us");
    clock.timer(5, () => void (well.faults.down = true));
    await expect(clock.runUntil(ask(over(well, slow)))).rejects.toMatchObject({ reason: "unreachable" });
    expect(slow.counts.accepted).toBe(0);
  });

  it("does not use it where the first one is only busy", async () => {
    const { clock, well, slow, over, ask } = scene();
    const full: Endpoint = {
      ...well,
      info: well.info,
      infer: () => Promise.reject(new LongshoreError("queue-full", "admission", "made to be full")),
    };
    await expect(clock.runUntil(ask(over(full, slow)))).rejects.toMatchObject({ reason: "queue-full" });
    expect(slow.counts.accepted).toBe(0);
  });
});

describe("an endpoint that refuses one tenant for load", () => {
  /** A gateway over one that has no room for the tenant `flood` while it `refuses`, and is told who asks or not. */
  function scene(told: boolean, reason: Reason = "queue-full") {
    const clock = virtualClock();
    const real = testEndpoint(clock, "a", "eu", 10);
    const over = { refuses: true };
    const asked: string[] = [];
    const full: Endpoint = {
      ...real,
      info: real.info,
      ...(told ? { capabilities: { ...real.capabilities, forwardsTenants: true } } : {}),
      infer: (request, { tenant, ...rest }, progress) => {
        asked.push(tenant);
        if (over.refuses && tenant === "flood")
          throw new LongshoreError(reason, "admission", "made to be full", { retryAfterMs: 1000 });
        return real.infer(request, { tenant, ...rest }, progress);
      },
    };
    const gateway = offloadEndpoint({
      ...parts(clock),
      info: info("gateway", "edge", "eu"),
      endpoints: [full],
    });
    const ask = (tenant: string): Promise<string> =>
      clock.runUntil(
        gateway.infer(request, call({ tenant })).then(
          () => "answered",
          (thrown: unknown) => `${LongshoreError.from(thrown, "plan", "").reason}: ${String(thrown)}`,
        ),
      );
    const offers = async (tenant: string): Promise<number> =>
      (await clock.runUntil(gateway.offers({ model: "toy" }, call({ tenant })))).length;
    return { clock, over, asked, ask, offers, gateway };
  }

  it.each([true, false])(
    "is asked again when it said, as the refused are told (told who asks: %s)",
    async (told) => {
      const { clock, ask, gateway } = scene(told);
      await ask("flood");
      await clock.runUntil(sleep(clock, 300, neverAborted));
      const refusals: unknown[] = [];
      const refuse = (thrown: unknown): void => void refusals.push(thrown);
      const arriving = { spec: x.spec, byteLength: 1000, read: async () => x };
      for (const inputs of [request.inputs, new Map([["x", arriving]])])
        await clock.runUntil(gateway.infer({ ...request, inputs }, call({ tenant: "flood" })).catch(refuse));
      try {
        gateway.capabilities!.admit!(request.segment, call({ tenant: "flood" }));
      } catch (thrown) {
        refuse(thrown);
      }
      expect(refusals).toHaveLength(3);
      for (const one of refusals) expect(one).toMatchObject({ reason: "no-endpoint", retryAfterMs: 700 });
    },
  );

  it("is used by other callers meanwhile where it knows its callers, and by the refused one when its pause is over", async () => {
    const { clock, over, asked, ask, offers } = scene(true);
    expect(await ask("flood")).toMatch(/^queue-full/);
    expect(await ask("flood")).toMatch(/^no-endpoint.*it refused for load \(queue-full\)/);
    expect(await ask("other")).toBe("answered");
    expect([await offers("flood"), await offers("other")]).toEqual([0, 1]);
    // An answer for another one says nothing of its room for that one.
    expect(await ask("flood")).toMatch(/^no-endpoint/);
    expect(asked).toEqual(["flood", "other"]);
    over.refuses = false;
    await clock.runUntil(sleep(clock, 1000, neverAborted));
    expect(await ask("flood")).toBe("answered");
  });

  it.each([
    [false, "queue-full"],
    [true, "memory-limit"],
  ] as const)("is used by nobody meanwhile (told who asks: %s) for %s", async (told, reason) => {
    const { asked, ask } = scene(told, reason);
    await ask("flood");
    expect(await ask("other")).toContain(`it refused for load (${reason})`);
    expect(asked).toEqual(["flood"]);
  });
});

it.each([{}, { zones: ["eu"] }, { leastTrust: "operated" as const }])(
  "says why no other endpoint takes a model, where none of it is here: rules %j",
  async (rules) => {
    const clock = virtualClock();
    const real = testEndpoint(clock, "a", "eu", 10);
    const full = new LongshoreError("memory-limit", "admission", "made to be full", { retryAfterMs: 1000 });
    const server: Endpoint = { ...real, info: real.info, infer: () => Promise.reject(full) };
    const own: EndpointInfo = { ...info("edge", "edge", "us"), trust: "listed" };
    const random = seededRandom(2);
    const empty = simulatedEndpoint({ info: own, models: [], clock, random, speed: 1, logSpread: 0 });
    const edge = offloadEndpoint({ ...parts(clock), local: empty, endpoints: [server] });
    const { rules: usual } = call();
    const ask = (): Promise<unknown> =>
      clock.runUntil(edge.infer(request, call({ rules: { ...usual, ...rules } })));
    await expect(ask()).rejects.toMatchObject({ reason: "memory-limit" });
    await expect(ask()).rejects.toMatchObject({
      reason: "no-endpoint",
      message: expect.stringContaining("a: it refused for load (memory-limit)") as string,
    });
  },
);

it("explains where a request would run, and in the reply why it ran there when the request wants that", async () => {
  const clock = virtualClock();
  const gateway = offloadEndpoint({
    ...parts(clock),
    info: info("gateway", "edge", "eu"),
    endpoints: [testEndpoint(clock, "a", "eu", 10), testEndpoint(clock, "b", "us", 1)],
  });
  const query = { model: "toy", features: { bytes: 100 } };
  const { rules } = call();
  const told = (zones?: string[]) => {
    const ruled = call({ rules: { ...rules, ...(zones ? { zones } : {}) } });
    return clock.runUntil(gateway.capabilities!.explain!(query, ruled));
  };
  const plan = await told(["eu"]);
  expect(plan.legs?.[0]?.endpoint).toBe("a");
  expect(plan.because).toMatch(/^a finishes in about/);
  expect(plan.lost.some(({ endpoint, why }) => endpoint === "b" && why.startsWith("zone: "))).toBe(true);
  const none = await told(["br"]);
  expect(none.legs).toBeUndefined();
  expect(none.because).toMatch(/^no endpoint may or can run toy \(a: it processes in eu; allowed: br; b: /);
  const asked = await clock.runUntil(gateway.infer({ ...request, explained: true }, call()));
  expect(asked.because).toMatch(/finishes in about/);
  expect((await clock.runUntil(gateway.infer(request, call()))).because).toBeUndefined();
});

it("says whether any endpoint behind it answers, from one question a second", async () => {
  const clock = virtualClock();
  let asked = 0;
  let fails: LongshoreError | undefined;
  const real = testEndpoint(clock, "a", "eu", 10);
  const models = (): Promise<[]> => {
    asked++;
    return fails ? Promise.reject(fails) : Promise.resolve([]);
  };
  const server: Endpoint = { ...real, info: real.info, capabilities: { models } };
  const gateway = offloadEndpoint({
    ...parts(clock),
    info: info("gateway", "edge", "eu"),
    endpoints: [server],
  });
  const reaches = (): Promise<boolean> => clock.runUntil(gateway.reaches());
  expect([await reaches(), await reaches(), asked]).toEqual([true, true, 1]);
  const later = (): Promise<void> => clock.runUntil(sleep(clock, 1001, neverAborted));
  await later();
  fails = new LongshoreError("unreachable", "transport", "made to be down");
  expect(await reaches()).toBe(false);
  await later();
  fails = new LongshoreError("not-permitted", "identify", "made to refuse");
  expect(await reaches()).toBe(true);
  const none = offloadEndpoint({ ...parts(clock), info: info("gateway", "edge", "eu"), endpoints: [] });
  expect(await clock.runUntil(none.reaches())).toBe(false);
});

describe("the availability of a model", () => {
  const asking = (clock: VirtualClock, ...endpoints: Endpoint[]) => {
    const gateway = offloadEndpoint({ ...parts(clock), info: info("gateway", "edge", "eu"), endpoints });
    return async (times = 1): Promise<boolean[]> =>
      await clock.runUntil(
        Promise.all(
          Array.from({ length: times }, () => gateway.capabilities!.ready!("toy", undefined, call())),
        ),
      );
  };

  it("is read from its endpoint on demand, once for all callers within a second", async () => {
    const clock = virtualClock();
    const one = testEndpoint(clock, "a", "eu", 1);
    const asked: string[] = [];
    let is = true;
    const told: Endpoint = {
      ...one,
      info: one.info,
      capabilities: {
        ...one.capabilities,
        ready: async (model, version) => {
          asked.push(`${model} ${version}`);
          return is;
        },
      },
    };
    const ready = asking(clock, told);
    expect(await ready(3)).toEqual([true, true, true]);
    is = false;
    expect(await ready()).toEqual([true]);
    expect(asked).toEqual(["toy 1"]);
    await clock.runUntil(sleep(clock, 1000, neverAborted));
    expect(await ready()).toEqual([false]);
    expect(asked).toHaveLength(2);
  });

  it("is not so where its endpoint does not say so for two seconds, and is as soon as another does", async () => {
    const clock = virtualClock();
    const [one, other] = [testEndpoint(clock, "a", "eu", 1), testEndpoint(clock, "b", "eu", 1)];
    let ends: AbortSignal | undefined;
    const silent: Endpoint = {
      ...one,
      info: one.info,
      capabilities: {
        ...one.capabilities,
        ready: (_model, _version, { abort }) => {
          ends = abort;
          return new Promise(() => undefined);
        },
      },
    };
    const startedMs = clock.nowMs();
    expect(await asking(clock, silent)()).toEqual([false]);
    expect(ends?.aborted).toBe(true);
    expect(clock.nowMs() - startedMs).toBeLessThan(2500);
    const beganMs = clock.nowMs();
    expect(await asking(clock, silent, other)()).toEqual([true]);
    expect(clock.nowMs() - beganMs).toBeLessThan(500);
  });
});

describe("undominated", () => {
  it("keeps one offer for each way that some rule could demand", () => {
    const offer = (ms: number, zones: readonly string[], trust: Offer["trust"]): Offer => ({
      segment: request.segment,
      path: zones,
      zones,
      trust,
      completionMs: { values: new Float64Array(16).fill(ms), observedAtMs: 0, origin: "told" },
      queueMs: 0,
      energyMillijoules: 0,
      costMicros: 0,
      agreementRatio: 1,
      upTo: { bytes: 1 },
      codecs: [],
      expiresAtMs: 0,
      origin: "promised",
    });
    const kept = undominated([
      offer(10, ["eu", "us"], "operated"),
      offer(12, ["eu", "us"], "operated"),
      offer(50, ["eu"], "operated"),
      offer(60, ["eu"], "vouched"),
      offer(60, ["eu", "us"], "listed"),
      offer(50, ["eu"], "operated"),
    ]);
    expect(kept.map((one) => meanOf(one.completionMs))).toEqual([10, 50, 60]);
  });
});
