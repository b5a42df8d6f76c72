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
import {
  type Call,
  housekeepingCall,
  LongshoreError,
  type LongshoreEvent,
  seededRandom,
  silentObserver,
  sleep,
} from "../../words/base/index.ts";
import type { Endpoint } from "../../wire/endpoint/index.ts";
import { radios } from "../../decide/estimate/index.ts";
import { tablePolicy } from "../../decide/policy/index.ts";
import {
  float32Tensor,
  float32View,
  type Tensor,
  type Tensors,
  tensorsOf,
} from "../../words/tensor/index.ts";
import { createOffloader } from "./create-offloader.ts";
import { offloadEndpoint } from "./offload-endpoint.ts";
import type { OffloadParts } from "../race/index.ts";

const description = doubleDescription({
  name: "twice",
  digest: `sha256:${"5".repeat(64)}`,
  inputs: [{ name: "x", datatype: "FP32", shape: [1] }],
  outputs: [{ name: "y", datatype: "FP32", shape: [1] }],
  dataClass: "internal",
});
const { segment } = doubleOffer(description, doubleInfo, 1);
const one = (name: string, value: number): Tensors =>
  tensorsOf(float32Tensor(name, [1], Float32Array.of(value)));
const valueOf = (tensors: Tensors, name: string): number => float32View(tensors.get(name)!)[0]!;

type Fault = "none" | "refuses" | "hangs" | "hangs in the body" | "breaks" | "lies" | "is busier";

/** A server that doubles in `runMs`. */
function server(clock: ManualClock, id: string, runMs: number) {
  const info = { ...doubleInfo, id, zone: "eu" };
  const state = { fault: "none" as Fault, runMs, refusesMs: 200, begins: (): void => undefined };
  // Others send there, too.
  const load = { atMs: 0, cpuRatio: 0, inFlight: 8, queueMs: 0 };
  const run = async (inputs: Tensors, _: unknown, { abort }: Call) => {
    if (state.fault === "breaks") throw new LongshoreError("bad-reply", "decode", "made up");
    if (state.fault === "refuses") throw new LongshoreError("tenant-limit", "admission", "made up");
    await sleep(clock, state.fault.startsWith("hangs") ? Infinity : state.runMs, abort);
    return { outputs: one("y", valueOf(inputs, "x") * (state.fault === "lies" ? 2.2 : 2)), load };
  };
  const double = doubleEndpoint(
    [{ description, offers: [doubleOffer(description, info, runMs)], run }],
    info,
  );
  const infer: Endpoint["infer"] = async (request, call, progress) => {
    state.begins();
    if (state.fault === "is busier" && call.mostWaitMs !== undefined) {
      await sleep(clock, state.refusesMs, call.abort);
      progress?.refused?.({ ...load, queueMs: 50 });
      throw new LongshoreError("busier", "admission", "others came first", { retryAfterMs: 1 });
    }
    progress?.acknowledged(state.fault === "hangs in the body" ? 3 : 4);
    return double.infer(request, call);
  };
  return { ...double, asked: double.requests, infer, state };
}

type Server = ReturnType<typeof server>;

/** An offloader over a directory that lists other servers from `list` on. */
function finding(servers: readonly Server[], clock: ManualClock) {
  const directory = listedDirectory(servers.map(({ info }) => info));
  const parts: OffloadParts = {
    policy: tablePolicy({ internal: { leastTrust: "none" } }),
    clock,
    random: seededRandom(7),
    observer: silentObserver,
    links: () => undefined,
    directory,
    dial: (info) => ({ ...servers.find((one) => one.info.id === info.id)!, info }),
    checks: { sampleRatio: 0 },
  };
  return { parts, list: directory.list };
}

/** A gateway before servers, asked until all of them are known; and how long it takes from then on, at most 5 s. */
async function gatewayOf(servers: readonly Server[], clock: ManualClock, confirm: boolean, goal?: string) {
  const { parts, list } = finding(servers, clock);
  const gateway = offloadEndpoint({ ...parts, info: { ...doubleInfo, id: "gate", zone: "eu" } });
  const rules = {
    dataClass: "internal",
    leastTrust: "none" as const,
    zones: ["eu"],
    ...(confirm ? { confirm } : {}),
  };
  const request = { segment, inputs: one("x", 3), codecs: {} };
  const ask = async (): Promise<number> => {
    const beganMs = clock.nowMs();
    const call = {
      ...housekeepingCall("c"),
      rules,
      deadlineMs: beganMs + 5000,
      ...(goal === undefined ? {} : { goal }),
    };
    const { outputs } = await clock.finish(gateway.infer(request, call));
    expect(valueOf(outputs, "y")).toBe(6);
    return clock.nowMs() - beganMs;
  };
  for (const { state } of servers) {
    state.runMs = 4;
    for (let count = 0; count < 10; count++) await ask();
    state.runMs = 5;
  }
  return { gateway, ask, list };
}

