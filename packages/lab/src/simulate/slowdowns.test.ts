import { describe, expect, it } from "vitest";
import { longestOff, slowdowns, type Slowdown, slowedDevice } from "./slowdowns.ts";

const seeds = [1, 2, 3, 4, 5];
/** A forecast counts as right within this share. */
const near = 0.15;

/** In the median of the seeds: how many runs in a row are foretold wrong, and by how much the worst of them. */
async function followed(
  slowdown: Slowdown,
  logSpread = 0.05,
): Promise<{ readonly runs: number; readonly worst: number }> {
  const all = await Promise.all(
    seeds.map((seed) => slowedDevice({ slowdown, settledRuns: 100, runs: 150, logSpread, seed })),
  );
  const middle = (values: readonly number[]): number =>
    values.toSorted((a, b) => a - b)[seeds.length >> 1] ?? NaN;
  return {
    runs: middle(all.map((one) => longestOff(one, near))),
    worst: middle(
      all.map((one) => Math.max(...one.map(({ foretoldMs, trueMs }) => Math.abs(foretoldMs / trueMs - 1)))),
    ),
  };
}

describe("a device that has run for long", () => {
  it.each(["heats up within 200 runs", "heats up within 60 runs", "cools within 60 runs"] as const)(
    "is foretold right all along while it %s",
    async (name) => {
      expect(await followed(slowdowns[name])).toMatchObject({ runs: 0 });
    },
  );

  it("is foretold right after a few runs while it heats up as quickly as within 20", async () => {
    expect((await followed(slowdowns["heats up within 20 runs"])).runs).toBeLessThanOrEqual(4);
  });

  it.each([
    "throttled by 1.2",
    "throttled by 1.6",
    "busy, by 2",
    "throttle ends",
    "rests after busy",
    "throttled and not, 30 runs each",
    "throttled and not, 10 runs each",
  ] as const)("is foretold right within ten runs when it is %s", async (name) => {
    const { runs, worst } = await followed(slowdowns[name]);
    expect(worst).toBeGreaterThan(near);
    expect(runs).toBeLessThan(10);
  });

  it("is not foretold otherwise for runs that vary by chance", async () => {
    expect((await followed(slowdowns.steady)).worst).toBeLessThan(0.05);
    expect((await followed(slowdowns.steady, 0.15)).worst).toBeLessThan(0.12);
  });
});
