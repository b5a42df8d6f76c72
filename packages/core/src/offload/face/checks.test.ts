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
  sleep,
  untilAborted,
} from "../../words/base/index.ts";
import type { CheckOptions, GoldenInputs } from "../check/index.ts";
import { type Endpoint, type EndpointInfo, wrapEndpoint } from "../../wire/endpoint/index.ts";
import { tablePolicy } from "../../decide/policy/index.ts";
import {
  float32Tensor,
  float32View,
  give,
  isGiven,
  type Tensors,
  tensorsOf,
} from "../../words/tensor/index.ts";
import { createOffloader } from "./create-offloader.ts";
import { offloadEndpoint } from "./offload-endpoint.ts";
import type { Limits } from "../offloader/index.ts";
import type { OffloadDefaults } from "../race/index.ts";

const description = doubleDescription({
  name: "twice",
  digest: `sha256:${"4".repeat(64)}`,
  inputs: [{ name: "x", datatype: "FP32", shape: [1] }],
  outputs: [{ name: "y", datatype: "FP32", shape: [1] }],
  dataClass: "internal",
});
const { segment } = doubleOffer(description, doubleInfo, 1);

const one = (name: string, value: number): Tensors =>
  tensorsOf(float32Tensor(name, [1], Float32Array.of(value)));
const valueOf = (tensors: Tensors, name: string): number => float32View(tensors.get(name)!)[0]!;

/** An endpoint that doubles, or while it lies gives a tenth more; with a clock it takes as long as it promises. */
function testEndpoint(id: string, change: Partial<EndpointInfo> = {}, runMs = 1, clock?: ManualClock) {
  const info = { ...doubleInfo, id, zone: "eu", ...change };
  const offer = doubleOffer(description, info, runMs);
  const state = { lies: false, hangs: false, fails: false };
  const load = { atMs: 0, cpuRatio: 0, inFlight: 0, queueMs: 0 };
  const run = async (inputs: Tensors) => {
    if (state.hangs) await new Promise(() => undefined);
    if (state.fails) throw new LongshoreError("bad-reply", "decode", "made up");
    if (clock) await sleep(clock, runMs);
    return { outputs: one("y", valueOf(inputs, "x") * (state.lies ? 2.2 : 2)), load, confidenceRatio: 0.9 };
  };
  return Object.assign(doubleEndpoint([{ description, offers: [offer], run }], info), { state, load });
}

type TestEndpoint = ReturnType<typeof testEndpoint>;

function offloader(
  clock: ManualClock,
  endpoints: readonly Endpoint[],
  checks: CheckOptions,
  local?: TestEndpoint,
  defaults: OffloadDefaults = {},
) {
  const events: LongshoreEvent[] = [];
  const parts = {
    policy: tablePolicy({
      internal: { leastTrust: "none" },
      public: { leastTrust: "none" },
      secret: { leastTrust: "vouched" },
    }),
    clock,
    random: seededRandom(7),
    observer: { record: (event: LongshoreEvent) => void events.push(event) },
    links: () => undefined,
    endpoints,
    ...(local ? { local } : {}),
    checks,
    defaults,
  };
  const made = createOffloader(parts);
  const ask = async (
    value: number,
    limits: Limits = {},
  ): Promise<{ readonly y: number; readonly where: string }> => {
    const { outputs, where } = await clock.finish(made.infer("twice", { x: Float32Array.of(value) }, limits));
    return { y: valueOf(outputs, "y"), where };
  };
  const quarantines = () =>
    events.flatMap((event) =>
      event.kind === "endpoint-quarantined" ? [`${event.endpoint} by ${event.by}`] : [],
    );
  return { offloader: made, parts, ask, events, quarantines };
}

const golden = async (): Promise<GoldenInputs> => ({
  dataClass: "public",
  pairs: [{ name: "three", inputs: one("x", 3), outputs: one("y", 6) }],
});
const always: CheckOptions = { sampleRatio: 0.5, burst: 50 };

