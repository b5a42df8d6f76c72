import {
  doubleDescription,
  doubleEndpoint,
  doubleInfo,
  doubleOffer,
  listedDirectory,
  type ManualClock,
  manualClock,
} from "@longshore/testkit";
import { describe, expect, it } from "vitest";
import { type Call, LongshoreError, seededRandom, silentObserver, sleep } from "../../words/base/index.ts";
import type { Endpoint } from "../../wire/endpoint/index.ts";
import { tablePolicy } from "../../decide/policy/index.ts";
import { float32Tensor, type Tensors, tensorsOf } from "../../words/tensor/index.ts";
import type { OffloadParts } from "../race/index.ts";
import { createOffloader } from "./create-offloader.ts";

const description = doubleDescription({
  name: "twice",
  digest: `sha256:${"6".repeat(64)}`,
  inputs: [{ name: "x", datatype: "FP32", shape: [1] }],
  outputs: [{ name: "y", datatype: "FP32", shape: [1] }],
  dataClass: "internal",
});
const x = { x: float32Tensor("x", [1], Float32Array.of(3)) };
const y: Tensors = tensorsOf(float32Tensor("y", [1], Float32Array.of(6)));

interface ServerOptions {
  readonly zone?: string;
  readonly runMs?: number;
  /** Delay before it describes its models, in milliseconds; Infinity for a silent server. */
  readonly saysMs?: number;
  /** Until when it says that it is starting, in milliseconds. */
  readonly startsMs?: number;
}

/** A server that runs the model, or a device. */
function server(
  clock: ManualClock,
  id: string,
  { zone = "eu", runMs = 5, saysMs = 0, startsMs = 0 }: ServerOptions = {},
) {
  const info = { ...doubleInfo, id, zone };
  const state = { losesReplies: 0, refuses: false, runs: 0 };
  const run = async (_inputs: Tensors, _request: unknown, { abort }: Call) => {
    state.runs++;
    if (state.refuses) throw new LongshoreError("run-failed", "execute", "made up");
    await sleep(clock, state.losesReplies-- > 0 ? Infinity : runMs, abort);
    return { outputs: y };
  };
  const double = doubleEndpoint(
    [{ description, offers: [doubleOffer(description, info, runMs)], run }],
    info,
  );
  const endpoint: Endpoint = {
    ...double,
    describe: async (model, version, call) => {
      await sleep(clock, saysMs, call.abort);
      if (clock.nowMs() < startsMs) throw new LongshoreError("starting", "resolve", `${id} loads models`);
      return double.describe(model, version, call);
    },
  };
  return { endpoint, info, state };
}

type Server = ReturnType<typeof server>;

/** An offloader over a directory that is empty at first. `ask` returns the endpoint and duration of a request. */
function world(clock: ManualClock, servers: readonly Server[], change: Partial<OffloadParts> = {}) {
  const directory = listedDirectory([]);
  const parts: OffloadParts = {
    policy: tablePolicy({ internal: { zones: ["eu", "device"], leastTrust: "none" } }),
    clock,
    random: seededRandom(7),
    observer: silentObserver,
    links: () => undefined,
    directory,
    dial: ({ id }) => servers.find(({ info }) => info.id === id)!.endpoint,
    ...change,
  };
  const offloader = createOffloader(parts);
  const list = (...ids: readonly string[]): void => {
    directory.list(...servers.filter(({ info }) => ids.includes(info.id)).map(({ info }) => info));
  };
  const ask = async (deadlineMs?: number): Promise<{ readonly where: string; readonly tookMs: number }> => {
    const beganMs = clock.nowMs();
    const limits = deadlineMs === undefined ? {} : { deadlineMs };
    const { where } = await clock.finish(offloader.infer("twice", x, limits));
    return { where, tookMs: clock.nowMs() - beganMs };
  };
  return { offloader, list, ask };
}

