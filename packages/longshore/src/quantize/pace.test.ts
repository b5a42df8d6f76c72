import type { Profile } from "@longshore/core";
import { seededRandom } from "@longshore/core";
import { housekeepingCall } from "@longshore/core/internal";
import { doubleDescription, doubleEndpoint, manualClock } from "@longshore/testkit";
import { expect, it } from "vitest";
import { wholeMs } from "../profile/merge-profile.ts";
import { isCarried, type Pace, pacedProfile, measuredPace } from "./pace.ts";

const variants = { standard: "default", made: "int8" };

/** A machine that becomes slower with every run, and two variants of which one takes `ratio` times as long. */
async function pace(ratio: number, noise = 0): Promise<Pace> {
  const clock = manualClock();
  const random = seededRandom(3);
  let runs = 0;
  const engine = doubleEndpoint([
    {
      description: doubleDescription({ name: "m", version: "" }),
      async run(_inputs, { segment }) {
        const drift = 1 + runs++ / 10;
        const own =
          (segment.variant === "default" ? 10 * ratio : 10) * drift * (1 + noise * (random.next() - 0.5));
        await new Promise<void>((resolve) => clock.timer(own, resolve));
        return new Map();
      },
    },
  ]);
  const found = measuredPace(
    { engine, clock, random: seededRandom(1) },
    "m",
    variants,
    [new Map()],
    housekeepingCall("test"),
  );
  return clock.finish(found);
}

it("measures the ratio of two variants on a machine whose speed drifts", async () => {
  const found = await pace(1.7, 0.05);
  expect(found.ratio).toBeCloseTo(1.7, 1);
  expect(found.least).toBeGreaterThan(1.6);
  expect(found.most).toBeLessThan(1.8);
  expect(isCarried(found)).toBe(true);
});

it("finds no difference if there is none, with any spread of single runs", async () => {
  expect(isCarried(await pace(1, 0.8))).toBe(false);
});

it("writes times that stand to each other as the runs in turns say, and no gain that the spread does not carry", () => {
  const variant = (name: string, ms: number) => ({
    variant: name,
    agreementRatio: 1,
    buckets: [
      {
        upTo: { bytes: 1 },
        typical: { bytes: 1 },
        runs: 1,
        legalCuts: 2,
        cuts: (["start", "end"] as const).map((id) => ({
          cut: { id, crossing: [], reveals: "input" as const },
          headMs: [id === "start" ? 0 : ms],
          tailMs: [id === "start" ? ms : 0],
          headMemoryBytes: 0,
          codings: [],
        })),
      },
    ],
  });
  const profile: Profile = {
    schemaVersion: 1,
    model: "m",
    version: "1",
    digest: `sha256:${"0".repeat(64)}`,
    measuredOn: { runtime: "r", threads: 1, description: "x" },
    variants: [variant("default", 100), variant("int8", 10)],
  };
  const msOf = (made: Profile): number | undefined =>
    wholeMs(made.variants.find((one) => one.variant === "int8"));
  expect(msOf(pacedProfile(profile, variants, { ratio: 2, least: 1.8, most: 2.2, rounds: 41 }))).toBe(50);
  expect(msOf(pacedProfile(profile, variants, { ratio: 2, least: 0.9, most: 2.9, rounds: 5 }))).toBe(100);
});