describe.each(["hangs", "hangs in the body"] as const)("behind a gateway where a server %s", (fault) => {
  it("the other of two endpoints is used, though it was paused when the first was chosen", async () => {
    const clock = manualClock();
    const servers = [server(clock, "a", 5), server(clock, "b", 6)];
    const { ask } = await gatewayOf(servers, clock, false);
    for (let count = 0; count < 12; count++) await ask();
    const [used, other] = servers.toSorted((a, b) => b.asked.length - a.asked.length) as [Server, Server];
    used.state.fault = "breaks";
    await ask();
    // It is left alone for about a quarter of a second.
    used.state.fault = "none";
    other.state.fault = fault;
    expect(await ask()).toBeLessThan(450);
  });

  it("the last of three endpoints is used when the back-up hangs, too, or breaks", async () => {
    for (const second of [fault, "breaks"] as const) {
      const clock = manualClock();
      const servers = ["a", "b", "c"].map((id, at) => server(clock, id, 5 + at));
      const { ask } = await gatewayOf(servers, clock, false);
      for (let count = 0; count < 12; count++) await ask();
      const before = servers.map(({ asked }) => asked.length);
      const inUse = servers.toSorted((a, b) => b.asked.length - a.asked.length);
      inUse[0]!.state.fault = fault;
      inUse[1]!.state.fault = second;
      expect(await ask()).toBeLessThan(300);
      expect(servers.map(({ asked }, at) => asked.length - before[at]!)).toEqual([1, 1, 1]);
    }
  });

  it("and a second opinion was due from it, a third endpoint gives it, though another opinion had tried that one in vain", async () => {
    const clock = manualClock();
    const servers = ["a", "b", "c"].map((id, at) => server(clock, id, 5 + at));
    const { ask } = await gatewayOf(servers, clock, true);
    for (const silent of servers) {
      for (let count = 0; count < 15; count++) await ask();
      // The others are late, so that each may be begun in place of another, and is not waited for.
      for (const { state } of servers) state.runMs = 70;
      silent.state.fault = fault;
      expect(await ask()).toBeLessThan(400);
      silent.state.fault = "none";
      for (const { state } of servers) state.runMs = 5;
      await clock.advance(60_000);
    }
  });

  it("and its replacement gives another answer, the fourth endpoint decides which one is right", async () => {
    const clock = manualClock();
    const servers = ["a", "b", "c", "d"].map((id, at) => server(clock, id, 5 + at));
    const { ask } = await gatewayOf(servers, clock, true);
    for (let count = 0; count < 15; count++) await ask();
    const before = servers.map(({ asked }) => asked.length);
    servers[0]!.state.fault = fault;
    servers[2]!.state.fault = "lies";
    expect(await ask()).toBeLessThan(400);
    expect(Math.max(...servers.map(({ asked }, at) => asked.length - before[at]!))).toBe(1);
  });

  it.each([2, 3])("one of %i servers is asked again that had only too much to do", async (count) => {
    for (let hung = 0; hung < count; hung++) {
      const clock = manualClock();
      const servers = ["a", "b", "c"].slice(0, count).map((id, at) => server(clock, id, 5 + at));
      // With three, two of them are to say the same.
      const { ask } = await gatewayOf(servers, clock, count === 3);
      for (let asked = 0; asked < 15; asked++) await ask();
      servers[hung]!.state.fault = fault;
      servers[(hung + count - 1) % count]!.state.fault = "is busier";
      expect(await ask()).toBeLessThan(500);
    }
  });

  it("an endpoint that was only busy is tried again, and not the one that gives the other opinion", async () => {
    for (let hung = 0; hung < 3; hung++) {
      for (const busy of [(hung + 1) % 3, (hung + 2) % 3]) {
        const clock = manualClock();
        const servers = ["a", "b", "c"].map((id, at) => server(clock, id, 20 + at));
        const { ask } = await gatewayOf(servers, clock, true);
        for (let asked = 0; asked < 15; asked++) await ask();
        servers[hung]!.state.fault = fault;
        await ask();
        await ask();
        await clock.advance(2000);
        Object.assign(servers[busy]!.state, { fault: "is busier", refusesMs: 2 });
        const before = servers.map(({ asked }) => asked.length);
        expect(await ask()).toBeLessThan(60);
        const well = 3 - hung - busy;
        expect(servers[well]!.asked.length - before[well]!).toBe(1);
      }
    }
  });

  it("and at once where its replacement is expected to take much longer, unless no deadline is near", async () => {
    for (const goal of [undefined, "cost"]) {
      const clock = manualClock();
      const [used, slow] = [server(clock, "a", 5), server(clock, "b", 60)];
      const { ask } = await gatewayOf([used, slow], clock, false, goal);
      slow.state.runMs = 60;
      for (let count = 0; count < 3; count++) {
        used.state.fault = "breaks";
        await ask();
        used.state.fault = "none";
        await clock.advance(60_000);
      }
      for (let count = 0; count < 15; count++) await ask();
      slow.state.fault = fault;
      Object.assign(used.state, { fault: "is busier", refusesMs: 150 });
      expect((await ask()) < 165).toBe(goal === undefined);
    }
  });

  it("and at once where its replacement is known to hang", async () => {
    const clock = manualClock();
    const servers = [server(clock, "a", 5), server(clock, "b", 6)];
    const { ask } = await gatewayOf(servers, clock, false);
    for (let count = 0; count < 15; count++) await ask();
    const [used, other] = servers.toSorted((a, b) => b.asked.length - a.asked.length) as [Server, Server];
    used.state.fault = fault;
    await ask();
    await ask();
    await clock.advance(2000);
    other.state.fault = "is busier";
    expect(await ask()).toBeLessThan(215);
  });
});