describe("answers that are wrong and plausible", () => {
  it("keep an endpoint out that answers a golden input wrongly at its first offer", async () => {
    const clock = manualClock();
    const [liar, good] = [testEndpoint("liar"), testEndpoint("good", {}, 5)];
    liar.state.lies = true;
    const { ask, quarantines, offloader: made } = offloader(clock, [liar, good], { golden, sampleRatio: 0 });
    for (let count = 0; count < 20; count++)
      expect(await ask(count)).toEqual({ y: 2 * count, where: "good" });
    expect(quarantines()).toEqual(["liar by golden input"]);
    const plan = await clock.finish(made.explain("twice", { x: Float32Array.of(1) }));
    expect(JSON.stringify(plan)).toContain(
      "quarantined: its answer to golden input three of twice y differs",
    );
  });

  it("are found by golden inputs at intervals and after a return, and golden inputs in a row end the quarantine", async () => {
    const clock = manualClock();
    const [bad, good] = [testEndpoint("bad"), testEndpoint("good", {}, 5)];
    const checks = { golden, sampleRatio: 0, goldenEveryMs: 20_000 };
    const { ask, quarantines, events } = offloader(clock, [bad, good], checks);
    expect(await ask(1)).toEqual({ y: 2, where: "bad" });
    bad.state.lies = true;
    for (let count = 0; count < 10 && quarantines().length === 0; count++) {
      await clock.advance(5000);
      await ask(1);
    }
    expect(quarantines()).toEqual(["bad by golden input"]);
    expect((await ask(4)).where).toBe("good");
    bad.state.lies = false;
    // A second right answer in a row is not enough.
    await clock.advance(11_000);
    expect((await ask(4)).where).toBe("good");
    await clock.advance(10_000);
    expect(events.filter(({ kind }) => kind === "endpoint-readmitted")).toHaveLength(1);
    expect(await ask(4)).toEqual({ y: 8, where: "bad" });
  });

  it("are found by a golden input after a run failed at a server that stands in under a digest of its own", async () => {
    const clock = manualClock();
    const state = { fails: false, lies: false };
    const run = async (inputs: Tensors): Promise<Tensors> => {
      if (state.fails) throw new LongshoreError("run-failed", "execute", "made up");
      return one("y", valueOf(inputs, "x") * (state.lies ? 2.2 : 2));
    };
    const serves = [{ segment: { model: "twice" } }];
    const foreign = { ...description, digest: "foreign:twice/1/0" };
    const standIn = doubleEndpoint([{ description: foreign, run }], {
      ...doubleInfo,
      id: "stand-in",
      kind: "oip",
      offers: false,
      serves,
    });
    const good = testEndpoint("good", {}, 500);
    const { ask, quarantines } = offloader(clock, [good, standIn], { golden, sampleRatio: 0 });
    expect(await ask(1)).toEqual({ y: 2, where: "stand-in" });
    await clock.advance(1);
    state.fails = true;
    expect(await ask(2)).toEqual({ y: 4, where: "good" });
    Object.assign(state, { fails: false, lies: true });
    await clock.advance(6000);
    expect(quarantines()).toEqual(["stand-in by golden input"]);
    expect(await ask(3)).toEqual({ y: 6, where: "good" });
  });

  it("are found by a second endpoint, and the third decides which one is wrong", async () => {
    const clock = manualClock();
    const [liar, ...others] = [testEndpoint("liar"), testEndpoint("b", {}, 500), testEndpoint("c", {}, 600)];
    const { ask, quarantines, events } = offloader(clock, [liar!, ...others], always);
    for (let count = 0; count < 12; count++) expect((await ask(count)).where).toBe("liar");
    await clock.advance(1);
    expect(events.some((event) => event.kind === "answer-checked" && event.outcome === "agreed")).toBe(true);
    liar!.state.lies = true;
    for (let count = 0; count < 12; count++) {
      await ask(count + 1);
      await clock.advance(1);
    }
    expect(quarantines()).toEqual(["liar by agreement"]);
    expect((await ask(4)).y).toBe(8);
    // Right answers to what others are asked bring it back, and none of them reached a caller.
    liar!.state.lies = false;
    await clock.advance(6000);
    for (let count = 0; count < 60; count++) {
      expect((await ask(count)).y).toBe(2 * count);
      await clock.advance(1);
    }
    expect(events.filter(({ kind }) => kind === "endpoint-readmitted")).toHaveLength(1);
    expect((await ask(4)).where).toBe("liar");
  });

  it("are found although the third endpoint is paused after a failure: it is used all the same", async () => {
    const clock = manualClock();
    const [quick, liar, good] = [
      testEndpoint("quick"),
      testEndpoint("liar", {}, 5),
      testEndpoint("good", {}, 50),
    ];
    const { ask, quarantines } = offloader(clock, [quick, liar, good], always);
    expect((await ask(1)).where).toBe("quick");
    quick.state.fails = true;
    expect((await ask(1)).where).toBe("liar");
    quick.state.fails = false;
    liar.state.lies = true;
    for (let count = 0; count < 12 && quarantines().length === 0; count++)
      expect((await ask(1)).where).toBe("liar");
    expect(quarantines()).toEqual(["liar by agreement"]);
    expect(clock.nowMs()).toBeLessThan(100);
  });

  it("are found while another endpoint is in quarantine, which is not judged by a liar alone", async () => {
    const clock = manualClock();
    const [liar, mended, good] = [
      testEndpoint("liar"),
      testEndpoint("mended", {}, 5),
      testEndpoint("good", {}, 50),
    ];
    const { ask, quarantines, events } = offloader(clock, [liar, mended, good], always);
    mended.state.lies = true;
    for (let count = 0; count < 24 && quarantines().length === 0; count++) {
      expect(await ask(1)).toEqual({ y: 2, where: "liar" });
      await clock.advance(1);
    }
    expect(quarantines()).toEqual(["mended by agreement"]);
    mended.state.lies = false;
    await clock.advance(6000);
    liar.state.lies = true;
    for (let count = 0; count < 12 && quarantines().length === 1; count++) {
      expect((await ask(1)).where).toBe("liar");
      await clock.advance(1);
    }
    expect(quarantines()).toEqual(["mended by agreement", "liar by agreement"]);
    expect(
      events.some(
        (one) => one.kind === "answer-checked" && one.endpoint === "mended" && one.outcome === "agreed",
      ),
    ).toBe(true);
    expect((await ask(2)).y).toBe(4);
  });

  it("count against an endpoint in quarantine although no other endpoint can judge them", async () => {
    const clock = manualClock();
    const [quick, bad, judge] = [
      testEndpoint("quick"),
      testEndpoint("bad", {}, 5),
      testEndpoint("judge", {}, 50),
    ];
    const { ask, quarantines, events } = offloader(clock, [quick, bad, judge], always);
    const askUntil = async (done: () => boolean): Promise<void> => {
      for (let count = 0; count < 60 && !done(); count++) {
        expect((await ask(1)).where).toBe("quick");
        await clock.advance(1);
      }
    };
    bad.state.lies = true;
    await askUntil(() => quarantines().length > 0);
    expect(quarantines()).toEqual(["bad by agreement"]);
    await clock.advance(6000);
    judge.state.fails = true;
    bad.state.lies = false;
    const before = bad.requests.length;
    await askUntil(() => bad.requests.length >= before + 5);
    bad.state.lies = true;
    await askUntil(() => bad.requests.length >= before + 6);
    expect(bad.requests.length).toBe(before + 6);
    bad.state.lies = false;
    // Ten right answers in a row end a quarantine: five, a lie and six more are none.
    await askUntil(() => bad.requests.length >= before + 12);
    expect(events.filter(({ kind }) => kind === "endpoint-readmitted")).toEqual([]);
  });

  it("are told from right ones by the device", async () => {
    const clock = manualClock();
    const liar = testEndpoint("liar");
    const device = testEndpoint("device", { tier: "device", zone: "device" }, 50);
    const { ask, quarantines } = offloader(clock, [liar], always, device);
    expect((await ask(1)).where).toBe("liar");
    liar.state.lies = true;
    for (let count = 0; count < 12 && quarantines().length === 0; count++) {
      await ask(1);
      await clock.advance(100);
    }
    expect(quarantines()).toEqual(["liar by agreement"]);
    expect(await ask(2)).toEqual({ y: 4, where: "device" });
  });

  it("keep an endpoint out that comes back, or of which the directory says something else, until it is right", async () => {
    const clock = manualClock();
    const [bad, good] = [testEndpoint("bad"), testEndpoint("good", {}, 5)];
    const { parts, events } = offloader(clock, [], { golden, sampleRatio: 0 });
    const directory = listedDirectory([bad.info, good.info]);
    const made = createOffloader({
      ...parts,
      directory,
      dial: (info) => wrapEndpoint(info.id === "bad" ? bad : good, { info, close: () => Promise.resolve() }),
    });
    const where = async (): Promise<string> =>
      (await clock.finish(made.infer("twice", { x: Float32Array.of(1) }))).where;
    const list = async (...now: readonly EndpointInfo[]): Promise<void> => {
      directory.list(...now);
      await clock.advance(500);
    };
    bad.state.lies = true;
    expect(await where()).toBe("good");
    // Asked a golden input at once it would give the right answer.
    bad.state.lies = false;
    await list({ ...bad.info, serves: [{ segment: { model: "twice" } }] }, good.info);
    expect(await where()).toBe("good");
    await list(good.info);
    expect(await where()).toBe("good");
    await list(bad.info, good.info);
    expect(await where()).toBe("good");
    // Three in a row end it.
    await clock.advance(15_000);
    expect(events.filter(({ kind }) => kind === "endpoint-readmitted")).toHaveLength(1);
    expect(await where()).toBe("bad");
  });

  it("leave no golden input waiting when the offloader is closed", async () => {
    const clock = manualClock();
    const bad = testEndpoint("bad");
    const far: Endpoint = wrapEndpoint(bad, {
      infer: (request, call) => untilAborted(bad.infer(request, call), call.abort, "execute"),
    });
    const { ask, offloader: made } = offloader(clock, [far], { golden, sampleRatio: 0 });
    bad.state.lies = true;
    await expect(ask(1)).rejects.toThrow("quarantined");
    bad.state.hangs = true;
    // It is asked again now, and does not answer.
    await clock.advance(6000);
    await clock.finish(made.close());
    await clock.advance(1);
    expect(clock.armed()).toBe(0);
  });

  it("let an endpoint back that has replaced the content with the wrong answers", async () => {
    const clock = manualClock();
    const bad = testEndpoint("bad");
    const next = { ...description, version: "2", digest: `sha256:${"5".repeat(64)}` };
    const offers = [doubleOffer(next, bad.info, 1)];
    const run = (inputs: Tensors): Tensors => one("y", valueOf(inputs, "x") * 2);
    const second = doubleEndpoint([{ description: next, offers, run }], bad.info);
    const mended: Endpoint = wrapEndpoint(second, {
      async infer(request, call) {
        if (request.segment.version === "2") return second.infer(request, call);
        throw new LongshoreError("unknown-version", "resolve", "there is no such version any more");
      },
    });
    const { parts, events } = offloader(clock, [], { golden, sampleRatio: 0 });
    let now: Endpoint = bad;
    const directory = listedDirectory([bad.info]);
    const made = createOffloader({
      ...parts,
      directory,
      dial: (info) => wrapEndpoint(now, { info, close: () => Promise.resolve() }),
    });
    const ask = async (): Promise<number> =>
      valueOf((await clock.finish(made.infer("twice", { x: Float32Array.of(4) }))).outputs, "y");
    bad.state.lies = true;
    await expect(ask()).rejects.toThrow("quarantined");
    now = mended;
    directory.list({ ...bad.info, serves: [{ segment: { model: "twice", version: "2" } }] });
    await clock.advance(500);
    await expect(ask()).rejects.toThrow("quarantined");
    for (let count = 0; count < 24; count++) {
      await clock.advance(5000);
      await ask().catch(() => undefined);
    }
    expect(events.filter(({ kind }) => kind === "endpoint-readmitted")).toHaveLength(1);
    expect(await ask()).toBe(8);
  });

  it("are left on their way where their endpoint was found to lie before they began to arrive", async () => {
    const clock = manualClock();
    const bad = testEndpoint("bad");
    const calls: Call[] = [];
    const far: Endpoint = wrapEndpoint(bad, {
      async infer(request, call) {
        const response = await bad.infer(request, call);
        if (call.id.startsWith("golden")) return response;
        calls.push(call);
        await sleep(clock, 30_000);
        const body = { kind: "stream", byteLength: 1e6, read: () => new ReadableStream() } as const;
        return { ...response, outputs: new Map(), wire: { headers: {}, headerLength: 1, body } };
      },
    });
    const { parts } = offloader(clock, [], { golden, sampleRatio: 0, goldenEveryMs: 10_000 });
    const info = { ...doubleInfo, id: "gateway", zone: "eu" };
    const gateway = offloadEndpoint({ ...parts, info, endpoints: [far] });
    const asked = { segment, inputs: one("x", 1), codecs: {} };
    const answered = gateway.infer(asked, { ...housekeepingCall("test") });
    await clock.advance(500);
    bad.state.lies = true;
    await expect(clock.finish(answered)).rejects.toThrow("quarantined");
    expect(calls.map(({ abort }) => abort.aborted)).toEqual([true]);
  });

  it("of two endpoints that nothing else can judge are told and nobody is blamed", async () => {
    const clock = manualClock();
    const [liar, good] = [testEndpoint("liar"), testEndpoint("good", {}, 5)];
    const { ask, quarantines, events } = offloader(clock, [liar, good], always);
    liar.state.lies = true;
    for (let count = 0; count < 12; count++) {
      await ask(1);
      await clock.advance(1);
    }
    expect(events.some((event) => event.kind === "answer-checked" && event.outcome === "undecided")).toBe(
      true,
    );
    expect(quarantines()).toEqual([]);
  });
});

