import { virtualClock } from "@longshore/lab";
import {
  doubleDescription,
  doubleEndpoint,
  doubleInfo,
  type DoubleEndpoint,
  type DoubleModel,
  doubleOffer,
} from "@longshore/testkit";
import { expect, it } from "vitest";
import { housekeepingCall, LongshoreError, seededRandom, silentObserver } from "../../words/base/index.ts";
import type { Endpoint, Offer } from "../../wire/endpoint/index.ts";
import type { CutProfile, ModelDescription, Profile, Step } from "../../words/model/index.ts";
import { tablePolicy } from "../../decide/policy/index.ts";
import { numericTensor, tensorsOf } from "../../words/tensor/index.ts";
import { createOffloader } from "./create-offloader.ts";
import { offloadEndpoint } from "./offload-endpoint.ts";

const spec = (name: string, size = 1) => ({ name, datatype: "UINT8", shape: [size] }) as const;

/** A pipeline whose one step is the model `far` of other endpoints, which takes so many numbers. */
function pipeline(
  name: string,
  digit: string,
  size = 1,
  last: Step["run"] = { transform: "flatten", parameters: {} },
): DoubleModel {
  const [port, made] = "model" in last ? ["in", "rest.out"] : ["tensor", "rest.tensor"];
  const inputs = [spec("x", size)];
  const ports = { inputs: [spec("in", size)], outputs: [spec("out")] };
  const steps: readonly Step[] = [
    { id: "look", run: { model: "far", elsewhere: ports }, inputs: { in: "x" } },
    { id: "rest", run: last, inputs: { [port]: "look.out" } },
  ];
  const description = doubleDescription({
    name,
    digest: `sha256:${digit.repeat(64)}`,
    inputs,
    outputs: [spec("y")],
    variants: [
      {
        name: "default",
        agreementRatio: 1,
        body: { kind: "pipeline", steps, outputs: { y: made } },
      },
    ],
  });
  const cut = (id: string, crossing: CutProfile["cut"]["crossing"], headMs: number): CutProfile => ({
    cut: { id, crossing, reveals: "features" },
    headMs: [headMs],
    tailMs: [60 - headMs],
    headMemoryBytes: 0,
    codings: [{ codecs: {}, bytes: 4, encodeMs: 0, decodeMs: 0, agreementRatio: 1, lossless: true }],
  });
  const profile: Profile = {
    schemaVersion: 1,
    model: name,
    version: "1",
    digest: description.digest,
    measuredOn: { runtime: "none", threads: 0, description: "assumed" },
    variants: [
      {
        variant: "default",
        agreementRatio: 1,
        buckets: [
          {
            upTo: { bytes: Infinity },
            typical: { bytes: 4 },
            runs: 0,
            legalCuts: 4,
            cuts: [
              cut("start", inputs, 0),
              cut("look", [spec("look.out")], 50),
              cut("rest", [spec(made)], 60),
              cut("end", [spec("y")], 60),
            ],
          },
        ],
      },
    ],
  };
  return {
    description,
    profile,
    run: (held) => tensorsOf({ ...(held.get(made) ?? held.get("look.out"))!, spec: spec("y") }),
  };
}

/** The declaration of a step whose model only other endpoints have. */
const elsewhere = (model: string): Step["run"] => ({
  model,
  elsewhere: { inputs: [spec("in")], outputs: [spec("out")] },
});

const far = (description: Partial<ModelDescription> = {}): DoubleModel => ({
  description: doubleDescription({
    name: "far",
    digest: "foreign:far",
    inputs: [spec("in")],
    outputs: [spec("out")],
    ...description,
  }),
  run: (inputs) =>
    tensorsOf(numericTensor("out", "UINT8", [1], Uint8Array.of(inputs.get("in")!.bytes[0]! + 1))),
});

const world = (kind: "oip" | "longshore", models: DoubleModel[], ...others: Endpoint[]) =>
  worldOf({}, kind, models, ...others);

interface WorldOptions {
  readonly maxPlans?: number | undefined;
  /** Wraps the first endpoint. */
  readonly wrap?: (endpoint: Endpoint) => Endpoint;
}