/** A gateway before so many servers that know all of them, and these, the one in use first. */
async function inUse(clock: ManualClock, ...ids: readonly string[]) {
  const servers = ids.map((id, at) => server(clock, id, 5 + at));
  const gateway = await gatewayOf(servers, clock, false);
  for (let count = 0; count < 12; count++) await gateway.ask();
  const sorted = servers.toSorted((a, b) => b.asked.length - a.asked.length);
  const before = sorted.map(({ asked }) => asked.length);
  const asked = (): number[] => sorted.map(({ asked }, at) => asked.length - before[at]!);
  return { ...gateway, servers: sorted, asked };
}

describe("the replacement run for a server that hangs", () => {
  it("is not sent to another endpoint of the name that the plan had", async () => {
    const clock = manualClock();
    const { ask, list, servers, asked } = await inUse(clock, "a", "b");
    const [used, other] = servers as [Server, Server];
    used.state.fault = "hangs";
    // Listed again, where the rules of the request let nothing go.
    clock.timer(6, () => list(used.info, { ...other.info, zone: "us" }));
    await expect(ask()).rejects.toThrow(expect.objectContaining({ reason: "deadline-exceeded" }));
    // The silent one gets it again, in case only the first try was lost.
    const [again = 0, elsewhere] = asked();
    expect(elsewhere).toBe(0);
    expect(again).toBeGreaterThan(1);
    expect(again).toBeLessThan(9);
  });

  it("is sent to a third endpoint where the back-up has left the directory meanwhile", async () => {
    const clock = manualClock();
    const { ask, list, servers, asked } = await inUse(clock, "a", "b", "c");
    const [used, , third] = servers as [Server, Server, Server];
    used.state.fault = "hangs";
    clock.timer(6, () => list(used.info, third.info));
    expect(await ask()).toBeLessThan(300);
    expect(asked()).toEqual([1, 0, 1]);
  });

  it("is not sent again to an endpoint that refused an earlier plan of the request", async () => {
    const clock = manualClock();
    const { ask, servers, asked } = await inUse(clock, "a", "b", "c");
    for (const [at, { state }] of servers.entries()) state.fault = at < 2 ? "refuses" : "hangs";
    await expect(ask()).rejects.toThrow(expect.objectContaining({ reason: "deadline-exceeded" }));
    // The one that hangs gets it once more, in case only its answer was lost.
    expect(asked()).toEqual([1, 1, 2]);
  });

  it("is one thing for one failure", async () => {
    const clock = manualClock();
    const { ask, servers } = await inUse(clock, "a", "b", "c", "d", "e", "f");
    const beganMs: number[] = [];
    for (const one of servers) {
      one.state.begins = () => {
        beganMs.push(clock.nowMs());
        one.state.fault = beganMs.length === 3 ? "refuses" : "hangs";
      };
    }
    await expect(ask()).rejects.toThrow(expect.objectContaining({ reason: "deadline-exceeded" }));
    const [, , refusedMs] = beganMs;
    expect(beganMs.filter((atMs) => atMs === refusedMs)).toHaveLength(2);
  });

  it("is looked for again where nobody is left, which is written down once for each reason", async () => {
    const clock = manualClock();
    const servers = ["a", "b"].map((id, at) => server(clock, id, 5 + at));
    const { parts } = finding(servers, clock);
    const inVain: string[] = [];
    const record = (event: LongshoreEvent): void => {
      if (event.kind === "leg-late" && !event.begun) inVain.push(`${event.leg} ${event.because}`);
    };
    await using app = createOffloader({
      ...parts,
      observer: { record },
      defaults: { dataClass: "internal" },
    });
    const ask = () => clock.finish(app.infer("twice", { x: Float32Array.of(3) }, { deadlineMs: 5000 }));
    for (let count = 0; count < 12; count++) await ask();
    for (const { state } of servers) state.fault = "hangs";
    await expect(ask()).rejects.toThrow(expect.objectContaining({ reason: "deadline-exceeded" }));
    expect(inVain.length).toBeGreaterThan(0);
    expect(new Set(inVain).size).toBe(inVain.length);
  });

  it("is told along with where it came from", async () => {
    const clock = manualClock();
    const servers = ["a", "b", "c"].map((id, at) => server(clock, id, 5 + at));
    const { parts } = finding(servers, clock);
    await using app = createOffloader({ ...parts, defaults: { dataClass: "internal" } });
    const ask = () => clock.finish(app.infer("twice", { x: Float32Array.of(3) }, { deadlineMs: 5000 }));
    for (const { state } of servers) {
      state.runMs = 4;
      for (let count = 0; count < 10; count++) await ask();
      state.runMs = 5;
    }
    for (let count = 0; count < 12; count++) await ask();
    const [first, second, third] = servers.toSorted((a, b) => b.asked.length - a.asked.length) as [
      Server,
      Server,
      Server,
    ];
    first.state.fault = second.state.fault = "hangs";
    const { where, because } = await ask();
    expect(where).toBe(third.info.id);
    expect(because).toContain(`; ${third.info.id} answered instead of ${second.info.id}`);
  });
});

