import {
  constantTrace,
  emulatedLink,
  type EmulatedLink,
  type SimulatedEndpoint,
  simulatedEndpoint,
  type SimulatedModel,
  type VirtualClock,
  virtualClock,
} from "@longshore/lab";
import fc from "fast-check";
import { untyped } from "@longshore/testkit";
import { describe, expect, it } from "vitest";
import { type LongshoreEvent, type Observer, seededRandom } from "../../words/base/index.ts";
import type { Endpoint, EndpointInfo, InferenceRequest } from "../../wire/endpoint/index.ts";
import { linkBelief, linkModel } from "../../decide/estimate/index.ts";
import type { LinkLearner } from "../../wire/transport/index.ts";
import type { CutProfile, ModelDescription, Profile } from "../../words/model/index.ts";
import { isInfeasible } from "../../decide/plan/index.ts";
import { tablePolicy } from "../../decide/policy/index.ts";
import { float32Tensor, type Tensor, tensorOf } from "../../words/tensor/index.ts";
import { createOffloader } from "./create-offloader.ts";
import type { Offloader } from "../offloader/index.ts";
import type { OffloadParts } from "../race/index.ts";

/**
 * A pipeline that finds marks in an image and reads each: 40 ms before the marks are known, 20 ms for each of them after.
 * The image is `width` bytes, whose first says how many marks there are; the answer is the sum of all of them.
 */
const steps = [
  { id: "find", run: { model: "finder" }, inputs: { image: "image" } },
  { id: "read", run: { model: "reader" }, forEach: "find.marks", inputs: { mark: "find.marks" } },
];
const description: ModelDescription = {
  name: "marks",
  version: "1",
  digest: `sha256:${"1".repeat(64)}`,
  inputs: [{ name: "image", datatype: "UINT8", shape: [-1], media: "image" }],
  outputs: [{ name: "sum", datatype: "FP32", shape: [1] }],
  variants: [
    { name: "base", body: { kind: "pipeline", steps, outputs: { sum: "read.sum" } }, agreementRatio: 1 },
  ],
  batching: { maxBatchSize: 0 },
  instances: [],
  labels: {},
  trusted: true,
  dataClass: "internal",
};
const marksSpec = { name: "find.marks", datatype: "UINT8", shape: [-1, -1], ragged: true } as const;

function cutsFor(items: number, width: number): CutProfile[] {
  const raw = (bytes: number) => ({
    codecs: {},
    bytes,
    encodeMs: 0,
    decodeMs: 0,
    agreementRatio: 1,
    lossless: true,
  });
  const total = 40 + 20 * items;
  return [
    {
      cut: { id: "start", crossing: description.inputs, reveals: "input" },
      headMs: [0],
      tailMs: [total],
      headMemoryBytes: 0,
      codings: [raw(width)],
    },
    {
      cut: { id: "find", crossing: [marksSpec], reveals: "features" },
      headMs: [40],
      tailMs: [20 * items],
      headMemoryBytes: 1e6,
      codings: [raw(600 * items)],
    },
    {
      cut: { id: "end", crossing: description.outputs, reveals: "answer" },
      headMs: [total],
      tailMs: [0],
      headMemoryBytes: 2e6,
      codings: [raw(4)],
    },
  ];
}
const profile: Profile = {
  schemaVersion: 1,
  model: "marks",
  version: "1",
  digest: description.digest,
  measuredOn: { runtime: "made up", threads: 1, description: "made up" },
  variants: [
    {
      variant: "base",
      agreementRatio: 1,
      buckets: [2, 10, 100].map((items) => ({
        upTo: { bytes: 1e7, items },
        typical: { bytes: 50_000, items },
        runs: 5,
        legalCuts: 3,
        cuts: cutsFor(items, 50_000),
      })),
    },
  ],
};

const sumOf = (bytes: Uint8Array): number => bytes.reduce((sum, value) => sum + value, 0);