function worldOf(
  { maxPlans = 6, wrap = (endpoint) => endpoint }: WorldOptions,
  kind: "oip" | "longshore",
  models: DoubleModel[],
  ...others: Endpoint[]
) {
  const clock = virtualClock();
  const local = doubleEndpoint(models, { id: "device", tier: "device", zone: "device" });
  const endpoint = doubleEndpoint([far()], { id: "there", kind, offers: kind === "longshore" });
  const said: string[] = [];
  const offloader = createOffloader({
    local,
    endpoints: [wrap(endpoint), ...others],
    policy: tablePolicy({ internal: { leastTrust: "none" } }),
    clock,
    random: seededRandom(3),
    observer: { record: (event) => void (event.kind === "failure" && said.push(event.message)) },
    links: () => undefined,
    defaults: { dataClass: "internal" },
    maxPlans,
  });
  const infer = async (name: string, values: readonly number[]): Promise<number | undefined> => {
    const control = new AbortController();
    const hangs = new LongshoreError("cancelled", "execute", "nobody answers for a minute");
    using _timer = clock.timer(60_000, () => control.abort(hangs));
    const x = Uint8Array.from(values);
    const { outputs } = await offloader.infer(name, { x }, { signal: control.signal });
    return outputs.get("y")?.bytes[0];
  };
  const ask = (name: string, ...values: number[]): Promise<number | undefined> =>
    clock.runUntil(infer(name, values));
  const refresh = (): Promise<void> => clock.runUntil(offloader.refresh());
  return { clock, offloader, ask, refresh, said, endpoint };
}

it.each(["oip", "longshore"] as const)(
  "an endpoint of kind %s has the steps of a pipeline whose content was replaced here, once they fit again",
  async (kind) => {
    const models = [pipeline("find", "1")];
    const { offloader, ask, refresh, said, endpoint } = world(kind, models);
    await using _open = offloader;
    expect(await ask("find", 6)).toBe(7);
    models[0] = pipeline("find", "2");
    await refresh();
    expect(await ask("find", 7)).toBe(8);
    models[0] = pipeline("find", "3", 2);
    await refresh();
    await expect(ask("find", 8, 8)).rejects.toMatchObject({ reason: "no-endpoint" });
    expect(said.join()).toContain("there has far, but not as step look of find wants it");
    models[0] = pipeline("find", "4");
    await refresh();
    expect(await ask("find", 9)).toBe(10);
    expect(endpoint.requests.map(({ request: { segment } }) => segment.model)).toEqual(["far", "far", "far"]);
  },
);

it("says once for each pipeline that a model there does not fit", async () => {
  const { offloader, ask, refresh, said } = world("oip", [
    pipeline("find", "1", 2),
    pipeline("seek", "2", 2),
  ]);
  await using _open = offloader;
  for (const name of ["find", "seek"]) await expect(ask(name, 1, 1)).rejects.toThrow();
  for (let round = 0; round < 3; round++) await refresh();
  const unfit = said.filter((message) => message.startsWith("there has far"));
  expect(unfit.map((message) => /step look of (\w+)/.exec(message)?.[1])).toEqual(["find", "seek"]);
});

/** An endpoint that a test may take away, and the requests that it got before. */
function faulty(inner: DoubleEndpoint) {
  const state: { fault?: "gone" | "hangs" } = {};
  const endpoint: Endpoint = {
    ...inner,
    infer(...given) {
      if (state.fault === "hangs") return new Promise(() => undefined);
      if (state.fault === "gone")
        return Promise.reject(new LongshoreError("unreachable", "transport", "gone"));
      return inner.infer(...given);
    },
  };
  return { endpoint, state, requests: inner.requests };
}

it("uses another endpoint for the model of a step when the first one falls silent, without a deadline", async () => {
  const models = [pipeline("find", "1")];
  let silent: string | undefined;
  const falling = (one: Endpoint): Endpoint => ({
    ...one,
    infer: (...given) => (one.info.id === silent ? new Promise(() => undefined) : one.infer(...given)),
  });
  const second = doubleEndpoint([far()], { id: "second", kind: "oip", offers: false });
  const { clock, offloader, ask } = worldOf({ wrap: falling }, "oip", models, falling(second));
  await using _open = offloader;
  for (let round = 0; round < 10; round++) expect(await ask("find", round)).toBe(round + 1);
  const plan = await clock.runUntil(offloader.explain("find", { x: Uint8Array.of(1) }));
  silent = "legs" in plan ? plan.legs.find(({ id }) => id === "remote")?.endpoint : undefined;
  expect(["there", "second"]).toContain(silent);
  for (let round = 0; round < 3; round++) expect(await ask("find", 40 + round)).toBe(41 + round);
});

