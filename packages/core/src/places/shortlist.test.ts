import { expect, it } from "vitest";
import { manualClock } from "@longshore/testkit";
import { housekeepingCall, type Rules, seededRandom } from "../base/index.ts";
import type { Endpoint, Offer } from "../endpoint/index.ts";
import { certain } from "../estimate/index.ts";
import type { KnownModel } from "./known-model.ts";
import { followPlace, type Place } from "./place.ts";
import { shortlist } from "./shortlist.ts";

const free: Rules = housekeepingCall("test").rules;

/** Places of which the first promise most; every third is in another zone. */
function fleet(count: number) {
  const clock = manualClock();
  const random = seededRandom(3);
  const all = new Map<string, Place>();
  const offersBy = new Map<string, readonly Offer[]>();
  for (let index = 0; index < count; index++) {
    const id = `place-${index}`;
    const info = {
      id,
      zone: index % 3 === 0 ? "eu" : "us",
      trust: "operated",
      tier: "edge",
      rates: { microsPerMegabyte: 0 },
    };
    // As much of an endpoint and an offer as a shortlist looks at.
    const endpoint = { info } as unknown as Endpoint;
    const completionMs = certain(10 + index, { observedAtMs: 0, origin: "told" });
    offersBy.set(id, [{ completionMs, queueMs: 0 } as unknown as Offer]);
    all.set(id, followPlace(endpoint, undefined, clock, random, undefined));
  }
  return { all, list: shortlist({ offersBy } as unknown as KnownModel, all, random) };
}

it("looks at a few of many, more of them among those that promise most", () => {
  const { list } = fleet(10_000);
  const seen: number[] = [];
  for (let at = 0; at < 100; at++) {
    const { ids } = list.table(free, undefined, 100 * at);
    expect(ids.length).toBeLessThanOrEqual(16 + 24 + 16);
    seen.push(...ids.map((id) => Number(id.slice(6))));
  }
  expect(seen.filter((index) => index < 2500).length).toBeGreaterThan(seen.length / 2);
  expect(seen.some((index) => index > 9000)).toBe(true);
});

it("never looks where the rules forbid, and always at who holds the state", () => {
  const { list } = fleet(1000);
  const { ids } = list.table({ ...free, zones: ["eu"] }, "place-999", 0);
  expect(ids).toContain("place-999");
  expect(ids.every((id) => Number(id.slice(6)) % 3 === 0)).toBe(true);
  expect(list.table({ ...free, zones: ["jp"] }, undefined, 0).count).toBe(0);
});

it("keeps the best of the last draw, as long as they stay the best", () => {
  const { all, list } = fleet(10_000);
  list.table(free, undefined, 0);
  const best = [...list.looked]
    .map((place) => Number(place.endpoint.info.id.slice(6)))
    .sort((a, b) => a - b)[0];
  list.table(free, undefined, 100);
  expect(list.looked.map((place) => place.endpoint.info.id)).toContain(`place-${best}`);
  all.get(`place-${best}`)?.reported({ atMs: 0, cpuRatio: 1, inFlight: 9, queueMs: 1e6 }, 100, 0);
  let kept = 0;
  for (let at = 2; at < 22; at++)
    if (list.table(free, undefined, 100 * at).index.has(`place-${best}`)) kept++;
  // Drawn now and then, not kept.
  expect(kept).toBeLessThan(10);
});
