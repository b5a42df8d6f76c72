import {
  doubleDescription,
  doubleEndpoint,
  doubleInfo,
  doubleOffer,
  type ManualClock,
  manualClock,
} from "@longshore/testkit";
import { describe, expect, it } from "vitest";
import {
  type Call,
  housekeepingCall,
  LongshoreError,
  seededRandom,
  silentObserver,
} from "../../words/base/index.ts";
import type { Endpoint } from "../../wire/endpoint/index.ts";
import { tablePolicy } from "../../decide/policy/index.ts";
import { float32Tensor, float32View, tensorsOf } from "../../words/tensor/index.ts";
import { offloadEndpoint } from "./offload-endpoint.ts";

const description = doubleDescription({
  name: "same",
  digest: `sha256:${"7".repeat(64)}`,
  inputs: [{ name: "x", datatype: "FP32", shape: [1] }],
  outputs: [{ name: "y", datatype: "FP32", shape: [1] }],
  dataClass: "internal",
});

function server(id: string, zone: string) {
  const info = { ...doubleInfo, id, zone };
  const state = { away: undefined as LongshoreError | undefined, runs: 0 };
  const double = doubleEndpoint(
    [
      {
        description,
        offers: [doubleOffer(description, info, 5)],
        async run(inputs) {
          state.runs++;
          return { outputs: tensorsOf(float32Tensor("y", [1], float32View(inputs.get("x")!).slice())) };
        },
      },
    ],
    info,
  );
  const endpoint: Endpoint = {
    ...double,
    async describe(...asked) {
      if (state.away) throw state.away;
      return double.describe(...asked);
    },
  };
  return { endpoint, state };
}

/** Sends requests that may run in these zones only. */
function askOf(endpoint: Endpoint, clock: ManualClock) {
  const { segment } = doubleOffer(description, doubleInfo, 1);
  return (zones: readonly string[], deadlineMs = Infinity) => {
    const call: Call = {
      ...housekeepingCall("c"),
      rules: { dataClass: "internal", leastTrust: "none", zones },
      deadlineMs: clock.nowMs() + deadlineMs,
    };
    const inputs = tensorsOf(float32Tensor("x", [1], Float32Array.of(3)));
    return endpoint.infer({ segment, inputs, codecs: {} }, call);
  };
}

/** A gateway that knows the model from a server in another zone; the one in the zone of the requests is away. */
async function fleet(reason: "unreachable" | "starting") {
  const clock = manualClock();
  const [eu, us] = [server("eu-1", "eu"), server("us-1", "us")];
  eu.state.away = new LongshoreError(reason, "transport", "eu-1 is away");
  const gateway = offloadEndpoint({
    endpoints: [eu.endpoint, us.endpoint],
    info: { ...doubleInfo, id: "gate", zone: "eu" },
    policy: tablePolicy({ internal: { leastTrust: "none" } }),
    clock,
    random: seededRandom(3),
    observer: silentObserver,
    links: () => undefined,
  });
  const ask = askOf(gateway, clock);
  await clock.finish(ask(["us"]));
  await clock.advance(20_000);
  return { clock, eu, us, gateway, ask };
}

describe.each(["unreachable", "starting"] as const)(
  "a request whose only permitted server is %s",
  (reason) => {
    it("waits for it while its deadline leaves time, and goes nowhere else", async () => {
      const { clock, eu, us, ask } = await fleet(reason);
      const runs = us.state.runs;
      const asked = ask(["eu"], 20_000);
      await clock.advance(5000);
      eu.state.away = undefined;
      const { account } = await clock.finish(asked);
      expect([account.forwarded.at(-1)?.endpoint, us.state.runs]).toEqual(["eu-1", runs]);
    });

    it.each([3000, Infinity])(
      "is told to come again, within %d ms, and is not denied",
      async (deadlineMs) => {
        const { clock, us, ask } = await fleet(reason);
        const [runs, beganMs] = [us.state.runs, clock.nowMs()];
        await expect(clock.finish(ask(["eu"], deadlineMs))).rejects.toMatchObject({
          reason: "no-endpoint",
          code: "UNAVAILABLE",
          retryable: true,
          retryAfterMs: 1000,
          message: expect.stringContaining("the rules let it go to eu-1, which did not say yet") as string,
        });
        expect(clock.nowMs() - beganMs).toBeLessThanOrEqual(Math.min(deadlineMs, 10_000));
        expect(us.state.runs).toBe(runs);
      },
    );

    it("is denied where the rules let it go to none of the servers", async () => {
      const { clock, ask } = await fleet(reason);
      await expect(clock.finish(ask(["mars"], 3000))).rejects.toMatchObject({
        reason: "policy-denied",
        retryable: false,
      });
    });
  },
);

/** An app that knows nothing but the gateway of `fleet`, whose server in the zone of the requests is away. */
async function appOf(reason: "unreachable" | "starting") {
  const { clock, eu, us, gateway } = await fleet(reason);
  const app = offloadEndpoint({
    endpoints: [gateway],
    info: { ...doubleInfo, id: "app", zone: "eu" },
    policy: tablePolicy({ internal: { leastTrust: "none" } }),
    clock,
    random: seededRandom(4),
    observer: silentObserver,
    links: () => undefined,
  });
  return { clock, eu, us, ask: askOf(app, clock) };
}

describe.each(["unreachable", "starting"] as const)(
  "a request whose only permitted server is behind a gateway and %s",
  (reason) => {
    it("waits until the gateway offers it", async () => {
      const { clock, eu, us, ask } = await appOf(reason);
      await clock.finish(ask(["eu", "us"]));
      const runs = us.state.runs;
      const asked = ask(["eu"], 20_000);
      await clock.advance(5000);
      eu.state.away = undefined;
      await clock.finish(asked);
      expect([eu.state.runs, us.state.runs]).toEqual([1, runs]);
    });

    it.each([3000, Infinity])("is told to come again, with a deadline of %d ms", async (deadlineMs) => {
      const { clock, us, ask } = await appOf(reason);
      const [runs, beganMs] = [us.state.runs, clock.nowMs()];
      await expect(clock.finish(ask(["eu"], deadlineMs))).rejects.toMatchObject({
        reason: "starting",
        retryable: true,
        retryAfterMs: 1000,
        message: expect.stringContaining("gate may take it later: a server behind it") as string,
      });
      expect(clock.nowMs() - beganMs).toBeLessThanOrEqual(Math.min(deadlineMs, 10_000));
      expect(us.state.runs).toBe(runs);
    });

    it("is denied at once where the rules forbid the missing server, too", async () => {
      const { clock, ask } = await appOf(reason);
      await clock.finish(ask(["eu", "us"]));
      const beganMs = clock.nowMs();
      await expect(clock.finish(ask(["mars"], 20_000))).rejects.toMatchObject({ reason: "policy-denied" });
      expect(clock.nowMs() - beganMs).toBeLessThanOrEqual(1000);
    });
  },
);
