import {
  type Codec,
  float32Tensor,
  float32View,
  fp16Codec,
  int8Codec,
  seededRandom,
  silentObserver,
  type Tensor,
  type Tensors,
  tensorsOf,
} from "@longshore/core";
import { housekeepingCall, parseProfile } from "@longshore/core/internal";
import { createEngine, type Engine, inlineLane, pureTransforms, transformSet } from "@longshore/engine";
import { memoryStore } from "@longshore/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { realFiles } from "../../test/files.ts";
import { opened } from "../../test/models.ts";
import { call, ortRuntime } from "../../test/ort.ts";
import { present } from "../../test/present.ts";
import { onnxSource, plainSha256 } from "../extract/index.ts";
import { meanOrZero } from "./code-crossing.ts";
import { worthRuns } from "./measure-cuts.ts";
import { type ProfileNote, type ProfileOptions, profileModel, tensorAgreement } from "./index.ts";
import { worthKeeping } from "./profile-model.ts";

const pipeline = `
inputs: [{ name: image, datatype: FP32, shape: [1, 3, 48, 192] }]
outputs: [{ name: best, datatype: FP32, shape: [1, 2] }]
pipeline:
  steps:
    - { id: orient, model: orient, inputs: { x: image } }
    - { id: soft, transform: softmax, inputs: { tensor: orient.softmax_0.tmp_0 } }
  outputs: { best: soft.tensor }
`;

/** A clock that moves by itself, so that times are exact: every look costs a millisecond. */
function countingClock(): ProfileOptions["clock"] {
  let now = 0;
  return { nowMs: () => now++, wallMs: () => 0, timer: () => ({ [Symbol.dispose]: () => undefined }) };
}

const clock = countingClock();
const transforms = transformSet(...pureTransforms());
const orient = realFiles["ocr orient"]?.() ?? new Uint8Array();
let engine: Engine;

beforeAll(() => {
  engine = createEngine({
    info: {
      id: "here",
      tier: "device",
      zone: "device",
      trust: "operated",
      codecs: [],
      state: "none",
      offers: false,
      rates: { microsPerSecond: 0, microsPerMegabyte: 0, activeWatts: 0 },
    },
    store: memoryStore({
      "orient/1/model.onnx": orient,
      "upright/model.yaml": pipeline,
      "upright/1/readme.txt": "a pipeline",
    }),
    source: onnxSource(),
    runtimes: [ortRuntime()],
    transforms,
    lane: inlineLane(transforms, clock),
    clock,
    random: seededRandom(1),
    observer: silentObserver,
    sha256: (bytes) => Promise.resolve(plainSha256(bytes)),
  });
});
afterAll(() => engine.close());

function image(name: string, seed: number): Tensors {
  const random = seededRandom(seed);
  const values = Float32Array.from({ length: 3 * 48 * 192 }, () => random.next() * 2 - 1);
  return tensorsOf(float32Tensor(name, [1, 3, 48, 192], values));
}

function optionsFor(model: string, input: string): ProfileOptions {
  return {
    target: engine,
    model,
    buckets: [
      {
        upTo: { bytes: 200_000 },
        typical: { bytes: 110_592 },
        samples: [image(input, 1), image(input, 2)],
      },
    ],
    codecs: [fp16Codec, int8Codec],
    machine: { runtime: "onnxruntime", threads: 1, description: "test" },
    clock,
    graphs: (_variant, step) => Promise.resolve(step === "soft" ? undefined : opened(orient)),
    rounds: 2,
    maxCuts: 8,
  };
}

/** Values in steps of one over `steps`, in bytes that grow with the steps. */
function rough(steps: number): Codec {
  const values = new WeakMap<Uint8Array, Tensor>();
  return {
    id: `rough-${steps}`,
    lossless: false,
    accepts: ({ datatype }) => datatype === "FP32",
    encode: async (tensor) => {
      const rounded = float32View(tensor).map((value) => Math.round(value * steps) / steps);
      const bytes = new Uint8Array(Math.ceil((rounded.length * Math.log2(2 * steps + 1)) / 8));
      values.set(bytes, float32Tensor(tensor.spec.name, tensor.spec.shape, rounded));
      return { spec: tensor.spec, codec: `rough-${steps}`, bytes, parameters: {} };
    },
    decode: async ({ bytes }) => present(values.get(bytes)),
  };
}

