import { describe, expect, it } from "vitest";
import { endCut, tensorOf } from "@longshore/core";
import { endpointInfo, toyModel } from "../fixtures/toy-model.ts";
import { constantTrace, rateTrace } from "../trace/index.ts";
import {
  bucketOf,
  expectedMs,
  type OffloadWorldParts,
  offloadWorld,
  planCandidates,
  planName,
  planOf,
} from "./index.ts";

const model = toyModel();
const x = tensorOf("x", "UINT8", [1, 100_000], new Uint8Array(100_000));

function parts(deviceSpeed: number, bitsPerSecond: number): OffloadWorldParts {
  const trace = constantTrace(bitsPerSecond);
  return {
    models: [model],
    seed: 5,
    device: { speed: deviceSpeed, info: endpointInfo("device", "device") },
    endpoints: [{ info: endpointInfo("edge", "edge"), speed: 20, up: trace, down: trace, delayMs: 5 }],
    defaults: { dataClass: "public" },
  };
}

describe("offloadWorld", () => {
  it("comes back to a link that was too slow for a while, although no request tries it", async () => {
    const trace = rateTrace(
      "slow for a while",
      [
        { fromMs: 0, bitsPerSecond: 100e6 },
        { fromMs: 20_000, bitsPerSecond: 500e3 },
        { fromMs: 60_000, bitsPerSecond: 100e6 },
      ],
      300_000,
    );
    // 100 ms here; 25 ms there while the link is fast.
    const about = parts(1, 100e6);
    const { clock, offloader } = offloadWorld({
      ...about,
      endpoints: about.endpoints.map((endpoint) => ({ ...endpoint, up: trace, down: trace })),
    });
    const where: { readonly atMs: number; readonly id: string }[] = [];
    while (clock.nowMs() < 90_000) {
      const atMs = clock.nowMs();
      where.push({ atMs, id: (await clock.runUntil(offloader.infer("toy", { x }))).where });
      await clock.advance(400);
    }
    const edgeRatio = (fromMs: number, toMs: number): number => {
      const inside = where.filter(({ atMs }) => atMs >= fromMs && atMs < toMs);
      return inside.filter(({ id }) => id === "edge").length / inside.length;
    };
    expect(edgeRatio(5000, 19_000)).toBe(1);
    // The link might be its old self again: that is tried now and then.
    expect(edgeRatio(30_000, 59_000)).toBeLessThan(0.05);
    expect(edgeRatio(70_000, 90_000)).toBeGreaterThan(0.95);
  });

  it("stays here where no rate could pay, without trying the link", async () => {
    const world = offloadWorld(parts(20, 100e6));
    for (let index = 0; index < 10; index++) {
      const result = await world.clock.runUntil(world.offloader.infer("toy", { x }));
      expect(result.where).toBe("device");
      await world.clock.advance(500);
    }
    expect(world.endpoints.get("edge")?.link.carriedBytes.up).toBeLessThan(20_000);
  });

  it("follows plans that never change, and takes the time that is expected of them", async () => {
    const about = parts(1, 8e6);
    const prices = {
      deviceSpeed: 1,
      endpointSpeed: 20,
      roundTripMs: 10,
      upBitsPerSecond: 8e6,
      downBitsPerSecond: 8e6,
    };
    const candidates = planCandidates("base", bucketOf(model.profile, "base", { bytes: 1 }), ["edge"]);
    expect(candidates.map(({ plan }) => planName({ ...plan, variant: "" }))).toEqual([
      "edge raw",
      "edge half",
      "cut c1, then edge raw",
      "cut c1, then edge half",
      "here",
    ]);
    for (const candidate of candidates) {
      const world = offloadWorld(about);
      const result = await world.clock.runUntil(world.fixed(model, candidate.plan).infer("toy", { x }));
      const expected = expectedMs(candidate, prices);
      expect(result.outputs.get("scores")?.spec.shape).toEqual([1, 10]);
      // The profile says what crosses; blank tensors of the simulation are as large.
      expect(Math.abs(result.tookMs - expected)).toBeLessThan(0.15 * expected + 5);
    }
  });

  it("names the plan that an answer came by", async () => {
    const world = offloadWorld(parts(0.1, 100e6));
    const result = await world.clock.runUntil(world.offloader.infer("toy", { x }));
    const plan = planOf(result, "device");
    expect(plan.cut === endCut).toBe(result.where === "device");
  });
});
