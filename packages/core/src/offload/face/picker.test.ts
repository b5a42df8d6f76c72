import { simulatedEndpoint, type SimulatedModel, virtualClock, type VirtualClock } from "@longshore/lab";
import { listedDirectory } from "@longshore/testkit";
import { expect, it } from "vitest";
import { type Call, housekeepingCall, LongshoreError, seededRandom, sleep } from "../../words/base/index.ts";
import type { EndpointInfo } from "../../wire/endpoint/index.ts";
import { tablePolicy } from "../../decide/policy/index.ts";
import { tensorOf } from "../../words/tensor/index.ts";
import { createPicker, type PickerParts, type PickRequest } from "./picker.ts";

const digest = `sha256:${"3".repeat(64)}`;

const model: SimulatedModel = {
  description: {
    name: "toy",
    version: "1",
    digest,
    inputs: [{ name: "x", datatype: "UINT8", shape: [1000] }],
    outputs: [{ name: "y", datatype: "UINT8", shape: [10] }],
    variants: [{ name: "base", body: { kind: "graph", file: "model.onnx" }, agreementRatio: 1 }],
    batching: { maxBatchSize: 0 },
    instances: [],
    labels: {},
    trusted: true,
  },
  profile: {
    schemaVersion: 1,
    model: "toy",
    version: "1",
    digest,
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
            cuts: [
              { id: "start", headMs: 0, tailMs: 100, bytes: 1000, reveals: "input" as const },
              { id: "end", headMs: 100, tailMs: 0, bytes: 10, reveals: "answer" as const },
            ].map(({ id, headMs, tailMs, bytes, reveals }) => ({
              cut: {
                id,
                crossing: [{ name: id === "end" ? "y" : "x", datatype: "UINT8", shape: [-1] }],
                reveals,
              },
              headMs: [headMs],
              tailMs: [tailMs],
              headMemoryBytes: 0,
              codings: [{ codecs: {}, bytes, encodeMs: 0, decodeMs: 0, agreementRatio: 1, lossless: true }],
            })),
          },
        ],
      },
    ],
  },
  compute: () => new Map([["y", tensorOf("y", "UINT8", [10], new Uint8Array(10).fill(7))]]),
};

const info = (id: string, change: Partial<EndpointInfo> = {}): EndpointInfo => ({
  id,
  tier: "edge",
  zone: "eu",
  trust: "operated",
  codecs: ["raw"],
  state: "none",
  offers: true,
  rates: { microsPerSecond: 0, microsPerMegabyte: 0, activeWatts: 2 },
  ...change,
});

/** A picker over simulated endpoints, each that many times as fast as the profile. */
function picker(
  clock: VirtualClock,
  speeds: Readonly<Record<string, number>>,
  change: Partial<PickerParts> = {},
  zones: Readonly<Record<string, string>> = {},
) {
  const made = createPicker({
    endpoints: Object.entries(speeds).map(([id, speed]) =>
      simulatedEndpoint({
        info: info(id, { zone: zones[id] ?? "eu" }),
        models: [model],
        clock,
        random: seededRandom(2),
        speed,
        logSpread: 0,
      }),
    ),
    policy: tablePolicy({ internal: { leastTrust: "none" } }),
    clock,
    random: seededRandom(5),
    observer: { record: () => undefined },
    links: () => undefined,
    ...change,
  });
  const call = (rules: Partial<Call["rules"]> = {}, deadlineMs = Infinity): Call => ({
    ...housekeepingCall("c"),
    deadlineMs,
    rules: { dataClass: "internal", leastTrust: "none", ...rules },
  });
  const pick = (request: Partial<PickRequest> = {}, given: Call = call()) =>
    clock.runUntil(made.pick({ model: "toy", bytes: 1000, ...request }, given));
  return { made, pick, call };
}

const ids = (endpoints: readonly EndpointInfo[]): readonly string[] => endpoints.map(({ id }) => id);

const answer = { status: 200, headers: {} };

it("gives the quickest endpoint first, then the next best of the same plan", async () => {
  const clock = virtualClock();
  const { pick, made } = picker(clock, { slow: 1, quick: 8, middle: 3, other: 0.5 });
  const { endpoints } = await pick();
  expect(ids(endpoints)).toEqual(["quick", "middle", "slow"]);
  expect(made.inFlight).toBe(1);
});