it.each([
  ["before it is planned", {}],
  ["after it was planned", { wire: { headerLength: 0, body: { kind: "parts", parts: [] } as const } }],
])("a request that is read %s is not sent to what its endpoint was listed as meanwhile", async (_, more) => {
  const clock = manualClock();
  const [here, there] = [server(clock, "gate", 50), server(clock, "there", 5)];
  const { parts, list } = finding([there], clock);
  const gateway = offloadEndpoint({ ...parts, local: here, info: here.info });
  const rules = { dataClass: "internal", leastTrust: "none" as const, zones: ["eu"] };
  const x = one("x", 3).get("x")!;
  const ask = (read: () => Promise<Tensor>) => {
    const inputs = new Map([["x", { spec: x.spec, byteLength: 4, read }]]);
    return clock.finish(
      gateway.infer({ segment, inputs, codecs: {}, ...more }, { ...housekeepingCall("c"), rules }),
    );
  };
  for (let count = 0; count < 12; count++) await ask(() => Promise.resolve(x));
  const before = there.asked.length;
  expect(before).toBeGreaterThan(0);
  const { outputs } = await ask(async () => {
    list({ ...there.info, zone: "us" });
    await sleep(clock, 1);
    return x;
  });
  expect(valueOf(outputs, "y")).toBe(6);
  expect(there.asked.length).toBe(before);
});