/** Computes the model for real, segment by segment, so that a wrong composition gives a wrong sum. */
function compute(request: InferenceRequest): Map<string, Tensor> {
  const { from, to } = request.segment;
  const given = request.inputs.values().next().value as Tensor;
  if (from === "start" && to === "find") {
    const count = given.bytes[0] ?? 0;
    const marks = new Uint8Array(600 * count);
    marks.set(given.bytes.subarray(0, Math.min(marks.length, given.bytes.length)));
    // The remainder that does not fit into the marks is added to the first byte's neighbours, so that nothing is lost: the sum is kept
    // in a companion of the first row.
    const rows = new Int32Array(count).fill(600);
    return new Map([[marksSpec.name, { spec: { ...marksSpec, shape: [count, 600] }, bytes: marks, rows }]]);
  }
  const count = from === "start" ? (given.bytes[0] ?? 0) : (given.spec.shape[0] ?? 0);
  const marks = from === "start" ? given.bytes.subarray(0, 600 * count) : given.bytes;
  return new Map([["sum", float32Tensor("sum", [1], Float32Array.of(sumOf(marks)))]]);
}

const model: SimulatedModel = {
  description,
  profile,
  compute,
  featuresOf: ({ inputs, segment }) => {
    const given = inputs.values().next().value as Tensor;
    const items = segment.from === "start" ? (given.bytes[0] ?? 0) : (given.spec.shape[0] ?? 0);
    return { bytes: given.bytes.byteLength, items };
  },
};

function image(items: number, width = 50_000): Uint8Array {
  const bytes = new Uint8Array(width).fill(3);
  bytes[0] = items;
  return bytes;
}
const answerTo = (bytes: Uint8Array): number => sumOf(bytes.subarray(0, 600 * (bytes[0] ?? 0)));
const answerOf = (outputs: ReadonlyMap<string, Tensor>): number => {
  const { bytes } = outputs.get("sum")!;
  return the(new Float32Array(bytes.buffer, bytes.byteOffset, 1)[0]);
};

const shared = linkModel();
const info = (id: string, tier: EndpointInfo["tier"], zone: string): EndpointInfo => ({
  id,
  tier,
  zone,
  trust: "operated",
  codecs: ["raw"],
  state: "movable",
  offers: true,
  rates: { microsPerSecond: 0, microsPerMegabyte: 0, activeWatts: 2 },
});

interface World {
  readonly clock: VirtualClock;
  readonly device: SimulatedEndpoint;
  readonly edge: SimulatedEndpoint;
  readonly cloud: SimulatedEndpoint;
  readonly edgeLink: EmulatedLink;
  readonly events: LongshoreEvent[];
  readonly offloader: Offloader;
}

interface WorldOptions {
  readonly seed?: number;
  readonly edgeMbit?: number;
  readonly cloudMbit?: number;
  readonly deviceSpeed?: number;
  readonly parts?: Partial<OffloadParts>;
  /** Wraps the endpoint here, and the one at the edge. */
  readonly wrap?: (endpoint: Endpoint) => Endpoint;
}

function world(options: WorldOptions = {}): World {
  const { seed = 1, edgeMbit = 50, cloudMbit = 20, deviceSpeed = 0.25, wrap = (one) => one } = options;
  const clock = virtualClock();
  const random = seededRandom(seed);
  const events: LongshoreEvent[] = [];
  const observer: Observer = { record: (event) => void events.push(event) };
  const links = new Map<string, LinkLearner>();
  const remote = (id: "edge" | "cloud", zone: string, mbit: number, delayMs: number, speed: number) => {
    const trace = constantTrace(mbit * 1e6);
    const link = emulatedLink({ up: trace, down: trace, delayMs, clock, random });
    const learner = linkBelief({ model: shared });
    links.set(id, learner);
    const endpoint = simulatedEndpoint({
      info: info(id, id, zone),
      models: [model],
      clock,
      random,
      speed,
      link,
      learner,
      logSpread: 0.02,
    });
    return { endpoint, link };
  };
  const device = simulatedEndpoint({
    info: info("device", "device", "device"),
    models: [model],
    clock,
    random,
    speed: deviceSpeed,
    logSpread: 0.02,
  });
  const edge = remote("edge", "eu/store", edgeMbit, 3, 2);
  const cloud = remote("cloud", "us/east", cloudMbit, 40, 4);
  const offloader = createOffloader({
    local: wrap(device),
    endpoints: [wrap(edge.endpoint), cloud.endpoint],
    policy: tablePolicy({
      internal: { leastTrust: "listed" },
      personal: { leastTrust: "listed", zones: ["eu"] },
      restricted: { leastTrust: "none", zones: ["device"] },
    }),
    clock,
    random,
    observer,
    links: (id) => links.get(id),
    ...options.parts,
  });
  return {
    clock,
    device,
    edge: edge.endpoint,
    cloud: cloud.endpoint,
    edgeLink: edge.link,
    events,
    offloader,
  };
}

