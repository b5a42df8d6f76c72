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

/** One way to fail for a while. */
interface Phase {
  readonly reason: Reason;
  /** The time after which the refusing side asks for a retry, in milliseconds. */
  readonly retryAfterMs?: number | undefined;
  /** Requests meanwhile, and the time between them. */
  readonly requests: number;
  readonly everyMs: number;
  /** Questions about models fail, too. */
  readonly questions: boolean;
}

function server(id: string) {
  const info = { ...doubleInfo, id, zone: "eu" };
  const state = { phase: undefined as Phase | undefined, runs: 0 };
  const check = (question: boolean): void => {
    const { phase } = state;
    if (!phase || (question && !phase.questions)) return;
    const { reason, retryAfterMs } = phase;
    throw new LongshoreError(
      reason,
      "transport",
      `${id} is at fault`,
      retryAfterMs === undefined ? {} : { retryAfterMs },
    );
  };
  const double = doubleEndpoint(
    [
      {
        description,
        offers: [doubleOffer(description, info, 5)],
        async run(inputs) {
          state.runs++;
          check(false);
          return { outputs: tensorsOf(float32Tensor("y", [1], float32View(inputs.get("x")!).slice())) };
        },
      },
    ],
    info,
  );
  const endpoint: Endpoint = {
    ...double,
    async describe(...asked) {
      check(true);
      return double.describe(...asked);
    },
    async offers(...asked) {
      check(true);
      return double.offers(...asked);
    },
  };
  return { endpoint, state };
}

function gatewayOver(count: number) {
  const clock = manualClock();
  const servers = Array.from({ length: count }, (_, at) => server(`server-${at}`));
  const gateway = offloadEndpoint({
    policy: tablePolicy({ internal: { leastTrust: "none" } }),
    clock,
    random: seededRandom(11),
    observer: silentObserver,
    links: () => undefined,
    endpoints: servers.map(({ endpoint }) => endpoint),
    info: { ...doubleInfo, id: "gateway", zone: "eu" },
    retry: { mostRounds: 0 },
  });
  const { segment } = doubleOffer(description, doubleInfo, 5);
  const rules: Call["rules"] = { dataClass: "internal", leastTrust: "none", zones: ["eu"] };
  const ask = async (): Promise<LongshoreError | undefined> => {
    const call = { ...housekeepingCall("c"), rules, deadlineMs: clock.nowMs() + 2000 };
    try {
      using _pass = gateway.capabilities.admit?.(segment, call);
      const inputs = tensorsOf(float32Tensor("x", [1], Float32Array.of(3)));
      await clock.finish(gateway.infer({ segment, inputs, codecs: {} }, call));
      return undefined;
    } catch (thrown) {
      if (!LongshoreError.is(thrown)) throw thrown;
      return thrown;
    }
  };
  return { clock, servers, ask };
}

const failures: readonly Reason[] = [
  "unreachable",
  "no-answer",
  "bad-reply",
  "shutting-down",
  "unauthenticated",
  "internal",
  "run-failed",
  "run-deadline",
  "runtime-crashed",
];
const refusals: readonly Reason[] = ["queue-full", "rejected", "evicted", "memory-limit"];

const phases = (reasons: readonly Reason[]): fc.Arbitrary<readonly Phase[]> =>
  fc.array(
    fc.record({
      reason: fc.constantFrom(...reasons),
      retryAfterMs: fc.option(fc.integer({ min: 1, max: 5000 }), { nil: undefined }),
      requests: fc.integer({ min: 1, max: 12 }),
      everyMs: fc.constantFrom(1, 50, 400),
      questions: fc.boolean(),
    }),
    { minLength: 1, maxLength: 4 },
  );

/** Lets all servers fail in that way; gives what requests were told meanwhile. */
async function outage(
  { clock, servers, ask }: ReturnType<typeof gatewayOver>,
  all: readonly Phase[],
): Promise<readonly LongshoreError[]> {
  const told: LongshoreError[] = [];
  for (const phase of all) {
    for (const { state } of servers) state.phase = phase;
    for (let request = 0; request < phase.requests; request++) {
      const error = await ask();
      if (error) told.push(error);
      await clock.advance(phase.everyMs);
    }
  }
  for (const { state } of servers) state.phase = undefined;
  return told;
}

it("uses servers that failed as soon as they are whole, whatever the order of reasons", async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 3 }), phases(failures), async (count, all) => {
      const scene = gatewayOver(count);
      expect(await scene.ask()).toBeUndefined();
      await outage(scene, all);
      expect(await scene.ask()).toBeUndefined();
    }),
    { numRuns: 40 },
  );
});

it("says when to come again where servers refused for load, and then answers", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 3 }),
      phases([...failures, ...refusals]),
      async (count, all) => {
        const scene = gatewayOver(count);
        expect(await scene.ask()).toBeUndefined();
        for (const error of await outage(scene, all)) {
          if (error.reason === "no-endpoint")
            expect(error).toMatchObject({ retryable: true, code: "UNAVAILABLE" });
        }
        const error = await scene.ask();
        if (!error) return;
        expect(error).toMatchObject({ reason: "no-endpoint", retryable: true, code: "UNAVAILABLE" });
        expect(error.retryAfterMs).toBeGreaterThan(0);
        await scene.clock.advance(error.retryAfterMs!);
        expect(await scene.ask()).toBeUndefined();
      },
    ),
    { numRuns: 40 },
  );
});