it("learns the time of an answer that is reported later", async () => {
  const firstAfter = async (tookMs: number | undefined): Promise<string | undefined> => {
    const clock = virtualClock();
    const { pick } = picker(clock, { a: 4, b: 3 });
    for (let round = 0; round < 20; round++) {
      const { answered } = await pick();
      await clock.advance(200);
      answered({ ...answer, ...(tookMs === undefined ? {} : { tookMs }) });
    }
    return (await pick()).endpoints[0]?.id;
  };
  expect([await firstAfter(25), await firstAfter(undefined)]).toEqual(["a", "b"]);
});

it("counts what is under way, and what has ended no more", async () => {
  const clock = virtualClock();
  const { pick, made } = picker(clock, { a: 4, b: 3 });
  const first = [await pick(), await pick()];
  // The second would wait for the first at the quicker one.
  expect(first.map(({ endpoints }) => endpoints[0]?.id).sort()).toEqual(["a", "b"]);
  await clock.advance(30);
  for (const one of first) one.answered(answer);
  for (const one of first) one.dropped();
  expect(made.inFlight).toBe(0);
  await clock.advance(10);
  expect((await pick()).endpoints[0]?.id).toBe("a");
});

it("leaves an endpoint alone that broke, and one that says it is full, for as long as it says", async () => {
  const clock = virtualClock();
  const { pick } = picker(clock, { a: 8, b: 1 });
  (await pick()).failed(new LongshoreError("unreachable", "transport", "reset"));
  expect(ids((await pick()).endpoints)[0]).toBe("b");
  const alone = picker(clock, { a: 8, b: 1 });
  (await alone.pick()).answered({ status: 503, headers: { "retry-after": "3" } });
  expect(ids((await alone.pick()).endpoints)).toEqual(["b"]);
  await clock.advance(3100);
  expect(ids((await alone.pick()).endpoints)[0]).toBe("a");
});

it("refuses with the reason while the only endpoint is not there, and tries it again after its pause", async () => {
  const clock = virtualClock();
  const { pick } = picker(clock, { a: 8 });
  (await pick()).failed(new LongshoreError("unreachable", "transport", "connection refused"));
  const thrown = await pick().catch((error: unknown) => error);
  expect(thrown).toMatchObject({
    reason: "no-endpoint",
    message: expect.stringContaining("unreachable") as unknown,
  });
  expect(LongshoreError.is(thrown) && thrown.retryAfterMs).toBeGreaterThan(0);
  await clock.advance(1000);
  expect(ids((await pick()).endpoints)).toEqual(["a"]);
});

it("sends few new requests to an endpoint that has stopped, and uses it again when it answers", async () => {
  const clock = virtualClock();
  const { pick } = picker(clock, { a: 4, b: 4, c: 4 });
  let stopped: string | undefined;
  const stuck: (() => void)[] = [];
  // Servers with several slots, as their reports tell: what is under way is no queue.
  const idle = { status: 200, headers: { "longshore-load": "cpu=0.1;in-flight=8;queue-ms=0" } };
  /** Requests each 20 ms, whose answers take 25 ms. Returns those that went to an endpoint that is stopped, by their time. */
  const run = async (forMs: number): Promise<readonly number[]> => {
    const lost: number[] = [];
    const fromMs = clock.nowMs();
    while (clock.nowMs() - fromMs < forMs) {
      const { endpoints, answered } = await pick();
      if (endpoints[0]?.id === stopped) {
        lost.push(clock.nowMs() - fromMs);
        stuck.push(() => answered(idle));
      } else clock.timer(25, () => answered(idle));
      await clock.advance(20);
    }
    return lost;
  };
  await run(2000);
  stopped = "b";
  const lost = await run(14_000);
  expect(lost.filter((atMs) => atMs < 400).length).toBeLessThanOrEqual(8);
  expect(lost.filter((atMs) => atMs >= 400).length).toBeLessThanOrEqual(4);
  stopped = undefined;
  for (const one of stuck) one();
  const seen = new Set<string | undefined>();
  for (let count = 0; count < 200; count++) {
    const { endpoints, answered } = await pick();
    seen.add(endpoints[0]?.id);
    clock.timer(25, () => answered(answer));
    await clock.advance(20);
  }
  expect(seen).toEqual(new Set(["a", "b", "c"]));
});