/** Reason of a failing call. */
async function reasonOf(clock: VirtualClock, work: Promise<unknown>): Promise<string> {
  return clock.runUntil(
    work.then(
      () => "answered",
      (error: { reason: string }) => error.reason,
    ),
  );
}

describe("createOffloader", () => {
  it("runs where it is quickest and says so", async () => {
    const { clock, offloader } = world({ cloudMbit: 1 });
    // The first requests also find out which link is which.
    for (let round = 0; round < 3; round++)
      await clock.runUntil(offloader.infer("marks", { image: image(4) }));
    for (let round = 0; round < 3; round++) {
      const result = await clock.runUntil(offloader.infer("marks", { image: image(4) }));
      expect(answerOf(result.outputs)).toBe(answerTo(image(4)));
      expect(result.where).toBe("edge");
      expect(result.sentBytes).toBeGreaterThan(2000);
      expect(result.because).toContain("edge finishes in about");
      expect(result.energy.label).toBe("estimated");
      expect(result.tookMs).toBeLessThan(400);
    }
  });

  it("lets requests that come beside the first one wait for what other endpoints say, too", async () => {
    const { clock, offloader } = world({ deviceSpeed: 0.05 });
    const first = offloader.infer("marks", { image: image(4) });
    await clock.advance(2);
    const beside = [1, 2, 3].map(() => offloader.infer("marks", { image: image(4) }));
    const results = await clock.runUntil(Promise.all([first, ...beside]));
    expect(results.map(({ where }) => where)).not.toContain("device");
    expect(results.every(({ tookMs }) => tookMs < 1000)).toBe(true);
  });

  it("does not let what waits here count as work, so that each of many at once adds its own run only", async () => {
    const { clock, offloader } = world();
    const one = () => offloader.infer("marks", { image: image(0) }, { dataClass: "restricted" });
    await clock.runUntil(one());
    const at = clock.nowMs();
    const results = await clock.runUntil(Promise.all(Array.from({ length: 10 }, one)));
    const [alone = 0] = results.map(({ predictedMs }) => predictedMs);
    expect(clock.nowMs() - at).toBeGreaterThan(8 * alone);
    for (const [before, { predictedMs }] of results.entries()) {
      expect(predictedMs / alone).toBeCloseTo(before + 1, 0);
    }
  });

  it("stays here without a word of network when every other endpoint is down, and still answers", async () => {
    const { clock, offloader, edge, cloud } = world();
    edge.faults.down = true;
    cloud.faults.down = true;
    const result = await clock.runUntil(offloader.infer("marks", { image: image(2) }));
    expect(result.where).toBe("device");
    expect(answerOf(result.outputs)).toBe(answerTo(image(2)));
    expect(result.because).toMatch(/no other endpoint takes it \(edge: .*; cloud: .*\)$/);
    expect(result.because).toContain("edge: edge refuses connections");
    expect(result.sentBytes).toBe(0);
  });

  it("says that it waits for the first offer of an endpoint that has not answered yet", async () => {
    const { clock, offloader } = world({
      edgeMbit: 0.001,
      cloudMbit: 0.001,
      parts: { upkeep: { firstWaitMs: 1 } },
    });
    const result = await clock.runUntil(offloader.infer("marks", { image: image(2) }));
    expect(result.because).toMatch(
      /no other endpoint takes it \(edge: waiting for its first offer; cloud: waiting for its first offer\)$/,
    );
  });

  it("says which rule keeps a request here, once for each endpoint, in words", async () => {
    const { clock, offloader } = world();
    const result = await clock.runUntil(
      offloader.infer("marks", { image: image(2) }, { dataClass: "restricted" }),
    );
    expect(result.because).toMatch(
      /no other endpoint takes it \(edge: restricted data stays in zone device, and the zone of this endpoint is eu\/store; cloud: .*\)$/,
    );
  });

  it("calls a time assumed that nobody has measured, until the model has run here", async () => {
    const clock = virtualClock();
    const models = [{ description, profile, compute, featuresOf: () => ({ bytes: 1 }) }];
    const random = seededRandom(3);
    const bare = simulatedEndpoint({
      info: info("device", "device", "device"),
      models,
      clock,
      random,
      speed: 1,
    });
    const local: Endpoint = {
      ...bare,
      info: bare.info,
      describe: async (...asked) => {
        const told = await bare.describe(...asked);
        return told && { description: told.description };
      },
      offers: () => Promise.resolve([]),
      infer: (request, call) => bare.infer(request, call),
      close: () => bare.close(),
    };
    const policy = tablePolicy({});
    const offloader = createOffloader({
      local,
      policy,
      clock,
      random,
      observer: { record: () => undefined },
      links: () => undefined,
    });
    const ask = () => clock.runUntil(offloader.infer("marks", { image: image(2) }));
    const first = await ask();
    expect(first.because).toMatch(
      /in about .* ms \(assumed, not measured yet\); no other endpoint is known$/,
    );
    expect(first.predictedLabel).toBe("assumed");
    const second = await ask();
    expect(second.because).not.toContain("assumed");
    expect(second.predictedLabel).toBe("measured");
  });

  it("cuts after the detector on a slow link, and plans again when it knows how many marks there are", async () => {
    const { clock, offloader } = world({ edgeMbit: 1, cloudMbit: 0.2, deviceSpeed: 0.5 });
    const many = await clock.runUntil(offloader.infer("marks", { image: image(60) }));
    expect(many.plans.length).toBeGreaterThan(1);
    expect(many.plans.at(-1)?.from).toBe("find");
    expect(many.where).toBe("edge");
    expect(answerOf(many.outputs)).toBe(answerTo(image(60)));
    const other = world({ edgeMbit: 1, cloudMbit: 0.2, deviceSpeed: 0.5 });
    const none = await other.clock.runUntil(other.offloader.infer("marks", { image: image(0) }));
    expect(none.plans.map((plan) => plan.from)).toEqual(["start", "find"]);
    expect(answerOf(none.outputs)).toBe(0);
  });

  it("frees what its own head made once the endpoint that read it has answered, and never what the request brought", async () => {
    const crossed: Uint8Array[] = [];
    const run = async (forgets: boolean, passesOn: boolean): Promise<Uint8Array> => {
      crossed.length = 0;
      const wrap = (endpoint: Endpoint): Endpoint => ({
        ...endpoint,
        async infer(request, call) {
          const response = await endpoint.infer(request, call);
          if (endpoint.info.id === "edge") return forgets ? { ...response, forgotInputs: true } : response;
          const [[name, tensor] = []] = response.outputs;
          if (request.segment.to !== "find" || name === undefined || !tensor) return response;
          const given = request.inputs.get("image") as Tensor;
          const outputs = new Map([[name, passesOn ? { ...tensor, bytes: given.bytes } : tensor]]);
          crossed.push(the(outputs.get(name)).bytes);
          return { ...response, outputs };
        },
      });
      const { clock, offloader } = world({ edgeMbit: 1, cloudMbit: 0.2, deviceSpeed: 0.5, wrap });
      const given = image(60, 36_000);
      const result = await clock.runUntil(offloader.infer("marks", { image: given }));
      expect(result.where).toBe("edge");
      expect(answerOf(result.outputs)).toBe(answerTo(image(60, 36_000)));
      return given;
    };
    await run(false, false);
    expect(crossed.map(({ byteLength }) => byteLength)).toEqual([36_000]);
    await run(true, false);
    expect(crossed.map(({ byteLength }) => byteLength)).toEqual([0]);
    expect((await run(true, true)).byteLength).toBe(36_000);
  });

  it("keeps what must not leave, crops and features too, and refuses a class that no rule knows", async () => {
    const { clock, offloader, edge, cloud } = world();
    const kept = await clock.runUntil(
      offloader.infer("marks", { image: image(50) }, { dataClass: "restricted" }),
    );
    expect(kept.where).toBe("device");
    const plan = the(kept.plans[0]);
    expect(plan.lost.some((line) => line.why.kind === "filter" && line.why.filter === "data-class")).toBe(
      true,
    );
    const eu = await clock.runUntil(
      offloader.infer("marks", { image: image(50) }, { dataClass: "personal" }),
    );
    expect(eu.where).toBe("edge");
    expect(cloud.counts.accepted).toBe(0);
    const before = edge.counts.accepted;
    const typo = offloader.infer("marks", { image: image(50) }, { dataClass: "intrenal" });
    await expect(clock.runUntil(typo)).rejects.toMatchObject({
      reason: "invalid-input",
      message: expect.stringContaining("which the policy does not know"),
    });
    expect(edge.counts.accepted).toBe(before);
    expect(
      await reasonOf(
        clock,
        offloader.infer("marks", { image: image(1) }, { zones: ["mars"], maxDeviceMillijoules: 0 }),
      ),
    ).toBe("no-endpoint");
    // A variant that nobody has is the caller's mistake, and the answer says which there are.
    await expect(
      clock.runUntil(offloader.infer("marks", { image: image(1) }, { variant: "none" })),
    ).rejects.toMatchObject({ reason: "unknown-variant", message: expect.stringContaining("it has ") });
  });

  it("falls back when the edge is killed while requests are in flight, and loses none", async () => {
    const { clock, offloader, edge } = world({ edgeMbit: 4 });
    await clock.runUntil(offloader.infer("marks", { image: image(9) }));
    const flying = Array.from({ length: 6 }, () => offloader.infer("marks", { image: image(9) }));
    await clock.advance(30);
    edge.faults.down = true;
    const results = await clock.runUntil(Promise.all(flying));
    for (const result of results) {
      expect(answerOf(result.outputs)).toBe(answerTo(image(9)));
      expect(result.where).not.toBe("edge");
    }
    expect(results.some((result) => result.lostLegs.length > 0)).toBe(true);
  });

  it("starts the back-up here when the link goes silent, before the caller would notice", async () => {
    const { clock, offloader, edgeLink, cloud, events } = world({ edgeMbit: 4, deviceSpeed: 0.5 });
    cloud.faults.down = true;
    for (let round = 0; round < 4; round++)
      await clock.runUntil(offloader.infer("marks", { image: image(9) }));
    const work = offloader.infer("marks", { image: image(9) });
    await clock.advance(5);
    edgeLink.cut();
    const result = await clock.runUntil(work);
    expect(result.where).toBe("device");
    expect(answerOf(result.outputs)).toBe(answerTo(image(9)));
    // Alone the device takes 2 x 220 ms; the guard may add about as much as a remote run would have taken.
    expect(result.tookMs).toBeLessThan(900);
    expect(events.some((event) => event.kind === "leg-started" && event.trigger === "late")).toBe(true);
    const late = { kind: "leg-late", endpoint: "edge", begun: true };
    expect(events).toContainEqual(expect.objectContaining(late));
    expect(result.lostLegs.map((leg) => leg.endpoint)).toContain("edge");
    expect(result.because).toMatch(/^edge finishes in about .*; device answered instead of edge \(.+\)$/);
    edgeLink.restore();
  });

  it("cancels the loser at the endpoint that still works on it", async () => {
    const { clock, offloader, edge, cloud } = world({ edgeMbit: 4, deviceSpeed: 0.5 });
    cloud.faults.down = true;
    await clock.runUntil(offloader.infer("marks", { image: image(9) }));
    edge.faults.hang = true;
    const result = await clock.runUntil(offloader.infer("marks", { image: image(9) }));
    expect(result.where).toBe("device");
    await clock.advance(1);
    expect(edge.counts.failed).toBe(1);
    expect(edge.load().inFlight).toBe(0);
  });

  it("ends at once on abort, and reports deadlines before, during and never", async () => {
    const { clock, offloader } = world({ edgeMbit: 1, cloudMbit: 1 });
    await clock.runUntil(offloader.infer("marks", { image: image(1) }));
    expect(await reasonOf(clock, offloader.infer("marks", { image: image(1) }, { deadlineMs: -5 }))).toBe(
      "deadline-past",
    );
    expect(await reasonOf(clock, offloader.infer("marks", { image: image(80) }, { deadlineMs: 3 }))).toBe(
      "no-endpoint",
    );
    const control = new AbortController();
    const work = reasonOf(clock, offloader.infer("marks", { image: image(80) }, { signal: control.signal }));
    const at = clock.nowMs();
    control.abort();
    expect(await work).toBe("cancelled");
    expect(clock.nowMs()).toBe(at);
  });

  it("exceeds a deadline only when an endpoint breaks its promise", async () => {
    const { clock, offloader, device, edge, cloud } = world();
    await clock.runUntil(offloader.infer("marks", { image: image(4) }));
    device.faults.hang = true;
    edge.faults.hang = true;
    cloud.faults.hang = true;
    const at = clock.nowMs();
    expect(await reasonOf(clock, offloader.infer("marks", { image: image(4) }, { deadlineMs: 1000 }))).toBe(
      "deadline-exceeded",
    );
    expect(clock.nowMs() - at).toBeCloseTo(1000, 3);
  });

  it("rejects wrong inputs with the names and shapes it takes", async () => {
    const { clock, offloader } = world();
    const wrong = offloader.infer("marks", { picture: image(1) });
    await expect(
      clock.runUntil(wrong.catch((error: unknown) => Promise.reject(error))),
    ).rejects.toMatchObject({
      reason: "invalid-input",
      message: expect.stringContaining("image UINT8 [-1]") as string,
    });
    const shape = offloader.infer("marks", { image: tensorOf("image", "FP32", [2], new Uint8Array(8)) });
    await expect(clock.runUntil(shape)).rejects.toMatchObject({ reason: "invalid-input" });
    await expect(clock.runUntil(offloader.infer("nothing", {}))).rejects.toMatchObject({
      reason: "unknown-model",
    });
  });

  it("does not fall for an endpoint that promises the impossible", async () => {
    const { clock, offloader, edge } = world({ deviceSpeed: 1 });
    edge.faults.promiseFactor = 0.01;
    edge.faults.slowFactor = 40;
    const endpoints: string[] = [];
    for (let round = 0; round < 8; round++) {
      const result = await clock.runUntil(offloader.infer("marks", { image: image(9) }));
      expect(answerOf(result.outputs)).toBe(answerTo(image(9)));
      endpoints.push(result.where);
    }
    expect(endpoints.slice(3)).not.toContain("edge");
  });

  it("turns rubbish answers into a fall-back, not into an answer", async () => {
    const { clock, offloader, edge, cloud } = world();
    cloud.faults.down = true;
    edge.faults.garbage = true;
    const result = await clock.runUntil(offloader.infer("marks", { image: image(9) }));
    expect(answerOf(result.outputs)).toBe(answerTo(image(9)));
    expect(result.lostLegs[0]?.why).toContain("bad-reply");
  });

  it("refuses rules that are misspelt, and lets no caller ask for less trust than the endpoint demands", async () => {
    const { clock, offloader } = world();
    const asked = { image: image(4) };
    for (const limits of [{ leastTrust: "Operated" }, { zone: ["eu"] }, { deadlineMs: Number.NaN }]) {
      expect(await reasonOf(clock, offloader.infer("marks", asked, untyped(limits)))).toBe("invalid-input");
    }
    expect(() => offloader.stream("marks", [asked], untyped({ zones: "eu" }))).toThrow("limits.zones");
    expect(() => world({ parts: { defaults: { leastTrust: untyped("operatd") } } })).toThrow(
      "defaults.leastTrust",
    );
    const strict = world({ parts: { defaults: { leastTrust: "vouched" } } });
    const result = await strict.clock.runUntil(
      strict.offloader.infer("marks", asked, { leastTrust: "none", dataClass: "internal" }),
    );
    expect(result.where).toBe("device");
    expect(await strict.clock.runUntil(strict.offloader.availability("marks"))).toBe("available");
  });

  it("explains without running anything", async () => {
    const { clock, offloader, edge, device } = world();
    const plan = await clock.runUntil(offloader.explain("marks", { image: image(4) }));
    expect(isInfeasible(plan)).toBe(false);
    expect(edge.counts.accepted + device.counts.accepted).toBe(0);
    expect(await clock.runUntil(offloader.availability("marks"))).toBe("available");
    expect(await clock.runUntil(offloader.availability("other"))).toBe("unavailable");
  });

  it("saves energy when the battery runs low, and spends it otherwise", async () => {
    const low = world({ parts: { device: { battery: () => ({ ratio: 0.05, charging: false }) } } });
    const result = await low.clock.runUntil(low.offloader.infer("marks", { image: image(4) }));
    expect(result.plans[0]?.objective).toBe("energy");
  });

  it("sends more away the hotter this device is, and says so", async () => {
    const askedAt = async (strainRatio: number) => {
      const health = () => ({ strainRatio, ...(strainRatio > 0 ? { why: "it is at 91 °C" } : {}) });
      const { clock, offloader } = world({ edgeMbit: 2, parts: { device: { health } } });
      await clock.runUntil(offloader.infer("marks", { image: image(4) }));
      const plan = await clock.runUntil(offloader.explain("marks", { image: image(4) }));
      if (isInfeasible(plan)) throw plan;
      return { where: plan.legs[0]?.endpoint, because: plan.because };
    };
    const words = "work here counts more, because it is at 91 °C";
    expect(await askedAt(0)).toMatchObject({
      where: "device",
      because: expect.not.stringContaining(words) as string,
    });
    expect(await askedAt(1)).toMatchObject({
      where: "edge",
      because: expect.stringContaining(words) as string,
    });
  });

  it("rations extra runs: a link that stalls for ever does not double the work", async () => {
    const { clock, offloader, edgeLink, events, cloud } = world({
      edgeMbit: 4,
      deviceSpeed: 0.5,
      parts: { hedges: { burst: 2, targetRatio: 0.01 } },
    });
    cloud.faults.down = true;
    await clock.runUntil(offloader.infer("marks", { image: image(9) }));
    edgeLink.cut();
    const results: string[] = [];
    for (let round = 0; round < 6; round++) {
      results.push(
        (await clock.runUntil(offloader.infer("marks", { image: image(9) }, { deadlineMs: 5000 }))).where,
      );
    }
    expect(new Set(results)).toEqual(new Set(["device"]));
    const late = events.filter((event) => event.kind === "leg-started" && event.trigger === "late").length;
    expect(late).toBeLessThanOrEqual(4);
  });

  it("closes what it was made of, once, after what is under way", async () => {
    const { clock, offloader } = world();
    const work = offloader.infer("marks", { image: image(4) });
    const closing = offloader.close();
    const result = await clock.runUntil(work);
    expect(answerOf(result.outputs)).toBe(answerTo(image(4)));
    await clock.runUntil(closing);
    await expect(offloader.infer("marks", { image: image(4) })).rejects.toMatchObject({
      reason: "shutting-down",
    });
    await offloader.close();
  });

  it("gives every accepted request exactly one outcome under any single fault, and the right answer when it answers", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 2 ** 30 }),
        fc.constantFrom(
          "edge-down",
          "edge-hang",
          "edge-garbage",
          "edge-slow",
          "edge-flaky",
          "link-cut",
          "device-hang",
          "device-fails",
          "cloud-down",
        ),
        fc.integer({ min: 0, max: 120 }),
        async (seed, fault, atMs) => {
          const made = world({ seed, edgeMbit: 2 + (seed % 30), deviceSpeed: 0.3 });
          const { clock, offloader, edge, device, cloud, edgeLink, events } = made;
          await clock.runUntil(offloader.infer("marks", { image: image(3) }));
          const counts = [1, 5, 12, 30];
          const outcomes = counts.map((items) =>
            offloader.infer("marks", { image: image(items) }, { deadlineMs: 20_000 }).then(
              (result) => (answerOf(result.outputs) === answerTo(image(items)) ? "right" : "wrong"),
              (error: { reason: string }) => error.reason,
            ),
          );
          await clock.advance(atMs);
          if (fault === "edge-down") edge.faults.down = true;
          if (fault === "edge-hang") edge.faults.hang = true;
          if (fault === "edge-garbage") edge.faults.garbage = true;
          if (fault === "edge-slow") edge.faults.slowFactor = 50;
          if (fault === "edge-flaky") edge.faults.failRatio = 0.7;
          if (fault === "link-cut") edgeLink.cut();
          if (fault === "device-hang") device.faults.hang = true;
          if (fault === "device-fails") device.faults.failRatio = 1;
          if (fault === "cloud-down") cloud.faults.down = true;
          const ended = await clock.runUntil(Promise.all(outcomes));
          expect(ended.filter((one) => one !== "right" && one !== "deadline-exceeded")).toEqual([]);
          // A device that hangs can only be waited for; any other single fault leaves a way to the answer.
          if (fault !== "device-hang") expect(ended).toEqual(counts.map(() => "right"));
          const accepted = events
            .filter((event) => event.kind === "request-accepted")
            .map((event) => event.callId);
          const over = events.filter((event) => event.kind === "request-ended").map((event) => event.callId);
          expect(over.toSorted()).toEqual(accepted.toSorted());
        },
      ),
      { numRuns: 60, seed: 20_250_101 },
    );
  });
});

/** The value, which the test knows to be there. */
function the<T>(value: T | undefined): T {
  if (value === undefined) throw new Error("a value was expected");
  return value;
}