it("a silent endpoint gets no more questions at once the longer its silence lasts", async () => {
  const clock = manualClock();
  const [here, there] = [server(clock, "here", 50), server(clock, "there", 5)];
  let [silent, open, most] = [false, 0, 0];
  const offers: Endpoint["offers"] = async (query, call) => {
    if (!silent) return there.offers(query, call);
    most = Math.max(most, ++open);
    await sleep(clock, Infinity, call.abort).finally(() => open--);
    return [];
  };
  const { parts } = finding([there], clock);
  await using app = createOffloader({
    ...parts,
    local: here,
    dial: () => ({ ...there, offers }),
    defaults: { dataClass: "internal" },
  });
  const ask = () => clock.finish(app.infer("twice", { x: Float32Array.of(3) }));
  await ask();
  silent = true;
  for (let second = 0; second < 120; second++) {
    await ask();
    await clock.advance(1000);
  }
  // One of a round of questions, and one when a pause was over.
  expect(most).toBe(2);
});

it("a question that is not answered while a request is on its way there is not held against the endpoint", async () => {
  const clock = manualClock();
  const [there, other] = [server(clock, "there", 9000), server(clock, "other", 20_000)];
  const seen = { unanswered: 0 };
  const offers: Endpoint["offers"] = (_, { abort }) =>
    sleep(clock, Infinity, abort).then(
      () => [],
      (thrown: unknown) => {
        seen.unanswered++;
        throw thrown;
      },
    );
  let silent = false;
  const { parts } = finding([there, other], clock);
  await using app = createOffloader({
    ...parts,
    dial: ({ id }) =>
      id === "other" ? other : { ...there, offers: (...asked) => (silent ? offers : there.offers)(...asked) },
    defaults: { dataClass: "internal" },
  });
  const ask = () => app.infer("twice", { x: Float32Array.of(3) });
  await clock.finish(ask());
  silent = true;
  const first = ask();
  while (seen.unanswered === 0) await clock.advance(10);
  const { where } = await clock.finish(ask());
  expect(where).toBe("there");
  expect((await first).where).toBe("there");
});

it("an app that saves energy queries no endpoint that answers requests, others each minute, and never beside a request", async () => {
  const clock = manualClock();
  const [there, other] = [server(clock, "there", 5), server(clock, "other", 900)];
  let [underWay, beside] = [0, 0];
  let questions = { there: 0, other: 0 };
  const offersOf = (id: keyof typeof questions): Endpoint["offers"] => {
    return (...asked) => {
      questions[id]++;
      beside += underWay;
      return (id === "other" ? other : there).offers(...asked);
    };
  };
  const infer: Endpoint["infer"] = (...asked) => {
    underWay++;
    return there.infer(...asked).finally(() => underWay--);
  };
  const { parts, list } = finding([there, other], clock);
  list({ ...there.info });
  await using app = createOffloader({
    ...parts,
    dial: ({ id }) =>
      id === "other" ? { ...other, offers: offersOf(id) } : { ...there, offers: offersOf("there"), infer },
    defaults: { dataClass: "internal" },
  });
  const askedIn = async (seconds: number, objective: "energy" | "latency"): Promise<typeof questions> => {
    questions = { there: 0, other: 0 };
    beside = 0;
    for (let second = 0; second < seconds; second++) {
      const { where } = await clock.finish(app.infer("twice", { x: Float32Array.of(3) }, { objective }));
      expect(where).toBe("there");
      await clock.advance(1000);
    }
    return questions;
  };
  expect((await askedIn(30, "latency")).there).toBeGreaterThanOrEqual(5);
  expect(await askedIn(150, "energy")).toEqual({ there: 0, other: 0 });
  list(there.info, other.info);
  await askedIn(1, "energy");
  const asked = await askedIn(150, "energy");
  expect(asked.there).toBe(0);
  expect(asked.other).toBeGreaterThanOrEqual(1);
  expect(asked.other).toBeLessThanOrEqual(3);
  expect(beside).toBe(0);
});

it("a result tells what was used by an exchange that broke", async () => {
  const clock = manualClock();
  const [here, there] = [server(clock, "here", 50), server(clock, "there", 5)];
  const { parts } = finding([there], clock);
  const { lte } = radios;
  await using app = createOffloader({
    ...parts,
    local: here,
    device: { radio: lte },
    defaults: { dataClass: "internal" },
  });
  const ask = () => clock.finish(app.infer("twice", { x: Float32Array.of(3) }));
  for (let count = 0; count < 5; count++) await ask();
  await clock.advance(lte.tailMs);
  there.state.fault = "breaks";
  const { where, energy } = await ask();
  expect(where).toBe("here");
  expect(energy.label).toBe("estimated");
  expect(energy.millijoules).toBeGreaterThan(lte.promotionMillijoules + lte.tailMs * lte.tailWatts);
});
