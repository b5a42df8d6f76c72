import { join } from "node:path";
import { fp16Codec, int8ChannelCodec, int8Codec, type Profile } from "@longshore/core";
import { housekeepingCall, parseProfile } from "@longshore/core/internal";
import { systemClock } from "@longshore/nodejs";
import { expect, it } from "vitest";
import { profileText } from "../command/profile.ts";
import { measureModel, sampleTensors } from "./measure.ts";
import { mergeProfile } from "./merge-profile.ts";
import { openEngine } from "../engine/open-engine.ts";
import { openModel } from "../engine/open-model.ts";

const sensor = join(import.meta.dirname, "..", "..", "..", "..", "samples", "inputs", "sensor");
const call = housekeepingCall("measure-test");

async function measured(): Promise<Profile> {
  const { store } = await openModel("anomaly");
  const { engine, close } = openEngine({ store, runtime: "onnxruntime", tier: "cloud" });
  try {
    const { description } = (await engine.describe("anomaly", undefined, call))!;
    const samples = await sampleTensors(engine, description, sensor, call, 2);
    const codecs = [fp16Codec, int8ChannelCodec, int8Codec];
    const options = { engine, samples, codecs, model: "anomaly", runtime: "onnxruntime" };
    return await measureModel({ ...options, clock: systemClock(), rounds: 1, maxCuts: 4 }, call);
  } finally {
    await close();
  }
}

it("a profile keeps how far each codec of a cut errs on real inputs, and the time of coding", async () => {
  const profile = await measured();
  expect(parseProfile(JSON.parse(JSON.stringify(profile)))).toEqual(profile);
  // Vectors have no channels.
  const cuts = profile.variants[0]!.buckets[0]!.cuts.filter(
    ({ cut, codings }) =>
      cut.reveals === "features" && codings.some((one) => Object.values(one.codecs).includes("int8-channel")),
  );
  expect(cuts.length).toBeGreaterThan(0);
  for (const { cut, codings } of cuts) {
    const errors = new Map(
      codings.map(({ codecs, errorRatio }) => [Object.values(codecs)[0] ?? "raw", errorRatio ?? NaN]),
    );
    const [raw = NaN, half = NaN, byChannel = NaN, byTensor = NaN] = [
      "raw",
      "fp16",
      "int8-channel",
      "int8",
    ].map((codec) => errors.get(codec));
    expect(raw).toBe(0);
    expect(half, cut.id).toBeGreaterThan(0);
    expect(half, cut.id).toBeLessThan(byChannel);
    expect(byChannel, cut.id).toBeLessThan(byTensor);
    expect(byTensor, cut.id).toBeLessThan(0.1);
    for (const coding of codings.slice(1)) {
      expect(coding.encodeSpreadMs).toHaveLength(16);
      expect(coding.encodeSpreadMs!.at(-1)).toBeGreaterThan(0);
      expect(coding.decodeSpreadMs).toHaveLength(16);
    }
    expect(profileText(profile)).toContain(String(Number(byTensor.toPrecision(2))));
  }
});

const coding = {
  codecs: { x: "int8" },
  bytes: 1,
  encodeMs: 2,
  decodeMs: 1,
  agreementRatio: 1,
  lossless: false,
};
const told = { encodeSpreadMs: [2, 3], decodeSpreadMs: [1, 2], errorRatio: 0.0123 };

function profileOf(variant: string, wholeMs: number, one: typeof coding): Profile {
  const cut = { id: "start", crossing: [], reveals: "input" } as const;
  const cuts = [{ cut, headMs: [0], tailMs: [wholeMs], headMemoryBytes: 0, codings: [one] }];
  const [upTo, typical] = [{ bytes: 9 }, { bytes: 9 }];
  const buckets = [{ upTo, typical, runs: 1, cuts, legalCuts: 1 }];
  return {
    schemaVersion: 1,
    model: "m",
    version: "1",
    digest: "sha256:0",
    measuredOn: { runtime: "onnxruntime", threads: 1, description: "test" },
    variants: [{ variant, agreementRatio: 1, buckets }],
  };
}

it("profiles from before errors and spreads are read, shown and merged as they were", () => {
  const older = profileOf("default", 10, coding);
  expect(parseProfile(JSON.parse(JSON.stringify(older)))).toEqual(older);
  expect(profileText(older)).toMatch(/int8 .* 1\.0000$/m);
  const later = profileOf("default", 5, coding);
  const merged = mergeProfile(
    older,
    { ...later, variants: [...later.variants, ...profileOf("half", 5, coding).variants] },
    "default",
  );
  expect(merged.variants[1]?.buckets[0]?.cuts[0]?.codings).toEqual([{ ...coding, encodeMs: 4, decodeMs: 2 }]);
});

it("merging scales the spread of coding with its times, and leaves its error", () => {
  const later = profileOf("default", 5, coding);
  const added = profileOf("half", 5, { ...coding, ...told });
  const merged = mergeProfile(
    profileOf("default", 10, coding),
    { ...later, variants: [...later.variants, ...added.variants] },
    "default",
  );
  const [one] = merged.variants[1]?.buckets[0]?.cuts[0]?.codings ?? [];
  const doubled = { encodeMs: 4, decodeMs: 2, encodeSpreadMs: [4, 6], decodeSpreadMs: [2, 4] };
  expect(one).toEqual({ ...coding, ...told, ...doubled });
  expect(profileText(merged)).toMatch(/ 0\.012 /);
});

it.each([
  ["errorRatio", -0.1],
  ["errorRatio", null],
  ["encodeSpreadMs", [-1]],
  ["decodeSpreadMs", 3],
])("a profile whose %s is %j is refused", (field, value) => {
  const broken = profileOf("default", 10, { ...coding, ...told, [field]: value });
  expect(() => parseProfile(JSON.parse(JSON.stringify(broken)))).toThrow(field);
});
