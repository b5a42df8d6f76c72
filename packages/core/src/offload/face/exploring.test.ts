import { doubleDescription, doubleEndpoint, doubleOffer, manualClock } from "@longshore/testkit";
import { expect, it } from "vitest";
import { seededRandom, silentObserver } from "../../words/base/index.ts";
import { isInfeasible } from "../../decide/plan/index.ts";
import { tablePolicy } from "../../decide/policy/index.ts";
import type { Endpoint, Tier } from "../../wire/endpoint/index.ts";
import { float32Tensor, tensorsOf } from "../../words/tensor/index.ts";
import type { Limits } from "../offloader/index.ts";
import { createOffloader } from "./create-offloader.ts";

const description = { ...doubleDescription({ name: "ocr" }), dataClass: "public" };
const x = float32Tensor("x", [1, 3], Float32Array.of(1, 2, 3));

/** How many of 400 plans, use the endpoint `cheap`, which promises 300 ms and has answered nothing yet. */
async function explored(localMs: number | undefined, limits: Limits): Promise<number> {
  const endpoint = (id: string, runMs: number, tier: Tier, microsPerSecond: number): Endpoint => {
    const rates = { ...doubleEndpoint([]).info.rates, microsPerSecond };
    const info = { ...doubleEndpoint([]).info, rates, id, tier };
    const run = async () => tensorsOf(float32Tensor("y", [1, 3], Float32Array.of(2, 4, 6)));
    const offers = [doubleOffer(description, info, runMs)];
    return { ...doubleEndpoint([{ description, offers, run }], info), info };
  };
  const clock = manualClock();
  await using offloader = createOffloader({
    ...(localMs === undefined ? {} : { local: endpoint("device", localMs, "device", 0) }),
    endpoints: [endpoint("near", 50, "edge", 4000), endpoint("cheap", 300, "cloud", 300)],
    links: () => undefined,
    policy: tablePolicy({ public: { leastTrust: "none" } }),
    clock,
    random: seededRandom(1),
    observer: silentObserver,
  });
  for (let request = 0; request < 5; request++)
    await offloader.infer("ocr", x, { only: { endpoint: "near" } });
  await clock.advance(2000);
  let count = 0;
  for (let request = 0; request < 400; request++) {
    await clock.advance(10);
    const plan = await offloader.explain("ocr", x, limits);
    if (!isInfeasible(plan) && plan.legs[0]?.endpoint === "cheap") count++;
  }
  return count;
}

it("explores an endpoint whose promise is slower, without a deadline", async () => {
  expect(await explored(2000, { objective: "latency" })).toBeGreaterThan(0);
});

it.each(["cost", "latency"] as const)(
  "does not explore at the price of the deadline (%s)",
  async (objective) => {
    const only = objective === "latency" ? { only: "cloud" as const } : {};
    expect(await explored(2000, { objective, deadlineMs: 220, ...only })).toBe(0);
  },
);

it("explores where a proven endpoint or this device still keeps the deadline", async () => {
  expect(await explored(undefined, { objective: "latency", deadlineMs: 220 })).toBeGreaterThan(0);
  expect(await explored(60, { objective: "latency", deadlineMs: 220 })).toBeGreaterThan(0);
});

it("does not count a back-up for a required share of deadlines", async () => {
  expect(await explored(60, { objective: "latency", deadlineMs: 220, minInTimeRatio: 0.9 })).toBe(0);
});
