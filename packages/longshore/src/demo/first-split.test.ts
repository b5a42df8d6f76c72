import {
  type Clock,
  type CutProfile,
  type Endpoint,
  type EndpointInfo,
  type Segment,
  tensorOf,
} from "@longshore/core";
import { housekeepingCall, meanOf, segmentKey, sleep, wrapEndpoint } from "@longshore/core/internal";
import { constantTrace, offloadWorld, type SimulatedModel } from "@longshore/lab";
import { doubleDescription } from "@longshore/testkit";
import { expect, it } from "vitest";
import { crowdedEndpoint } from "./crowded-endpoint.ts";
import { slowDevice } from "./slow-device.ts";

const inputBytes = 524_288;
const inputs = { x: tensorOf("x", "UINT8", [1, inputBytes], new Uint8Array(inputBytes)) };
/** A part of the model takes this long to load, on any machine. */
const loadMs = 170;
/** The device takes this many times as long for a run as the machine that it stands for. */
const slowness = 10;

function cut(id: string, bytes: number, headMs: number): CutProfile {
  const isEnd = id === "end";
  return {
    cut: {
      id,
      crossing: [{ name: isEnd ? "y" : "x", datatype: "UINT8", shape: [1, bytes] }],
      reveals: isEnd ? "answer" : id === "start" ? "input" : "features",
    },
    headMs: [headMs],
    tailMs: [10 - headMs],
    headMemoryBytes: 1_000_000,
    codings: [{ codecs: {}, bytes, encodeMs: 0, decodeMs: 0, agreementRatio: 1, lossless: true }],
  };
}

/** A model of 10 ms. At its inner cut, after 4 ms, a sixtieth of the input is left. */
const description = doubleDescription({
  name: "sensor",
  inputs: [{ name: "x", datatype: "UINT8", shape: [1, inputBytes] }],
  outputs: [{ name: "y", datatype: "UINT8", shape: [1, 10] }],
});
const model: SimulatedModel = {
  description,
  profile: {
    schemaVersion: 1,
    model: "sensor",
    version: "1",
    digest: description.digest,
    measuredOn: { runtime: "none", threads: 1, description: "made up" },
    variants: [
      {
        variant: "default",
        agreementRatio: 1,
        buckets: [
          {
            upTo: { bytes: 1_000_000 },
            typical: { bytes: inputBytes },
            runs: 5,
            legalCuts: 3,
            cuts: [cut("start", inputBytes, 0), cut("c1", 9_000, 4), cut("end", 10, 10)],
          },
        ],
      },
    ],
  },
};

const infoOf = (id: string, tier: "device" | "edge"): EndpointInfo => ({
  id,
  tier,
  zone: tier === "device" ? "device" : "eu/edge",
  trust: "operated",
  codecs: [],
  state: "none",
  offers: true,
  rates: { microsPerSecond: 0, microsPerMegabyte: 0, activeWatts: 2 },
});

/** An engine that has loaded the whole model, and loads each part of it before its first run. It tells that as the engine does. */
function loadingEngine(inner: Endpoint, clock: Clock): Endpoint {
  const loads = new Map<string, Promise<void>>();
  const done = new Set<string>();
  const loaded = (segment: Segment): boolean =>
    done.has(segmentKey(segment)) || (segment.from === "start" && segment.to === "end");
  const load = (segment: Segment): Promise<void> => {
    const key = segmentKey(segment);
    const begun =
      loads.get(key) ??
      (loaded(segment) ? Promise.resolve() : sleep(clock, loadMs).then(() => void done.add(key)));
    loads.set(key, begun);
    return begun;
  };
  return wrapEndpoint(inner, {
    capabilities: {
      prepare: load,
      loaded,
      loadMs: (segment) => (loaded(segment) ? 0 : loadMs),
    },
    async offers(query, call) {
      const offers = await inner.offers(query, call);
      return offers.map((offer) => (loaded(offer.segment) ? offer : { ...offer, loadMs }));
    },
    async infer(request, call, progress) {
      const startedMs = clock.nowMs();
      await load(request.segment);
      const tookMs = clock.nowMs() - startedMs;
      const response = await inner.infer(request, call, progress);
      const stages = [{ stage: "load" as const, name: "sensor", tookMs }, ...response.account.stages];
      return { ...response, account: { ...response.account, stages } };
    },
  });
}

it("no request over a split waits for a load that nothing predicted", async () => {
  const trace = constantTrace(8e6);
  const { clock, offloader, endpoints } = offloadWorld({
    models: [model],
    seed: 7,
    device: { speed: 1, info: infoOf("device", "device") },
    endpoints: [{ info: infoOf("edge", "edge"), delayMs: 5, up: trace, down: trace }],
    defaults: { dataClass: "public" },
    wrap(endpoint, own) {
      const engine = loadingEngine(endpoint, own);
      const isDevice = endpoint.info.id === "device";
      const shown = isDevice ? slowDevice(engine, slowness, own) : crowdedEndpoint(engine, own);
      return { ...endpoint, ...shown };
    },
  });
  // A link that was used before, as in the demonstration.
  const whole = { model: "sensor", version: "1", digest: description.digest, variant: "default" };
  const greeting = {
    segment: { ...whole, from: "start", to: "end" },
    inputs: new Map([["x", inputs.x]]),
    codecs: {},
  };
  for (const { endpoint } of endpoints.values())
    await clock.runUntil(endpoint.infer(greeting, housekeepingCall("greeting")));
  const rows: { readonly where: string; readonly predictedMs: number; readonly tookMs: number }[] = [];
  for (let request = 0; request < 12; request++) {
    const plan = await clock.runUntil(offloader.explain("sensor", inputs));
    if ("infeasible" in plan) throw new Error(plan.because);
    const { where, tookMs } = await clock.runUntil(offloader.infer("sensor", inputs));
    rows.push({ where, predictedMs: meanOf(plan.predicted.completionMs), tookMs });
  }
  // The whole takes 100 ms on the device, the split about 70 ms.
  expect(rows.at(-1)?.where).toBe("edge");
  for (const { predictedMs, tookMs } of rows) {
    expect(tookMs).toBeLessThan(164);
    expect(tookMs).toBeLessThan(2 * predictedMs);
  }
});