describe("profileModel", () => {
  it("measures the whole alone where its time is over", async () => {
    const options = { ...optionsFor("orient", "x"), codecs: [], untilMs: 0 };
    const { variants } = await profileModel(options, call);
    const cuts = present(variants[0]?.buckets[0]).cuts;
    expect(cuts.map(({ cut }) => cut.id)).toEqual(["start", "end"]);
    expect(Math.min(...present(cuts[0]).tailMs)).toBeGreaterThan(0);
  });

  it("does not take parts for quicker than the whole because of random times", async () => {
    let now = 0;
    const late: ProfileOptions["clock"] = { ...clock, nowMs: () => now };
    const target: ProfileOptions["target"] = {
      describe: (...asked) => engine.describe(...asked),
      cuts: (...asked) => engine.cuts(...asked),
      infer: async (request, ...rest) => {
        const { from, to } = request.segment;
        now += from === "start" && to === "end" ? 30 : to === "end" ? 4 : 16;
        return engine.infer(request, ...rest);
      },
    };
    const profile = await profileModel({ ...optionsFor("orient", "x"), target, clock: late }, call);
    const { cuts } = present(present(profile.variants[0]).buckets[0]);
    expect(cuts.length).toBeGreaterThan(2);
    for (const { cut, headMs, tailMs } of cuts) {
      if (cut.id === "start" || cut.id === "end") continue;
      expect(meanOrZero(headMs) + meanOrZero(tailMs)).toBeCloseTo(30);
      expect(meanOrZero(headMs) / meanOrZero(tailMs)).toBeCloseTo(4);
    }
  });

  it("measures the cuts of a graph that can win, with sizes, coding and agreement", async () => {
    const notes: ProfileNote[] = [];
    const profile = await profileModel(
      { ...optionsFor("orient", "x"), progress: (note) => notes.push(note) },
      call,
    );
    expect(parseProfile(JSON.parse(JSON.stringify(profile)))).toEqual(profile);
    const [bucket] = present(profile.variants[0]).buckets;
    const { cuts, legalCuts, runs } = present(bucket);
    expect(legalCuts).toBe(221);
    expect(runs).toBe(4);
    expect(cuts.at(0)?.cut.id).toBe("start");
    expect(cuts.at(-1)?.cut.id).toBe("end");
    expect(cuts.length).toBeGreaterThan(2);
    expect(notes.at(-1)).toMatchObject({ measured: notes.length, chosen: notes.length });
    for (const { cut, headMs, tailMs, codings } of cuts) {
      expect([headMs.length, tailMs.length]).toEqual([16, 16]);
      expect(headMs.every((value) => value > 0)).toBe(cut.id !== "start");
      expect(tailMs.every((value) => value > 0)).toBe(cut.id !== "end");
      const [raw, ...coded] = codings;
      expect(raw).toMatchObject({ codecs: {}, agreementRatio: 1, lossless: true });
      for (const coding of coded) {
        expect(coding.bytes).toBeLessThan(present(raw).bytes);
        expect(coding.agreementRatio).toBeGreaterThan(0.9);
        expect(coding.encodeMs).toBeGreaterThan(0);
      }
    }
    const start = present(cuts[0]);
    expect(start.codings.map((coding) => coding.bytes)).toEqual([110_592, expect.any(Number), 55_296]);
    expect(present(cuts.at(-1)).headMemoryBytes).toBeGreaterThan(400_000);
  });

  it("keeps of a codec with qualities the coarsest that each agreement bears, and no other", async () => {
    const ladder = { codecs: [1, 2, 8, 32, 128, 512].map(rough) };
    const options = { ...optionsFor("orient", "x"), codecs: [], ladders: [ladder], maxCuts: 0 };
    const wanted = [0.7, 0.99];
    const profile = await profileModel({ ...options, agreements: wanted }, call);
    const [start] = present(present(profile.variants[0]).buckets[0]).cuts;
    const found = present(start).codings.slice(1);
    const segment = { model: "orient", version: "1", digest: "", variant: "", from: "start", to: "end" };
    const answer = async (inputs: Tensors): Promise<Tensors> =>
      (await engine.infer({ segment, inputs, codecs: {} }, call)).outputs;
    const least = await Promise.all(
      ladder.codecs.map(async (codec) => {
        const agreed = [image("x", 1), image("x", 2)].map(async (sample) => {
          const arrived = await codec.decode(await codec.encode(present(sample.get("x")), call), call);
          return tensorAgreement(await answer(tensorsOf(arrived)), await answer(sample));
        });
        return Math.min(...(await Promise.all(agreed)));
      }),
    );
    const expected = wanted.map((ratio) => least.findIndex((one) => one >= ratio));
    expect(new Set(expected).size).toBe(2);
    expect(found.map(({ codecs, agreementRatio }) => [codecs["x"], agreementRatio])).toEqual(
      expected.map((quality) => [present(ladder.codecs[quality]).id, least[quality]]),
    );
  });

  it("measures cuts between the steps of a pipeline and inside their graphs", async () => {
    const profile = await profileModel(optionsFor("upright", "image"), call);
    const ids = present(present(profile.variants[0]).buckets[0]).cuts.map(({ cut }) => cut.id);
    expect(ids.at(0)).toBe("start");
    expect(ids.at(-1)).toBe("end");
    expect(ids.some((id) => /^orient\.c\d+$/.test(id))).toBe(true);
  });

  it("runs slow models less often, but often enough to know their spread", () => {
    expect(worthRuns(1, 3)).toEqual({ rounds: 5, samples: 3 });
    expect(worthRuns(100, 8)).toEqual({ rounds: 3, samples: 8 });
    expect(worthRuns(700, 8)).toEqual({ rounds: 1, samples: 5 });
    expect(worthRuns(700, 2)).toEqual({ rounds: 3, samples: 2 });
  });

  it("refuses unknown models and variants, and buckets without samples", async () => {
    const options = optionsFor("orient", "x");
    await expect(profileModel({ ...options, model: "none" }, call)).rejects.toMatchObject({
      reason: "unknown-model",
    });
    await expect(profileModel({ ...options, variants: ["int8"] }, call)).rejects.toMatchObject({
      reason: "unknown-variant",
    });
    const empty = [{ upTo: { bytes: 1 }, typical: { bytes: 1 }, samples: [] }];
    await expect(profileModel({ ...options, buckets: empty }, call)).rejects.toMatchObject({
      reason: "invalid-input",
    });
  });

  it("stops when the call ends", async () => {
    const controller = new AbortController();
    controller.abort();
    await expect(
      profileModel(optionsFor("orient", "x"), housekeepingCall("stopped", controller.signal)),
    ).rejects.toMatchObject({ reason: "cancelled" });
  });
});

