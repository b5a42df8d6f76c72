import { doubleDescription, doubleEndpoint, doubleInfo, doubleOffer, manualClock } from "@longshore/testkit";
import fc from "fast-check";
import { expect, it } from "vitest";
import {
  type Call,
  housekeepingCall,
  LongshoreError,
  type Reason,
  seededRandom,
  silentObserver,
  sleep,
} from "../../words/base/index.ts";
import { tablePolicy } from "../../decide/policy/index.ts";
import { float32Tensor, float32View, tensorsOf } from "../../words/tensor/index.ts";
import { type LinkBelief, linkBelief, linkModel } from "../../decide/estimate/index.ts";
import { offloadEndpoint } from "./offload-endpoint.ts";
import type { RetryOptions } from "../race/index.ts";

const description = doubleDescription({
  name: "same",
  digest: `sha256:${"8".repeat(64)}`,
  inputs: [{ name: "x", datatype: "FP32", shape: [1] }],
  outputs: [{ name: "y", datatype: "FP32", shape: [1] }],
  dataClass: "internal",
});

/** A gateway over servers that answer in 5 ms. `fault` states the outcome of a run: a reason, `hangs`, or undefined. */
function scene(
  count: number,
  options: { readonly retry?: RetryOptions } = {},
  learner?: (at: number) => LinkBelief,
) {
  const clock = manualClock();
  const state = {
    fault: (_server: number, _run: number): Reason | "hangs" | undefined => undefined,
    runs: [] as number[],
  };
  const learners = new Map<string, LinkBelief>();
  const servers = Array.from({ length: count }, (_, at) => {
    const info = { ...doubleInfo, id: `server-${at}`, zone: "eu" };
    const link = learner?.(at);
    if (link) learners.set(info.id, link);
    return doubleEndpoint(
      [
        {
          description,
          offers: [doubleOffer(description, info, 5)],
          async run(inputs, _, { abort }) {
            const fault = state.fault(at, state.runs.push(at) - 1);
            const note = link?.sendStarted(160_000, "up", clock.nowMs());
            if (fault !== undefined && fault !== "hangs") {
              // As where a machine is busy: a failure is heard of a little later.
              if (link) await sleep(clock, 80, abort);
              note?.broke?.(clock.nowMs());
              throw new LongshoreError(fault, "transport", "made up");
            }
            await sleep(clock, fault === "hangs" ? Infinity : 5, abort);
            note?.ended(clock.nowMs(), true);
            return { outputs: tensorsOf(float32Tensor("y", [1], float32View(inputs.get("x")!).slice())) };
          },
        },
      ],
      info,
    );
  });
  const gateway = offloadEndpoint({
    policy: tablePolicy({ internal: { leastTrust: "none" } }),
    clock,
    random: seededRandom(3),
    observer: silentObserver,
    links: (id) => learners.get(id),
    endpoints: servers,
    info: { ...doubleInfo, id: "gateway", zone: "eu" },
    ...options,
  });
  const { segment } = doubleOffer(description, doubleInfo, 5);
  const rules: Call["rules"] = { dataClass: "internal", leastTrust: "none", zones: ["eu"] };
  const start = async (
    deadlineMs: number,
    abort = new AbortController().signal,
  ): Promise<Reason | number> => {
    const beganMs = clock.nowMs();
    const call = { ...housekeepingCall("c", abort), rules, deadlineMs: beganMs + deadlineMs };
    const inputs = tensorsOf(float32Tensor("x", [1], Float32Array.of(3)));
    try {
      await gateway.infer({ segment, inputs, codecs: {} }, call);
      return clock.nowMs() - beganMs;
    } catch (thrown) {
      if (!LongshoreError.is(thrown)) throw thrown;
      return thrown.reason;
    }
  };
  const ask = (deadlineMs: number): Promise<Reason | number> => clock.finish(start(deadlineMs));
  const warm = async (): Promise<void> => {
    for (let request = 0; request < 8; request++) expect(await ask(1000)).toBeLessThan(100);
    state.runs.length = 0;
  };
  return { clock, state, ask, start, warm };
}

const passing: readonly Reason[] = [
  "unreachable",
  "no-answer",
  "bad-reply",
  "checksum-mismatch",
  "shutting-down",
];

it.each(passing)(
  "sends a request to its only server again after %s, while its deadline leaves time",
  async (reason) => {
    const { state, ask, warm } = scene(1);
    await warm();
    state.fault = (_, run) => (run === 0 ? reason : undefined);
    expect(await ask(20_000)).toBeLessThan(100);
    expect(state.runs).toEqual([0, 0]);
  },
);

it.each(["run-failed", "runtime-crashed", "queue-full", "internal"] as const)(
  "does not after %s, which another run would meet again",
  async (reason) => {
    const { state, ask, warm } = scene(1);
    await warm();
    state.fault = () => reason;
    expect(await ask(20_000)).toBe(reason);
    expect(state.runs).toEqual([0]);
  },
);

it("uses the server that failed a request again once the other one of two hangs", async () => {
  const { state, ask, warm } = scene(2);
  await warm();
  let failed: number | undefined;
  state.fault = (server) => {
    if (failed === undefined) {
      failed = server;
      return "no-answer";
    }
    return server === failed ? undefined : "hangs";
  };
  expect(await ask(20_000)).toBeLessThan(1000);
});