describe("the first use of a model", () => {
  it("waits for the first server of the directory", async () => {
    const clock = manualClock();
    const { list, ask } = world(clock, [server(clock, "a")]);
    clock.timer(2000, () => list("a"));
    const { where, tookMs } = await ask(5000);
    expect(where).toBe("a");
    expect(tookMs).toBeLessThan(2100);
  });

  it("tries a starting server again soon", async () => {
    const clock = manualClock();
    const { list, ask } = world(clock, [server(clock, "a", { startsMs: 600 })]);
    list("a");
    const { where, tookMs } = await ask(1000);
    expect(where).toBe("a");
    expect(tookMs).toBeLessThan(800);
  });

  it("waits for it beside a device that does not have the model", async () => {
    const clock = manualClock();
    const local = doubleEndpoint([], { ...doubleInfo, id: "device", tier: "device", zone: "device" });
    const { list, ask } = world(clock, [server(clock, "a")], { local });
    clock.timer(1000, () => list("a"));
    expect((await ask(5000)).where).toBe("a");
  });

  it("waits for it until the deadline, however short that of another request is", async () => {
    const clock = manualClock();
    const { offloader, list } = world(clock, [server(clock, "a")]);
    const short = offloader.infer("twice", x, { deadlineMs: 500 });
    const long = offloader.infer("twice", x, { deadlineMs: 4000 });
    const refused = short.catch((error: unknown) => error);
    clock.timer(1500, () => list("a"));
    expect((await clock.finish(long)).where).toBe("a");
    expect(await refused).toMatchObject({
      reason: "deadline-exceeded",
      message: expect.stringContaining("no server is known yet that could have twice"),
    });
  });

  it("waits at most the time that is set, and then says that no server is known yet", async () => {
    const clock = manualClock();
    const { ask } = world(clock, [], { upkeep: { firstOfferMs: 700 } });
    await expect(ask()).rejects.toMatchObject({ reason: "no-endpoint", retryAfterMs: 1000 });
    expect(clock.nowMs()).toBe(700);
  });

  it("fails at once where no server can come", async () => {
    const clock = manualClock();
    const nothing = doubleEndpoint([], { ...doubleInfo, id: "b" });
    const parts: OffloadParts = {
      policy: tablePolicy({}),
      clock,
      random: seededRandom(1),
      observer: silentObserver,
      links: () => undefined,
    };
    await expect(createOffloader(parts).infer("twice", x)).rejects.toMatchObject({ reason: "unreachable" });
    const knowsNothing = createOffloader({ ...parts, endpoints: [nothing] }).infer("twice", x);
    await expect(clock.finish(knowsNothing)).rejects.toMatchObject({ reason: "unknown-model" });
    expect(clock.nowMs()).toBe(0);
  });

  it("waits for a silent server no longer than a moment after another one has answered", async () => {
    const clock = manualClock();
    const servers = [server(clock, "silent", { saysMs: Infinity }), server(clock, "a", { saysMs: 20 })];
    const { list, ask } = world(clock, servers);
    list("silent", "a");
    const { where, tookMs } = await ask();
    expect(where).toBe("a");
    expect(tookMs).toBeLessThan(400);
  });

  it("leaves a device that has the model the time that it needs", async () => {
    const clock = manualClock();
    const { endpoint: local } = server(clock, "device", { zone: "device", runMs: 150 });
    const { list, ask } = world(clock, [server(clock, "silent", { saysMs: Infinity })], { local });
    list("silent");
    const { where, tookMs } = await ask(400);
    expect(where).toBe("device");
    expect(tookMs).toBeLessThan(300);
  });

  it("waits for the server that may take the request where one that may not has answered first", async () => {
    const clock = manualClock();
    const servers = [server(clock, "us", { zone: "us" }), server(clock, "eu", { saysMs: 1200 })];
    const { list, ask } = world(clock, servers);
    list("us", "eu");
    const { where, tookMs } = await ask(5000);
    expect(where).toBe("eu");
    expect(tookMs).toBeLessThan(1300);
  });
});

describe("a lone server that is silent", () => {
  /** A server that has answered ten requests. */
  async function used() {
    const clock = manualClock();
    const lone = server(clock, "a");
    const { list, ask } = world(clock, [lone]);
    list("a");
    for (let count = 0; count < 10; count++) await ask(5000);
    return { clock, lone, ask };
  }

  it("is sent the request again while the first try is under way", async () => {
    const { lone, ask } = await used();
    lone.state.losesReplies = 1;
    const { tookMs } = await ask(5000);
    // A third of the time is left to the first try: the server may only be slow.
    expect(tookMs).toBeLessThan(2500);
    expect(lone.state.runs).toBe(12);
  });

  it("and is not waited for where it says to a later try that it does not take the request", async () => {
    const { clock, lone, ask } = await used();
    const beganMs = clock.nowMs();
    lone.state.losesReplies = 1;
    clock.timer(100, () => void (lone.state.refuses = true));
    await expect(ask(5000)).rejects.toMatchObject({ reason: "run-failed" });
    expect(clock.nowMs() - beganMs).toBeLessThan(2500);
  });
});
