import { numericTensor, type Profile, silentObserver } from "@longshore/core";
import { housekeepingCall, parseProfile } from "@longshore/core/internal";
import { systemClock, systemRandom } from "@longshore/nodejs";
import { memoryStore } from "@longshore/testkit";
import { afterEach, expect, it } from "vitest";
import { dial, serverInfo } from "../connect/dial.ts";
import { openEngine } from "../engine/open-engine.ts";
import { serve } from "../compose/serve.ts";
import { measureModel } from "./measure.ts";

const open: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one.close();
});

/** Two transforms here, and a model that only others have between them and a third. */
const pipeline = (also = "", of = ""): string => `
inputs: [{ name: pairs, datatype: FP32, shape: [1, 2] }]
${also}
pipeline:
  steps:
    - { id: more, transform: softmax, inputs: { tensor: pairs } }
    - { id: soft, transform: softmax, inputs: { tensor: more.tensor } }
    - id: turn
      model: negated
      inputs: { x: soft.tensor }
      elsewhere: { inputs: [{ name: x, datatype: FP32, shape: [-1, 2] }], outputs: [{ name: y, datatype: FP32, shape: [-1, 2] }]${of} }
    - { id: last, transform: flatten, inputs: { tensor: turn.y } }
  outputs: { all: last.tensor }
`;

async function measured(yaml: string, known?: Profile, at?: string, nowMs?: () => number): Promise<Profile> {
  const files = { "find/model.yaml": yaml, "find/1/pipeline.txt": "" };
  const store = memoryStore(known ? { ...files, "find/1/profile.json": JSON.stringify(known) } : files);
  const { engine, close } = openEngine({ store });
  open.push({ close });
  const clock = systemClock();
  const endpoints =
    at === undefined
      ? []
      : [dial(serverInfo(at), { clock, random: systemRandom(), observer: silentObserver })];
  open.push(...endpoints);
  const samples = [new Map([["pairs", numericTensor("pairs", "FP32", [1, 2], Float32Array.of(1, 2))]])];
  const about = {
    engine,
    endpoints,
    clock: nowMs ? { ...clock, nowMs } : clock,
    model: "find",
    runtime: "onnxruntime",
    samples,
    rounds: 3,
    codecs: [],
  };
  return measureModel(about, housekeepingCall("profile"));
}

const cutsOf = ({ variants: [variant] }: Profile) =>
  variant!.buckets[0]!.cuts.map(({ cut, headMs, tailMs }) => ({
    id: cut.id,
    head: mean(headMs),
    tail: mean(tailMs),
    all: [...headMs, ...tailMs],
  }));
const mean = (values: readonly number[]): number => values.reduce((sum, one) => sum + one, 0) / values.length;

it("scales the times of earlier cuts to the measurement, and follows no figure below none", async () => {
  const before = await measured(pipeline());
  // A profile from a machine that is much slower: 2 s for the head of which half is the first step, 3 s for the rest.
  const heads: Readonly<Record<string, number>> = { start: 0, more: 1000, soft: 2000, turn: 4000, end: 5000 };
  const slow: Profile = {
    ...before,
    variants: before.variants.map((variant) => ({
      ...variant,
      buckets: variant.buckets.map((bucket) => {
        const known = new Map(bucket.cuts.map((one) => [one.cut.id, one]));
        const soft = known.get("soft")!;
        const crossing = soft.cut.crossing.map((spec) => ({ ...spec, name: "more.tensor" }));
        known.set("more", { ...soft, cut: { ...soft.cut, id: "more", crossing } });
        const cuts = Object.entries(heads).map(([id, head]) => ({
          ...known.get(id)!,
          headMs: [head],
          tailMs: [5000 - head],
        }));
        return { ...bucket, cuts, legalCuts: cuts.length };
      }),
    })),
  };
  const profile = await measured(pipeline(), slow);
  expect(parseProfile(JSON.parse(JSON.stringify(profile)))).toEqual(profile);
  const [start, more, soft, turn, end] = cutsOf(profile);
  expect([start, more, soft, turn, end].map((one) => one!.id)).toEqual(Object.keys(heads));
  expect(more!.head).toBeCloseTo(soft!.head / 2);
  expect(start!.tail).toBeCloseTo(soft!.head + 3000);
  expect(more!.tail).toBeCloseTo(soft!.head / 2 + 3000);
  expect([soft!.tail, turn!.tail, end!.tail]).toEqual([3000, 1000, 0]);
  expect([turn!.head - soft!.head, end!.head - soft!.head].map(Math.round)).toEqual([2000, 3000]);
});

it("measures the steps that run here before a step in sequences, though an endpoint for it is named", async () => {
  const cuts = cutsOf(
    await measured(pipeline("sequence: { maxIdleMs: 60000 }"), undefined, "http://127.0.0.1:1"),
  );
  expect(cuts.map(({ id }) => id)).toEqual(["start", "soft", "turn", "end"]);
  const [start, soft, turn] = cuts;
  // The assumed times of the rest stay: 50 ms of a model, 5 ms of a transform.
  expect([soft!.tail, turn!.tail]).toEqual([55, 5]);
  expect(start!.tail - soft!.head).toBeCloseTo(55);
  expect(new Set(soft!.all).size).toBeGreaterThan(2);
});

const many = `
inputs: [{ name: x, datatype: FP32, shape: [-1, 2] }]
pipeline:
  steps: [{ id: each, transform: repeat, inputs: { values: x } }]
  outputs: { y: each.value }
`;

it("measures all of a pipeline that answers several times, with the endpoint that has its model", async () => {
  const store = memoryStore({ "negated/model.yaml": many, "negated/1/pipeline.txt": "" });
  let asked = 0;
  const observer = {
    record: ({ kind }: { readonly kind: string }) => void (asked += Number(kind === "inference-ended")),
  };
  const server = await serve({ store, port: 0, observer });
  open.push(server);
  // The whole takes longer than the head, and each time longer, however busy the machine is.
  let ms = 0;
  const nowMs = (): number => (ms += 1 + asked);
  const cuts = cutsOf(await measured(pipeline("", ", decoupled: true"), undefined, server.address, nowMs));
  expect(asked).toBeGreaterThan(3);
  expect(cuts.map(({ id }) => id)).toEqual(["start", "soft", "turn", "end"]);
  const [start, soft, turn, end] = cuts;
  // All that was assumed of the rest was 55 ms: it is what the whole took beside the head, divided as it was assumed.
  expect(new Set(start!.all).size).toBeGreaterThan(2);
  for (const { head, tail } of [soft!, turn!, end!]) expect(head + tail).toBeCloseTo(start!.tail, 5);
  expect(turn!.tail / soft!.tail).toBeCloseTo(5 / 55, 5);
  expect(soft!.tail).not.toBeCloseTo(55, 5);
});

it("measures a pipeline of this endpoint that answers several times, which is cut nowhere", async () => {
  const cuts = cutsOf(
    await measured(many.replace("x, datatype", "pairs, datatype").replace("values: x", "values: pairs")),
  );
  expect(cuts.map(({ id }) => id)).toEqual(["start", "end"]);
  expect(cuts[0]!.tail).toBeGreaterThan(0);
});