it("is ready where each of several models of others is", async () => {
  const clock = virtualClock();
  const states: Record<string, boolean> = { one: true, two: true };
  const endpoint = (id: string, model: string): Endpoint => ({
    ...doubleEndpoint([far({ name: model })], { id, kind: "oip", offers: false }),
    capabilities: { ready: async () => states[id] === true },
  });
  const parts = {
    local: doubleEndpoint([pipeline("find", "1", 1, elsewhere("near"))], { id: "edge" }),
    endpoints: [endpoint("one", "far"), endpoint("two", "near"), endpoint("three", "near")],
    policy: tablePolicy({ internal: { leastTrust: "none" } }),
    clock,
    random: seededRandom(3),
    observer: silentObserver,
    links: () => undefined,
    defaults: { dataClass: "internal" },
  };
  const edge = offloadEndpoint(parts);
  const ready = async (): Promise<boolean | undefined> => {
    await clock.advance(2000);
    return clock.runUntil(edge.capabilities!.ready!("find", undefined, housekeepingCall("ready")));
  };
  expect(await ready()).toBe(true);
  states["two"] = false;
  expect(await ready()).toBe(false);
  Object.assign(states, { one: false, three: true });
  expect(await ready()).toBe(false);
  states["one"] = true;
  expect(await ready()).toBe(true);
  await edge.close();
});

it("is unavailable where one of several models of others is nowhere", async () => {
  const models = [pipeline("find", "1", 1, elsewhere("near"))];
  const near = faulty(doubleEndpoint([far({ name: "near" })], { id: "near", kind: "oip", offers: false }));
  const { offloader, ask, endpoint } = world("oip", models, near.endpoint);
  await using _open = offloader;
  expect(await ask("find", 1)).toBe(3);
  expect(await offloader.availability("find")).toBe("available");
  near.state.fault = "gone";
  await expect(ask("find", 2)).rejects.toMatchObject({ reason: "unreachable" });
  expect(await offloader.availability("find")).toBe("unavailable");
  // The first model is not run again for what ends at the second one.
  expect(endpoint.requests).toHaveLength(2);
});

it("runs no model of others in vain where nobody has the next one", async () => {
  const { offloader, ask, endpoint } = world("oip", [pipeline("find", "1", 1, elsewhere("near"))]);
  await using _open = offloader;
  await expect(ask("find", 1)).rejects.toMatchObject({ reason: "no-endpoint" });
  expect(endpoint.requests).toEqual([]);
});

/** A pipeline of two steps that others have, its endpoints, and one that runs all of it in `runMs`. */
function besideWhole(runMs: number, maxPlans?: number) {
  const models = [pipeline("find", "1", 1, elsewhere("near"))];
  const near = faulty(doubleEndpoint([far({ name: "near" })], { id: "near", kind: "oip", offers: false }));
  const { description } = models[0]!;
  const slow: Offer = {
    ...doubleOffer(description, { ...doubleInfo, id: "whole" }, runMs),
    codecs: ["raw"],
    expiresAtMs: 1e9,
  };
  const all: DoubleModel = {
    description,
    offers: [slow],
    run: (given) => tensorsOf(numericTensor("y", "UINT8", [1], Uint8Array.of(given.get("x")!.bytes[0]! + 2))),
  };
  const whole = faulty(doubleEndpoint([all], { id: "whole" }));
  return { near, whole, ...worldOf({ maxPlans }, "oip", models, near.endpoint, whole.endpoint) };
}

it("begins again with what it was given where only an endpoint that runs all of a pipeline is left", async () => {
  const { offloader, ask, near, whole } = besideWhole(10_000);
  await using _open = offloader;
  expect(await ask("find", 1)).toBe(3);
  expect(whole.requests).toEqual([]);
  near.state.fault = "gone";
  expect(await ask("find", 2)).toBe(4);
  expect(whole.requests.map(({ inputs }) => [...inputs.keys()])).toEqual([["x"]]);
});

it("takes what its steps lead to while the endpoint that runs all of a pipeline hangs", async () => {
  // One plan, another beside it, and one from where that led to.
  const { offloader, ask, near, whole, endpoint } = besideWhole(10, 2);
  await using _open = offloader;
  for (let n = 0; n < 12; n++) expect(await ask("find", n)).toBe(n + 2);
  expect(whole.requests).toHaveLength(12);
  whole.state.fault = "hangs";
  expect(await ask("find", 40)).toBe(42);
  expect([endpoint.requests.length, near.requests.length]).toEqual([1, 1]);
});
