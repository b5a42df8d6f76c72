import { simulatedEndpoint, type SimulatedModel, virtualClock, type VirtualClock } from "@longshore/lab";
import { listedDirectory } from "@longshore/testkit";
import { expect, it } from "vitest";
import { LongshoreError, type LongshoreEvent, seededRandom, sleep } from "../../words/base/index.ts";
import type { EndpointInfo } from "../../wire/endpoint/index.ts";
import { isInfeasible } from "../../decide/plan/index.ts";
import { tablePolicy } from "../../decide/policy/index.ts";
import { tensorOf } from "../../words/tensor/index.ts";
import { createOffloader } from "./create-offloader.ts";

const model: SimulatedModel = {
  description: {
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
  },
  profile: {
    schemaVersion: 1,
    model: "toy",
    version: "1",
    digest: `sha256:${"3".repeat(64)}`,
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

/** An endpoint that was dialled, and its faults. */
interface Dialled {
  readonly id: string;
  closed: boolean;
  /** It offers and describes nothing any more. */
  forgets: boolean;
  /** Its answer to each request. */
  refuses: LongshoreError | undefined;
}

/** A directory that a test changes, and what was dialled of it. */
function fleet(clock: VirtualClock, ...first: readonly EndpointInfo[]) {
  const events: LongshoreEvent[] = [];
  const dialled: Dialled[] = [];
  const directory = listedDirectory(first, { ageMs: 90_000, problem: "the source is away" });
  const offloader = createOffloader({
    directory,
    dial(entry) {
      if (entry.id === "broken") throw new TypeError("not an address");
      const inner = simulatedEndpoint({
        info: entry,
        models: entry.id === "other" ? [] : [model],
        clock,
        random: seededRandom(2),
        speed: entry.tier === "cloud" ? 4 : 1,
        logSpread: 0,
      });
      const one: Dialled = { id: entry.id, closed: false, forgets: false, refuses: undefined };
      dialled.push(one);
      return {
        ...inner,
        async describe(...question) {
          if (entry.id === "slow") await sleep(clock, 1000);
          return one.forgets ? undefined : inner.describe(...question);
        },
        offers: async (...question) => (one.forgets ? [] : inner.offers(...question)),
        infer: (...asked) => (one.refuses ? Promise.reject(one.refuses) : inner.infer(...asked)),
        close() {
          one.closed = true;
          return inner.close();
        },
      };
    },
    policy: tablePolicy({ internal: { leastTrust: "none" } }),
    clock,
    random: seededRandom(5),
    observer: { record: (event) => events.push(event) },
    links: () => undefined,
  });
  return {
    offloader,
    dialled,
    events,
    list: directory.list,
  };
}

const x = tensorOf("x", "UINT8", [1000], new Uint8Array(1000));

it("a request that is under way at an endpoint that leaves the directory is answered, and the next goes elsewhere", async () => {
  const clock = virtualClock();
  const [a, b] = [info("a"), info("b")];
  const { offloader, list, dialled } = fleet(clock, a);
  expect((await clock.runUntil(offloader.infer("toy", { x }))).where).toBe("a");
  const underWay = offloader.infer("toy", { x });
  await clock.advance(50);
  list(b);
  expect((await clock.runUntil(underWay)).where).toBe("a");
  expect((await clock.runUntil(offloader.infer("toy", { x }))).where).toBe("b");
  expect(dialled.map(({ id, closed }) => [id, closed])).toEqual([
    ["a", true],
    ["b", false],
  ]);
  await clock.runUntil(offloader.close());
  expect(dialled.every(({ closed }) => closed)).toBe(true);
});

it("a server that lists its models slowly is waited for where all other servers of a model have gone", async () => {
  const clock = virtualClock();
  const { offloader, list } = fleet(clock, info("a"));
  await clock.runUntil(offloader.infer("toy", { x }));
  list(info("slow"));
  expect((await clock.runUntil(offloader.infer("toy", { x }))).where).toBe("slow");
});

it("models of servers that have left may come back with them: they are not unknown meanwhile", async () => {
  const clock = virtualClock();
  const [a, other] = [info("a"), info("other")];
  const { offloader, list, dialled } = fleet(clock, a, other);
  await clock.runUntil(offloader.infer("toy", { x }));
  list(other);
  for (let times = 0; times < 2; times++) {
    await expect(clock.runUntil(offloader.infer("toy", { x }))).rejects.toMatchObject({
      reason: "no-endpoint",
    });
    await clock.advance(20_000);
  }
  list(other, a);
  expect((await clock.runUntil(offloader.infer("toy", { x }))).where).toBe("a");
  // It is there, and says itself that it has it no more.
  const refuses = new LongshoreError("unknown-model", "resolve", "not here any more");
  Object.assign(dialled.at(-1)!, { forgets: true, refuses });
  await expect(clock.runUntil(offloader.infer("toy", { x }))).rejects.toMatchObject({
    reason: "unknown-model",
  });
  await clock.advance(20_000);
  await expect(clock.runUntil(offloader.infer("toy", { x }))).rejects.toMatchObject({
    reason: "unknown-model",
  });
});

it("a new server that lists its models slowly is waited for where all other servers of a model fail", async () => {
  const clock = virtualClock();
  const { offloader, list, dialled } = fleet(clock, info("a"));
  await clock.runUntil(offloader.infer("toy", { x }));
  dialled[0]!.refuses = new LongshoreError("shutting-down", "execute", "a is going");
  list(info("a"), info("slow"));
  const result = await clock.runUntil(offloader.infer("toy", { x }));
  expect([result.where, result.tookMs > 900]).toEqual(["slow", true]);
});

it("a new endpoint is queried about the models in use at once, and used when it is better", async () => {
  const clock = virtualClock();
  const a = info("a");
  const { offloader, list } = fleet(clock, a);
  await clock.runUntil(offloader.infer("toy", { x }));
  list(a, info("faster", { tier: "cloud" }));
  await clock.advance(20);
  const result = await clock.runUntil(offloader.infer("toy", { x }));
  expect(result.where).toBe("faster");
  expect(result.tookMs).toBeLessThan(50);
});

it("an endpoint whose entry changed is dialled again, one that did not is left alone", async () => {
  const clock = virtualClock();
  const [a, b] = [info("a"), info("b")];
  const { offloader, list, dialled } = fleet(clock, a, b);
  await clock.runUntil(offloader.infer("toy", { x }));
  list(info("a", { zone: "eu/de" }), b);
  expect(dialled.map(({ id, closed }) => [id, closed])).toEqual([
    ["a", true],
    ["b", false],
    ["a", false],
  ]);
  await clock.advance(20);
  const inside = await clock.runUntil(offloader.infer("toy", { x }, { zones: ["eu/de"] }));
  expect(inside.where).toBe("a");
});

it("an endpoint of which the directory says the same in other objects is left alone, also one that cannot be dialled", async () => {
  const clock = virtualClock();
  const { offloader, list, dialled, events } = fleet(clock, info("a"), info("broken"));
  await clock.runUntil(offloader.infer("toy", { x }));
  const rates = { microsPerSecond: 0, microsPerMegabyte: 0, activeWatts: 2 };
  list(info("a", { rates, codecs: ["raw"] }), info("broken", { rates }));
  expect(dialled.map(({ id, closed }) => [id, closed])).toEqual([["a", false]]);
  expect(events.filter((event) => event.kind === "failure")).toHaveLength(1);
  list(info("a", { rates: { ...rates, microsPerSecond: 1 } }));
  expect(dialled.map(({ id, closed }) => [id, closed])).toEqual([
    ["a", true],
    ["a", false],
  ]);
});

it("a directory that goes on with other objects has what it says of an endpoint looked into once", () => {
  const { list, dialled } = fleet(virtualClock(), info("a"));
  let looks = 0;
  const look = (): EndpointInfo => {
    looks++;
    return info("a");
  };
  const again = Object.defineProperty(info("a"), "toJSON", { value: look });
  for (let time = 0; time < 3; time++) list(again);
  expect([looks, dialled.length]).toEqual([1, 1]);
});

it("an entry that cannot be dialled costs the others nothing, and is told", async () => {
  const clock = virtualClock();
  const { offloader, events, list } = fleet(clock, info("broken"), info("a"));
  expect((await clock.runUntil(offloader.infer("toy", { x }))).where).toBe("a");
  list(info("broken", { zone: "eu/fr" }), info("b"));
  expect((await clock.runUntil(offloader.infer("toy", { x }))).where).toBe("b");
  const failures = events.filter((event) => event.kind === "failure" && event.callId === "dial-broken");
  expect(failures).toHaveLength(2);
});

it("a plan tells how old the knowledge of endpoints is that it was made with", async () => {
  const clock = virtualClock();
  const { offloader } = fleet(clock, info("a"));
  const plan = await clock.runUntil(offloader.explain("toy", { x }));
  expect(plan.directory).toEqual({ ageMs: 90_000, problem: "the source is away" });
  const none = await clock.runUntil(offloader.explain("toy", { x }, { zones: ["us"] }));
  expect(isInfeasible(none)).toBe(true);
  expect(none.directory?.ageMs).toBe(90_000);
});
