import { doubleEndpoint } from "@longshore/testkit";
import { expect, it } from "vitest";
import type { EndpointInfo, Offer } from "../../wire/endpoint/index.ts";
import { certain, meanOf } from "../../words/estimate/index.ts";
import { deviceSpeed } from "../../decide/estimate/index.ts";
import type { CutProfile, ModelDescription, Profile, Step } from "../../words/model/index.ts";
import { knowModel } from "../models/index.ts";
import { aroundOffers } from "./around-offers.ts";

const tensor = (name: string) => ({ name, datatype: "FP32", shape: [2] }) as const;
const elsewhere = (id: string, input: string): Step => ({
  id,
  run: { model: `${id}-model`, elsewhere: { inputs: [tensor("in")], outputs: [tensor("out")] } },
  inputs: { in: input },
});

/** Two models of other endpoints with a transform of ours between them and behind them. */
const description: ModelDescription = {
  name: "find",
  version: "1",
  digest: "sha256:find",
  inputs: [tensor("a")],
  outputs: [tensor("b")],
  variants: [
    {
      name: "small",
      agreementRatio: 0.9,
      body: {
        kind: "pipeline",
        steps: [
          elsewhere("one", "a"),
          { id: "mid", run: { transform: "softmax", parameters: {} }, inputs: { tensor: "one.out" } },
          elsewhere("two", "mid.tensor"),
          { id: "last", run: { transform: "softmax", parameters: {} }, inputs: { tensor: "two.out" } },
        ],
        outputs: { b: "last.tensor" },
      },
    },
  ],
  batching: { maxBatchSize: 0 },
  instances: [],
  labels: {},
  trusted: true,
};

const cut = (id: string, name: string, headMs: number): CutProfile => ({
  cut: { id, crossing: [tensor(name)], reveals: "features" },
  headMs: [headMs],
  tailMs: [140 - headMs],
  headMemoryBytes: 0,
  codings: [{ codecs: {}, bytes: 8, encodeMs: 0, decodeMs: 0, agreementRatio: 1, lossless: true }],
});
const bucket = {
  upTo: { bytes: Infinity },
  typical: { bytes: 8 },
  runs: 0,
  legalCuts: 5,
  cuts: [
    cut("start", "a", 0),
    cut("one", "one.out", 50),
    cut("mid", "mid.tensor", 60),
    cut("two", "two.out", 110),
    cut("end", "b", 140),
  ],
};
const profile: Profile = {
  schemaVersion: 1,
  model: "find",
  version: "1",
  digest: description.digest,
  measuredOn: { runtime: "made up", threads: 1, description: "made up" },
  variants: [{ variant: "small", agreementRatio: 0.9, buckets: [bucket] }],
};

const info = (id: string, change: Partial<EndpointInfo> = {}): EndpointInfo => ({
  id,
  tier: "edge",
  zone: "eu",
  trust: "operated",
  codecs: ["raw"],
  state: "none",
  offers: true,
  rates: { microsPerSecond: 0, microsPerMegabyte: 0, activeWatts: 0 },
  ...change,
});
const self = info("edge");
const none = { endpoint: doubleEndpoint([], self), offers: [] };
const known = knowModel({ ...none, knowledge: { description, profile } }, [], undefined, deviceSpeed(), 0)!;

/** A step as an endpoint promises it by way of here. */
const promise = (id: string, from: string, to: string, ms: number, change: Partial<Offer> = {}): Offer => ({
  segment: { model: "find", version: "1", digest: description.digest, variant: "small", from, to },
  path: ["edge", id],
  zones: ["eu"],
  trust: "operated",
  completionMs: certain(ms),
  queueMs: 0,
  energyMillijoules: 0,
  costMicros: 1,
  agreementRatio: 0.9,
  upTo: { bytes: Infinity },
  codecs: ["raw"],
  expiresAtMs: 5000,
  origin: "promised",
  ...change,
});

it("promises of a pipeline around models of others no more than all that take part promise", () => {
  const offers = aroundOffers(
    self,
    known,
    [
      promise("a", "start", "one", 20, { agreementRatio: 0.9 * 0.98, zones: ["eu", "us"] }),
      promise("b", "mid", "two", 30, { agreementRatio: 0.9 * 0.97, trust: "listed", expiresAtMs: 3000 }),
      promise("c", "mid", "two", 500),
    ],
    5,
  );
  const whole = offers.filter(({ segment }) => segment.from === "start");
  expect(whole).toHaveLength(1);
  expect(whole[0]).toMatchObject({
    segment: { from: "start", to: "end" },
    path: ["edge", "a", "b"],
    zones: ["eu", "us"],
    trust: "listed",
    costMicros: 2,
    expiresAtMs: 3000,
  });
  // Here run 10 ms between them and 30 ms at the end, after a queue of 5 ms.
  expect(meanOf(whole[0]!.completionMs)).toBeCloseTo(20 + 30 + 40 + 5);
  expect(whole[0]!.agreementRatio).toBeCloseTo(0.9 * 0.98 * 0.97, 9);
  // Behind the first model, by each endpoint that has the second one.
  const later = offers.filter(({ segment }) => segment.from === "one");
  expect(later.map(({ path, agreementRatio }) => [path[1], agreementRatio])).toEqual([
    ["b", 0.9 * 0.97],
    ["c", 0.9],
  ]);
});

it("promises nothing where a model of the pipeline is nowhere", () => {
  expect(aroundOffers(self, known, [promise("a", "start", "one", 20)], 0)).toEqual([]);
});