it("takes no endpoint for silent because its own process was stopped", async () => {
  const clock = virtualClock();
  let stoppedMs = 0;
  const own = { ...clock, nowMs: () => clock.nowMs() + stoppedMs, timer: clock.timer.bind(clock) };
  const { pick, made } = picker(clock, { a: 4, b: 4 }, { clock: own });
  for (let count = 0; count < 30; count++) {
    const { answered } = await pick();
    clock.timer(25, () => answered(answer));
    await clock.advance(50);
  }
  const { answered } = await pick();
  stoppedMs = 14_000;
  await clock.advance(500);
  expect(made.paused).toBe(0);
  answered(answer);
  await clock.advance(500);
  expect(made.paused).toBe(0);
  await pick();
  await clock.advance(500);
  expect(made.paused).toBe(1);
});

it("learns which endpoint answered where the first did not", async () => {
  const clock = virtualClock();
  const { pick } = picker(clock, { a: 8, b: 1 });
  const { endpoints, answered } = await pick();
  expect(ids(endpoints)).toEqual(["a", "b"]);
  answered({ ...answer, endpoint: "b" });
  expect(ids((await pick()).endpoints)[0]).toBe("b");
});

it("learns the queue from the load header of a reply", async () => {
  const clock = virtualClock();
  const { pick } = picker(clock, { a: 4, b: 3 });
  const { answered } = await pick();
  await clock.advance(25);
  answered({ status: 200, headers: { "longshore-load": "cpu=1;in-flight=20;queue-ms=5000" } });
  expect(ids((await pick()).endpoints)[0]).toBe("b");
});

it("holds to zones, data class and subset, also for the endpoints after the first", async () => {
  const clock = virtualClock();
  const zones = { a: "us", b: "eu/de", c: "eu/fr" };
  const { pick, call } = picker(clock, { a: 8, b: 1, c: 2 }, {}, zones);
  expect(ids((await pick({}, call({ zones: ["eu"] }))).endpoints)).toEqual(["c", "b"]);
  const among = new Set(["a", "b"]);
  expect(ids((await pick({ among }, call({ zones: ["eu"] }))).endpoints)).toEqual(["b"]);
  await expect(pick({}, call({ zones: ["asia"] }))).rejects.toMatchObject({
    reason: "policy-denied",
    message: expect.stringContaining("a: it processes in us; allowed: asia") as unknown,
  });
  await expect(pick({}, call({ dataClass: "personal" }))).rejects.toMatchObject({ reason: "policy-denied" });
  await expect(pick({ among: new Set() })).rejects.toMatchObject({ reason: "no-endpoint" });
});

it("says when to come again where endpoints have as much as they may", async () => {
  const clock = virtualClock();
  const { pick } = picker(clock, { a: 4, b: 3 }, { mostInFlight: 1 });
  await pick();
  const second = await pick();
  const full = { reason: "rejected", retryAfterMs: 1000 };
  await expect(pick()).rejects.toMatchObject(full);
  second.answered(answer);
  expect((await pick()).endpoints).toHaveLength(1);
});

it("says when to come again where all endpoints say that they are full", async () => {
  const clock = virtualClock();
  const { pick } = picker(clock, { a: 4 });
  (await pick()).answered({ status: 429, headers: { "retry-after": "2" } });
  await expect(pick()).rejects.toMatchObject({ reason: "rejected", retryAfterMs: 2000 });
});

it("refuses a deadline that cannot be kept, unless it is only an objective", async () => {
  const clock = virtualClock();
  const { pick, call } = picker(clock, { a: 1 });
  await pick();
  const late = (): Call => call({}, clock.nowMs() + 50);
  await expect(pick({}, late())).rejects.toMatchObject({ reason: "rejected" });
  expect(ids((await pick({ evenLate: true }, late())).endpoints)).toEqual(["a"]);
});

it("knows which endpoints are well without a model, and refuses after it was closed", async () => {
  const clock = virtualClock();
  const { pick, made, call } = picker(clock, { a: 8, b: 1 });
  // Simulated endpoints do not list their models.
  expect(await clock.runUntil(made.learn(call()))).toBe(0);
  (await pick()).failed(new LongshoreError("unreachable", "transport", "reset"));
  expect(ids(await made.well(undefined, undefined, call()))).toEqual(["b"]);
  expect(ids(await made.well(new Set(["a"]), { model: "toy" }, call()))).toEqual([]);
  await expect(clock.runUntil(made.well(undefined, { model: "other" }, call()))).rejects.toMatchObject({
    reason: "unknown-model",
  });
  await clock.runUntil(made.close());
  await expect(pick()).rejects.toMatchObject({ reason: "shutting-down" });
});

