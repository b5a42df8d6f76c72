import { describe, expect, it } from "vitest";
import { constantTrace } from "@longshore/lab";
import type { ModelDescription, Profile } from "@longshore/core";
import { tensorOf } from "@longshore/core";
import { type Circumstances, compare, type Comparison, pays, type SpentTime } from "./compare.ts";
import { adviceOf, adviceText, rateText } from "./words.ts";

const digest = `sha256:${"3".repeat(64)}`;
const description: ModelDescription = {
  name: "toy",
  version: "1",
  digest,
  inputs: [{ name: "x", datatype: "UINT8", shape: [1, 50_000] }],
  outputs: [{ name: "y", datatype: "UINT8", shape: [1, 10] }],
  variants: [{ name: "default", body: { kind: "graph", file: "model.onnx" }, agreementRatio: 1 }],
  batching: { maxBatchSize: 0 },
  instances: [],
  labels: {},
  trusted: true,
};

/** 100 ms on this machine, 50 kB in, 10 bytes out. */
const profile: Profile = {
  schemaVersion: 1,
  model: "toy",
  version: "1",
  digest,
  measuredOn: { runtime: "none", threads: 1, description: "made up" },
  variants: [
    {
      variant: "default",
      agreementRatio: 1,
      buckets: [
        {
          upTo: { bytes: 1e9 },
          typical: { bytes: 50_000 },
          runs: 1,
          legalCuts: 2,
          cuts: (["start", "end"] as const).map((id) => ({
            cut: {
              id,
              crossing: id === "start" ? description.inputs : description.outputs,
              reveals: id === "start" ? "input" : "answer",
            },
            headMs: [id === "start" ? 0 : 100],
            tailMs: [id === "start" ? 100 : 0],
            headMemoryBytes: 0,
            codings: [
              {
                codecs: {},
                bytes: id === "start" ? 50_000 : 10,
                encodeMs: 0,
                decodeMs: 0,
                agreementRatio: 1,
                lossless: true,
              },
            ],
          })),
        },
      ],
    },
  ],
};

function advise(about: Partial<Circumstances>, spent?: SpentTime): Promise<Comparison> {
  const inputs = [new Map([["x", tensorOf("x", "UINT8", [1, 50_000], new Uint8Array(50_000))]])];
  return compare(
    { description, profile },
    {
      deviceSpeed: 0.2,
      serverSpeed: 1,
      up: constantTrace(10e6),
      down: constantTrace(40e6),
      roundTripMs: 20,
      seed: 1,
      ...about,
    },
    { model: "toy", inputs, requests: 60, everyMs: undefined, deadlineMs: undefined },
    () => undefined,
    spent,
  );
}

/** Worlds that several tests look at; each takes seconds. */
const gains = advise({});
const quickDevice = advise({ deviceSpeed: 2, serverSpeed: 1 });

describe("advice", () => {
  it("says yes with the gain, and from which rate on", async () => {
    const comparison = await gains;
    const advice = adviceOf(comparison);
    // 500 ms here; 20 + 40 + 100 ms there.
    expect(advice.offload).toBe("yes");
    expect(advice.savedRatio).toBeGreaterThan(0.6);
    expect(advice.sentence).toMatch(/^yes: Longshore saves \d+ % of the time/);
    // 380 ms are left for 50 kB up and next to nothing down: 1.05 Mbit/s.
    const { below, above } = comparison.breakEven;
    expect(below).toBeGreaterThan(0.8e6);
    expect(above).toBeLessThan(1.6e6);
    // One computation: the verdict, the break-even and the sweep say the same.
    for (const one of comparison.rates) expect(pays(one)).toBe(one.bitsPerSecond >= above);
    expect(advice.sentence).toContain(`from ${rateText(above)} of uplink on, and not at ${rateText(below)}`);
    expect(advice.savedInterval[0]).toBeGreaterThan(0.6);
    const text = adviceText(comparison, advice);
    for (const word of ["longshore", "device", "server", "variant default, inputs of 50 kB", "pays"])
      expect(text).toContain(word);
  });

  it("ends when its time is over, and names what was not measured", async () => {
    const comparison = await advise({}, () => 1);
    const advice = adviceOf(comparison);
    expect(advice.offload).toBe("yes");
    expect(comparison.rates).toHaveLength(1);
    expect(comparison.ways.map(({ name }) => name)).toEqual(["longshore", "device", "server"]);
    expect(comparison.leftOut).toEqual(["7 of 8 other uplinks", "some of the requests"]);
    for (const { score } of comparison.ways) expect(score.counted).toBeLessThanOrEqual(5);
    expect(adviceText(comparison, advice)).toContain(
      "(--within): 7 of 8 other uplinks; some of the requests",
    );
    expect((await gains).leftOut).toEqual([]);
  });

  it("says no where the device is quicker than any link, without making anything slower", async () => {
    const comparison = await quickDevice;
    const advice = adviceOf(comparison);
    expect(advice.offload).toBe("no");
    expect(advice.sentence).toContain("At no rate up to");
    expect(comparison.rates.some(pays)).toBe(false);
    expect(Math.abs(advice.savedRatio)).toBeLessThan(0.05);
  });

  it("says yes where a plan with the server is much quicker, though Longshore hardly used it", async () => {
    const comparison = await gains;
    const ways = comparison.ways.map((way) =>
      way.name === "longshore"
        ? { ...comparison.ways.find(({ name }) => name === "device")!, name: way.name }
        : way,
    );
    const advice = adviceOf({ ...comparison, ways });
    expect(advice.offload).toBe("yes");
    expect(advice.sentence).toContain("The best plan that never changes (server raw) saves");
  });

  it("does not call it a gain where the seeds do not agree, nor where everything ran here and happened to be quicker", async () => {
    const comparison = await quickDevice;
    const spread = comparison.ways.map((way) =>
      way.name === "server" ? { ...way, saved: { middle: 0.1, least: -0.2, most: 0.3 } } : way,
    );
    expect(adviceOf({ ...comparison, ways: spread }).offload).toBe("no");
    const lucky = comparison.ways.map((way) =>
      way.name === "longshore" ? { ...way, saved: { middle: 0.5, least: 0.5, most: 0.5 } } : way,
    );
    expect(adviceOf({ ...comparison, ways: lucky }).offload).toBe("no");
  });

  it("writes rates as people say them", () => {
    expect([rateText(310_000), rateText(2.44e6), rateText(Infinity)]).toEqual([
      "310 kbit/s",
      "2.4 Mbit/s",
      "no rate",
    ]);
  });
});