describe("checks", () => {
  it("never take a request where it must not go", async () => {
    const clock = manualClock();
    const first = testEndpoint("first", { trust: "vouched" });
    const elsewhere = testEndpoint("elsewhere", { zone: "us", trust: "vouched" }, 5);
    const listed = testEndpoint("listed", { trust: "listed" }, 5);
    const { ask } = offloader(clock, [first, elsewhere, listed], always);
    for (let count = 0; count < 30; count++) {
      await ask(count, { zones: ["eu"], dataClass: "secret" });
      await clock.advance(1);
    }
    expect(first.requests.length).toBe(30);
    expect(elsewhere.requests).toEqual([]);
    expect(listed.requests).toEqual([]);
  });

  it("take the configured share of requests, and none of a caller that saves energy", async () => {
    const clock = manualClock();
    const [first, second] = [testEndpoint("first"), testEndpoint("second", {}, 5)];
    const { ask } = offloader(clock, [first, second], { sampleRatio: 0.05 });
    for (let count = 0; count < 400; count++) {
      await ask(count);
      await clock.advance(1);
    }
    const checked = (): number =>
      [...first.requests, ...second.requests].filter(({ call }) => call.id.endsWith("-check")).length;
    const before = checked();
    expect(before).toBeGreaterThan(8);
    expect(before).toBeLessThan(40);
    for (let count = 0; count < 100; count++) await ask(count, { objective: "cost" });
    expect(checked()).toBe(before);
  });
});