describe("worthKeeping", () => {
  const cut = (id: string, head: number, tail: number, bytes: number, memory: number) => ({
    cut: { id, crossing: [], reveals: id === "start" ? ("input" as const) : ("features" as const) },
    headMs: [head],
    tailMs: [tail],
    headMemoryBytes: memory,
    codings: [{ codecs: {}, bytes, encodeMs: 0, decodeMs: 0, agreementRatio: 1, lossless: true }],
  });

  it("keeps ends, waists, cuts that save memory and that balance, and drops those that are never the best", () => {
    const all = [
      cut("start", 0, 100, 600, 0),
      cut("balance", 20, 80, 3000, 500),
      cut("wide", 30, 78, 9000, 500),
      cut("waist", 60, 40, 20, 600),
      cut("light", 75, 25, 30, 10),
      cut("end", 100, 0, 4, 1000),
    ];
    const kept = worthKeeping(all);
    expect(kept.map((one) => one.cut.id)).toEqual(["start", "balance", "waist", "light", "end"]);
    // A model of a step that ends there may be at a server of another make, whole.
    expect(worthKeeping(all, ["balance", "wide"])).toEqual(all);
  });

  it("keeps the best cuts for an input that may not leave", () => {
    // The input is smaller than the crossing after the first layers, so that an endpoint that may send the input would not cut
    // there.
    const all = [
      cut("start", 0, 70, 600, 0),
      cut("early", 9, 66, 3200, 10),
      cut("middle", 20, 55, 1600, 20),
      cut("late", 47, 36, 800, 30),
      cut("end", 70, 0, 4, 40),
    ];
    expect(worthKeeping(all).map((one) => one.cut.id)).toContain("early");
    expect(worthKeeping(all.slice(1)).map((one) => one.cut.id)).toContain("early");
  });
});

describe("tensorAgreement", () => {
  it("is the share of equal elements for whole numbers, and falls with the error for fractions", () => {
    const of = (...values: number[]) =>
      tensorsOf(float32Tensor("y", [values.length], Float32Array.from(values)));
    expect(tensorAgreement(of(3, 4), of(3, 4))).toBe(1);
    expect(tensorAgreement(of(3, 4.5), of(3, 4))).toBeCloseTo(0.9, 9);
    expect(tensorAgreement(of(-9, 9), of(3, 4))).toBe(0);
    expect(tensorAgreement(new Map(), of(1))).toBe(0);
  });
});