it("answers whenever a server is whole for the last half of the deadline", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 3 }),
      fc.integer({ min: 200, max: 60_000 }),
      fc.double({ min: 0, max: 0.5, noNaN: true }),
      fc.constantFrom(...passing),
      async (count, deadlineMs, ratio, reason) => {
        const { clock, state, ask, warm } = scene(count);
        await warm();
        const wholeMs = clock.nowMs() + ratio * deadlineMs;
        const healed = count - 1;
        state.fault = (server) => (server === healed && clock.nowMs() >= wholeMs ? undefined : reason);
        expect(typeof (await ask(deadlineMs))).toBe("number");
        // Each round asks each server once.
        expect(state.runs.length).toBeLessThanOrEqual(11 * count);
      },
    ),
    { numRuns: 25 },
  );
});

it("retries a request without a deadline for a second, and not at all where that is switched off", async () => {
  const endless = scene(1);
  await endless.warm();
  endless.state.fault = () => "unreachable";
  const beganMs = endless.clock.nowMs();
  expect(await endless.ask(Infinity)).toBe("unreachable");
  expect(endless.clock.nowMs() - beganMs).toBeLessThanOrEqual(1000);
  expect(endless.state.runs.length).toBeGreaterThan(3);
  const once = scene(1, { retry: { mostRounds: 0 } });
  await once.warm();
  once.state.fault = () => "unreachable";
  expect(await once.ask(20_000)).toBe("unreachable");
  expect(once.state.runs).toEqual([0]);
});

it("shares the budget of retries among all requests, and lets only so many wait", async () => {
  const { clock, state, start, warm } = scene(1, { retry: { mostWaiting: 150 } });
  await warm();
  state.fault = () => "unreachable";
  const all = Array.from({ length: 400 }, () => start(5000));
  let first = 0;
  for (const one of all) void one.then(() => first++);
  await clock.advance(1);
  expect(first).toBe(250);
  await clock.finish(Promise.all(all));
  // A hundred saved, a fifth of the requests, and ten a second.
  expect(state.runs.length).toBeLessThanOrEqual(400 + 100 + 80 + 60);
});

it("gives back to the budget what a retry took that no endpoint could run", async () => {
  const { clock, state, start, warm } = scene(1);
  await warm();
  state.fault = () => "hangs";
  const control = new AbortController();
  // Each looks for another server again and again, and there is none.
  const hung = Array.from({ length: 20 }, () => start(Infinity, control.signal));
  await clock.advance(1500);
  expect(state.runs).toHaveLength(20);
  control.abort();
  await clock.finish(Promise.all(hung));
  state.fault = () => "unreachable";
  const failed = Array.from({ length: 80 }, () => start(200));
  // The budget is whole: all of them are sent again after the first pause of 50 ms.
  await clock.advance(60);
  expect(state.runs).toHaveLength(20 + 80 + 80);
  await clock.finish(Promise.all(failed));
});

/**
 * Sends 350 requests to a server that answers none of them, more than the budget can send again, and another one every 250 ms. The server
 * answers the first tries of those if it is `alive`, and all other tries if it is `whole`.
 */
async function withLostAnswers(server: { readonly alive: boolean; readonly whole: boolean }) {
  const { clock, state, start, warm } = scene(1);
  await warm();
  state.fault = () => "hangs";
  const first = Array.from({ length: 350 }, () => start(10_000));
  await clock.advance(5);
  const later: Promise<unknown>[] = [];
  while (later.length < 40) {
    if (server.alive) state.fault = () => undefined;
    later.push(start(200));
    await clock.advance(0);
    if (!server.whole) state.fault = () => "hangs";
    await clock.advance(250);
  }
  const outcomes = await clock.finish(Promise.all(first));
  return {
    answered: outcomes.filter((one) => typeof one === "number").length,
    again: state.runs.length - first.length - later.length,
  };
}

it("sends requests whose answers were lost again to a server that answers later ones, beyond the budget", async () => {
  expect((await withLostAnswers({ alive: true, whole: true })).answered).toBe(350);
});

it("does so once for each request, and not while the server answers nothing", async () => {
  const budget = 100 + 0.2 * 390 + 10 * 10;
  const alive = await withLostAnswers({ alive: true, whole: false });
  expect(alive.again).toBeLessThanOrEqual(350 + budget);
  const silent = await withLostAnswers({ alive: false, whole: false });
  expect(silent.again).toBeLessThanOrEqual(budget);
});

it("ends at once when its caller does not wait any longer", async () => {
  const { clock, state, start, warm } = scene(1);
  await warm();
  state.fault = () => "unreachable";
  const control = new AbortController();
  const asked = start(20_000, control.signal);
  await clock.advance(500);
  control.abort();
  expect(await clock.finish(asked)).toBe("cancelled");
  const { length } = state.runs;
  await clock.advance(20_000);
  expect(state.runs).toHaveLength(length);
});

it.each([1, 2])(
  "loses none of many requests while %i servers refuse and then close connections, and answers at once when they are well",
  async (count) => {
    const model = linkModel();
    const { clock, state, start, warm } = scene(count, {}, () => linkBelief({ model }));
    await warm();
    const brokeMs = clock.nowMs() + 1000;
    state.fault = () => {
      const sinceMs = clock.nowMs() - brokeMs;
      return sinceMs < 0 || sinceMs >= 4000 ? undefined : sinceMs < 1000 ? "unreachable" : "no-answer";
    };
    const asked: { readonly atMs: number; readonly took: Promise<Reason | number> }[] = [];
    for (let request = 0; request < 140; request++) {
      asked.push({ atMs: clock.nowMs() - brokeMs, took: start(20_000) });
      await clock.advance(50);
    }
    for (const { atMs, took: waits } of asked) {
      const took = await clock.finish(waits);
      expect(took).toBeTypeOf("number");
      // At once where it came after the healing, and soon after the healing where it came before.
      expect(Math.max(0, atMs - 4000) + (took as number)).toBeLessThan(atMs >= 4000 ? 3200 : 6000);
      if (atMs >= 4100) expect(took).toBeLessThan(250);
    }
  },
);