it("lists the models of a bounded number of endpoints", async () => {
  const clock = virtualClock();
  let asked = 0;
  const endpoints = Array.from({ length: 70 }, (_, at) => ({
    info: info(`e${at}`),
    describe: async () => undefined,
    offers: async () => [],
    infer: () => new Promise<never>(() => undefined),
    close: async () => undefined,
    capabilities: {
      models: async () => {
        asked++;
        return [];
      },
    },
  }));
  const { made, call } = picker(clock, {}, { endpoints });
  expect(await clock.runUntil(made.learn(call()))).toBe(0);
  expect(asked).toBe(64);
});

it("refuses at once without any endpoint, and waits for a model's description only for a while", async () => {
  const clock = virtualClock();
  const call = { ...housekeepingCall("r1"), deadlineMs: 60_000 };
  const empty = picker(clock, {});
  await expect(empty.made.pick({ model: "toy", bytes: 0 }, call)).rejects.toMatchObject({
    reason: "no-endpoint",
    retryAfterMs: 1000,
    message: expect.stringContaining("no endpoint is listed") as string,
  });
  expect(clock.nowMs()).toBe(0);
  const never = new Promise<never>(() => undefined);
  const silent = {
    info: info("a"),
    describe: () => never,
    offers: () => never,
    infer: () => never,
    capabilities: {},
    close: async () => undefined,
  };
  const { made } = picker(clock, {}, { endpoints: [silent] });
  const refused = made.pick({ model: "toy", bytes: 0 }, call).catch((thrown: unknown) => thrown);
  await clock.advance(1500);
  expect(await refused).toMatchObject({
    reason: "no-endpoint",
    message: expect.stringContaining("no endpoint has described toy") as string,
  });
  expect(clock.nowMs()).toBe(1500);
});

/** A picker over a directory; every endpoint says what it has `slowMs` after it was dialled. */
function pool(clock: VirtualClock, speeds: Readonly<Record<string, number>>, slowMs: number) {
  const directory = listedDirectory(Object.keys(speeds).map((id) => info(id)));
  const { pick } = picker(
    clock,
    {},
    {
      endpoints: [],
      directory,
      dial(entry) {
        const endpoint = simulatedEndpoint({
          info: entry,
          models: [model],
          clock,
          random: seededRandom(2),
          speed: speeds[entry.id] ?? 1,
          logSpread: 0,
        });
        const saidAtMs = clock.nowMs() + slowMs;
        return {
          ...endpoint,
          async describe(...query) {
            await sleep(clock, Math.max(0, saidAtMs - clock.nowMs()));
            return endpoint.describe(...query);
          },
          async offers(...query) {
            await sleep(clock, Math.max(0, saidAtMs - clock.nowMs()));
            return endpoint.offers(...query);
          },
        };
      },
    },
  );
  return { pick, list: directory.list };
}

it("sends nothing to a pod that took the address of another until it has described the model", async () => {
  const clock = virtualClock();
  const { pick, list } = pool(clock, { a: 8, b: 1 }, 300);
  expect(ids((await pick()).endpoints)).toEqual(["a", "b"]);
  await clock.advance(1000);
  // Another program at the same address.
  list(info("a", { zone: "eu/de" }), info("b"));
  expect(ids((await pick()).endpoints)).toEqual(["b"]);
  await clock.advance(1000);
  expect(ids((await pick()).endpoints)[0]).toBe("a");
});

it("waits a moment for new pods where the request may go to none of the others", async () => {
  const clock = virtualClock();
  const { pick, list } = pool(clock, { a: 8, b: 1 }, 300);
  const first = await pick();
  await clock.advance(1000);
  list(info("b"), info("c"));
  const full = new LongshoreError("shutting-down", "execute", "it drains", { retryAfterMs: 5000 });
  (await pick()).failed(full);
  const beganMs = clock.nowMs();
  expect(ids((await pick()).endpoints)).toEqual(["c"]);
  expect(clock.nowMs() - beganMs).toBeLessThan(400);
  first.answered(answer);
});