describe("answers that are confirmed before they are given", () => {
  const quiet: CheckOptions = { sampleRatio: 0 };
  const confirm = { confirm: true };

  it("are right while an endpoint lies, which is found out by its first lie", async () => {
    const clock = manualClock();
    const [liar, ...others] = [testEndpoint("liar"), testEndpoint("b", {}, 5), testEndpoint("c", {}, 6)];
    const { offloader: made, ask, quarantines } = offloader(clock, [liar!, ...others], quiet);
    const x = give(float32Tensor("x", [1], Float32Array.of(1)));
    const first = await clock.finish(made.infer("twice", { x }, confirm));
    // A tensor that was given away is only lent if two endpoints get it.
    expect(
      [...liar!.requests, ...others[0]!.requests].map(({ inputs }) => isGiven(inputs.get("x")!)),
    ).toEqual([false, false]);
    expect(new Set([first.where, first.confirmedBy])).toEqual(new Set(["b", "liar"]));
    expect(first.accounts.map(({ endpoint }) => endpoint).sort()).toEqual(["b", "liar"]);
    liar!.state.lies = true;
    expect((await ask(3, confirm)).y).toBe(6);
    expect(quarantines()).toEqual(["liar by agreement"]);
    const asked = liar!.requests.length;
    for (let count = 0; count < 10; count++) expect((await ask(count, confirm)).y).toBe(2 * count);
    expect(liar!.requests.length).toBe(asked);
  });

  it("bring an endpoint back by what it is shown, where nothing else is run twice", async () => {
    const clock = manualClock();
    const [liar, ...others] = [testEndpoint("liar"), testEndpoint("b", {}, 5), testEndpoint("c", {}, 6)];
    const { ask, quarantines, events } = offloader(clock, [liar!, ...others], quiet);
    liar!.state.lies = true;
    await ask(3, confirm);
    expect(quarantines()).toEqual(["liar by agreement"]);
    liar!.state.lies = false;
    await clock.advance(6000);
    for (let count = 0; count < 4000; count++) await ask(1, confirm);
    expect(events.filter(({ kind }) => kind === "endpoint-readmitted")).toHaveLength(1);
  });

  it("are given by nobody where only one endpoint is left, or two differ and nobody else can tell", async () => {
    const clock = manualClock();
    const [liar, good] = [testEndpoint("liar"), testEndpoint("good", {}, 5)];
    const alone = offloader(clock, [good], quiet);
    await expect(alone.ask(1, confirm)).rejects.toMatchObject({
      reason: "unconfirmed",
      message: expect.stringContaining("good answered twice, and no other endpoint confirms it"),
    });
    const two = offloader(clock, [liar, good], quiet);
    liar.state.lies = true;
    await expect(two.ask(1, confirm)).rejects.toMatchObject({
      reason: "unconfirmed",
      message: expect.stringMatching(/gave different answers of twice, and nobody is left/),
    });
    const judge = testEndpoint("judge", {}, 6);
    judge.state.hangs = true;
    const waiting = offloader(clock, [liar, good, judge], quiet);
    await expect(waiting.ask(1, { ...confirm, deadlineMs: 500 })).rejects.toMatchObject({
      reason: "unconfirmed",
      message: expect.stringMatching(/of twice, and nobody said who is right before the deadline$/),
    });
    expect(two.quarantines()).toEqual([]);
    // Later, golden inputs tell which endpoint was wrong.
    liar.state.lies = false;
    const judged = offloader(clock, [liar, good], { ...quiet, golden });
    await judged.ask(1);
    liar.state.lies = true;
    await expect(judged.ask(1, confirm)).rejects.toMatchObject({ reason: "unconfirmed" });
    await clock.advance(10);
    expect(judged.quarantines()).toEqual(["liar by golden input"]);
  });

  it("come from two others while an endpoint is silent, and say when the time was too short for the second", async () => {
    const clock = manualClock();
    const [silent, b, c] = [testEndpoint("silent"), testEndpoint("b", {}, 5), testEndpoint("c", {}, 6)];
    const { offloader: made, ask } = offloader(clock, [silent, b, c], quiet);
    await ask(1, confirm);
    silent.state.hangs = true;
    const result = await clock.finish(made.infer("twice", { x: Float32Array.of(4) }, confirm));
    expect(valueOf(result.outputs, "y")).toBe(8);
    expect(new Set([result.where, result.confirmedBy])).toEqual(new Set(["b", "c"]));
    b.state.hangs = true;
    await expect(ask(4, { ...confirm, deadlineMs: 500 })).rejects.toMatchObject({
      reason: "unconfirmed",
      message: "c answered twice, and no other endpoint confirms it before the deadline",
    });
    expect(clock.armed()).toBeLessThan(3);
  });

  it("come from a third endpoint where one of two breaks, and do not run on the other again", async () => {
    const clock = manualClock();
    const [a, b, c] = [
      testEndpoint("a", {}, 5, clock),
      testEndpoint("b", {}, 30, clock),
      testEndpoint("c", {}, 40, clock),
    ];
    const { offloader: made, ask } = offloader(clock, [a, b, c], quiet);
    await ask(1, confirm);
    a.state.fails = true;
    const before = b.requests.length;
    const result = await clock.finish(made.infer("twice", { x: Float32Array.of(4) }, confirm));
    expect(new Set([result.where, result.confirmedBy])).toEqual(new Set(["b", "c"]));
    expect(b.requests.length - before).toBe(1);
  });

  it("come soon from an endpoint that is left alone for its silence, when the second opinion is silent", async () => {
    const clock = manualClock();
    const [a, b, c] = [
      testEndpoint("a", {}, 5, clock),
      testEndpoint("b", {}, 6, clock),
      testEndpoint("c", {}, 4, clock),
    ];
    const { ask } = offloader(clock, [a, b, c], quiet);
    const took = async () => {
      const beganMs = clock.nowMs();
      await ask(1, { ...confirm, deadlineMs: 5000 });
      return clock.nowMs() - beganMs;
    };
    for (let count = 0; count < 20; count++) expect(await took()).toBeLessThan(20);
    c.state.hangs = true;
    for (let count = 0; count < 3; count++) await took();
    // It is left alone for its silence, which is over, when another falls silent.
    const asked = c.requests.length;
    expect(await took()).toBeLessThan(20);
    expect(c.requests.length).toBe(asked);
    c.state.hangs = false;
    b.state.hangs = true;
    expect(await took()).toBeLessThan(150);
    expect(c.requests.length).toBe(asked + 1);
  });

  it("ask no endpoint twice about one request, and a third as soon as one of the two is late", async () => {
    const clock = manualClock();
    const endpoints = ["a", "b", "c"].map((id, at) => testEndpoint(id, {}, 5 + at, clock));
    const { ask } = offloader(clock, endpoints, quiet);
    for (let count = 0; count < 20; count++) await ask(1, confirm);
    for (const silent of endpoints) {
      silent.state.hangs = true;
      const before = endpoints.map(({ requests: asked }) => asked.length);
      const beganMs = clock.nowMs();
      expect((await ask(3, { ...confirm, deadlineMs: 5000 })).y).toBe(6);
      expect(clock.nowMs() - beganMs).toBeLessThan(150);
      expect(Math.max(...endpoints.map(({ requests: asked }, at) => asked.length - before[at]!))).toBe(1);
      silent.state.hangs = false;
      await clock.advance(60_000);
      for (let count = 0; count < 20; count++) await ask(1, confirm);
    }
  });

  it("run on two endpoints at once, once each, where these report their load before a decision", async () => {
    const clock = manualClock();
    let probes = 0;
    const crowd = ["a", "b", "c"].map((id) => {
      const one = testEndpoint(id, {}, 50, clock);
      one.load.inFlight = 3;
      const probe = async () => ({ ...one.load, atMs: (probes++, clock.nowMs()) });
      return { ...one, capabilities: { probe } };
    });
    const { offloader: made, ask } = offloader(clock, crowd, quiet);
    for (let count = 0; count < 20; count++) {
      await ask(count, confirm);
      await clock.advance(20);
    }
    const before = { asked: crowd.map(({ requests: asked }) => asked.length), probes };
    for (const { state } of crowd) state.hangs = true;
    const caller = new AbortController();
    const inputs = { x: Float32Array.of(1) };
    const result = made.infer("twice", inputs, { ...confirm, signal: caller.signal }).catch(() => undefined);
    await clock.advance(1);
    expect(probes).toBeGreaterThan(before.probes);
    const asked = crowd.map((one, at) => one.requests.length - before.asked[at]!);
    expect(asked.sort((a, b) => a - b)).toEqual([0, 1, 1]);
    caller.abort();
    await clock.finish(result);
  });

  it("run on the local endpoint once, too, where it is not trusted alone", async () => {
    const clock = manualClock();
    const own = testEndpoint("gate", {}, 5, clock);
    const [silent, good] = [testEndpoint("silent", {}, 6, clock), testEndpoint("good", {}, 50, clock)];
    // Then a late one has no back-up elsewhere in its plan.
    const { parts } = offloader(clock, [silent, good], quiet, own, { objective: "cost" });
    const gate = offloadEndpoint(parts);
    const rules = { dataClass: "internal", leastTrust: "none" as const, confirm: true as const };
    const request = { segment, inputs: one("x", 1), codecs: {} };
    const ask = () =>
      gate.infer(request, { ...housekeepingCall("c"), rules, deadlineMs: clock.nowMs() + 5000 });
    for (let count = 0; count < 20; count++) await clock.finish(ask());
    silent.state.hangs = true;
    const before = [own, silent, good].map(({ requests: asked }) => asked.length);
    const beganMs = clock.nowMs();
    expect(valueOf((await clock.finish(ask())).outputs, "y")).toBe(2);
    expect([own, silent, good].map(({ requests: asked }, at) => asked.length - before[at]!)).toEqual([
      1, 1, 1,
    ]);
    expect(clock.nowMs() - beganMs).toBeLessThan(1000);
  });

  it("never go where the request must not go", async () => {
    const clock = manualClock();
    const first = testEndpoint("first", { trust: "vouched" });
    const elsewhere = testEndpoint("elsewhere", { zone: "us", trust: "vouched" }, 5);
    const listed = testEndpoint("listed", { trust: "listed" }, 5);
    const { ask } = offloader(clock, [first, elsewhere, listed], quiet);
    const rules = { zones: ["eu"], dataClass: "secret", ...confirm };
    await expect(ask(1, rules)).rejects.toMatchObject({ reason: "unconfirmed" });
    expect([...elsewhere.requests, ...listed.requests]).toEqual([]);
  });

  it("may be the device's alone, which its own apps believe", async () => {
    const clock = manualClock();
    const device = testEndpoint("device", { tier: "device", zone: "device" }, 5);
    const liar = testEndpoint("liar", {}, 1);
    liar.state.lies = true;
    const { ask, quarantines, offloader: made } = offloader(clock, [liar], quiet, device);
    expect(await ask(2, confirm)).toEqual({ y: 4, where: "device" });
    expect(quarantines()).toEqual(["liar by agreement"]);
    const { confirmedBy } = await clock.finish(made.infer("twice", { x: Float32Array.of(1) }, confirm));
    expect(confirmedBy).toBeUndefined();
  });

  it("are demanded by defaults that no caller can revoke, for every caller of an endpoint", async () => {
    const clock = manualClock();
    const [liar, good] = [testEndpoint("liar"), testEndpoint("good", {}, 5)];
    liar.state.lies = true;
    const strict = offloader(clock, [liar, good], quiet, undefined, { confirm: true });
    await expect(strict.ask(1, { confirm: false })).rejects.toMatchObject({ reason: "unconfirmed" });
    const gate = offloadEndpoint({ ...strict.parts, defaults: {}, info: { ...doubleInfo, id: "gate" } });
    const call = { ...housekeepingCall("c"), rules: { dataClass: "internal", leastTrust: "none" as const } };
    const request = { segment, inputs: one("x", 1), codecs: {} };
    const demanded = { ...call, rules: { ...call.rules, confirm: true as const } };
    expect(valueOf((await clock.finish(gate.infer(request, call))).outputs, "y")).toBeGreaterThan(1);
    await expect(clock.finish(gate.infer(request, demanded))).rejects.toMatchObject({
      reason: "unconfirmed",
    });
    liar.state.lies = false;
    expect((await clock.finish(gate.infer(request, call))).confidenceRatio).toBe(0.9);
    // That comes beside the outputs, which are all that is compared.
    expect((await clock.finish(gate.infer(request, demanded))).confidenceRatio).toBeUndefined();
    // A second endpoint only runs the request. Confirmation is up to the first.
    expect([...liar.requests, ...good.requests].some((asked) => asked.call.rules.confirm)).toBe(false);
  });
});
