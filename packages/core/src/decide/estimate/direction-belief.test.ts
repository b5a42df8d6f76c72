import { expect, it } from "vitest";
import { directionBelief } from "./direction-belief.ts";
import { linkModel } from "./rate-model.ts";

it("believes nothing new with each answered question once a silence is over, until there is another", () => {
  const side = directionBelief(linkModel(), 65_536);
  const silence = (fromMs: number): void => {
    const body = side.begin(20_000, fromMs, fromMs);
    side.end(body, fromMs + 2000, false);
  };
  // Where nothing new is believed, the same figures are given again.
  const changes = (askedMs: number): boolean => {
    const before = side.drainMs(20_000, askedMs + 1, true);
    side.answered(askedMs, askedMs + 1);
    return side.drainMs(20_000, askedMs + 1, true) !== before;
  };
  silence(0);
  expect([changes(2100), changes(2102), changes(2104)]).toEqual([true, false, false]);
  silence(3000);
  expect([changes(5100), changes(5102)]).toEqual([true, false]);
});

it("still counts a later answer as the end of a body's silence when the body was on its way at the previous query", () => {
  const side = directionBelief(linkModel(), 65_536);
  side.begin(20_000, 0, 0);
  side.begin(20_000, 1000, 1000);
  const likelyMs = (atMs: number): number => side.drainMs(20_000, atMs, false)[12] ?? 0;
  likelyMs(3000);
  side.answered(500, 3000);
  expect(side.backlogBytes()).toBe(20_000);
  side.answered(1500, 3000);
  expect(side.backlogBytes()).toBe(0);
});

it("gives the same estimate at any time for a link over which nothing was sent", () => {
  const side = directionBelief(linkModel(), 65_536);
  const first = side.drainMs(1460, 0, false);
  expect(side.drainMs(1460, 60_000, false)).toBe(first);
});

it("takes a link for no slower than something small was carried, and learns nothing from what was to be expected", () => {
  const side = directionBelief(linkModel(), 65_536);
  const times = (): Float64Array => side.drainMs(1460, 0, false);
  const before = times();
  side.within(400, 1);
  const after = times();
  expect(after[14]! / before[14]!).toBeLessThan(0.5);
  side.within(400, 1);
  side.within(400, 50);
  expect(times()).toBe(after);
  // Nothing ages what was not used, so outages are as likely as before: the longest time is that of one.
  expect(after[15]! / before[15]!).toBeGreaterThan(0.3);
});

it("moves on where rounding makes a tick that is over less than a whole one", () => {
  const side = directionBelief(linkModel(), 65_536);
  const beganMs = 8191.574764862079;
  // Added to the beginning ten milliseconds are over; as a difference they are not quite ten.
  const nowMs = 8201.574764862078;
  expect([beganMs + 10 <= nowMs, nowMs - beganMs < 10]).toEqual([true, true]);
  side.begin(20_000, beganMs, beganMs);
  expect(side.drainMs(1460, nowMs, false)[12]).toBeGreaterThan(0);
});
