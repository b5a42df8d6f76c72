import { expect, it } from "vitest";
import { manualClock } from "@longshore/testkit";
import { LongshoreError, type Reason, seededRandom } from "../base/index.ts";
import type { Endpoint } from "../endpoint/index.ts";
import { endpointTable, waitMsAt } from "../table/index.ts";
import { followPlace, type Place } from "./place.ts";
import { runFailures } from "./run-failures.ts";

const bad = { model: "table", version: "2", digest: "sha256:2" };
const good = { model: "table", version: "1", digest: "sha256:1" };
const error = (reason: Reason): LongshoreError => new LongshoreError(reason, "execute", "made up");

function fleet(count: number) {
  const all = new Map<string, Place>();
  for (let index = 0; index < count; index++) {
    const id = `place-${index}`;
    // As much of an endpoint as is looked at.
    const endpoint = {
      info: { id, tier: "edge", rates: { microsPerMegabyte: 0 } },
    } as unknown as Endpoint;
    all.set(id, followPlace(endpoint, undefined, manualClock(), seededRandom(index), undefined));
  }
  const runs = runFailures(all, seededRandom(1));
  const fail = (id: string, reason: Reason, nowMs: number): boolean => {
    const place = all.get(id);
    return place !== undefined && runs.failed(bad, place, error(reason), nowMs);
  };
  const out = (nowMs: number): readonly string[] => [...runs.out(bad, all, nowMs).keys()];
  return { all, runs, fail, out };
}

it("holds what a place tells of a run against that version there, and nothing against others or elsewhere", () => {
  const { all, runs, fail, out } = fleet(4);
  expect(fail("place-1", "run-failed", 0)).toBe(true);
  expect(out(1)).toEqual(["place-1"]);
  expect(runs.out(good, all, 1).size).toBe(0);
  const table = endpointTable(Array.from(all.values(), (place) => place.view(1)));
  const charged = runs.charged(table, bad, runs.out(bad, all, 1), 1);
  expect(charged.unavailable[1]).toContain("version 2 of table: it failed just now (run-failed)");
  expect(waitMsAt(charged, 1)).toBeGreaterThan(100);
  expect(charged.unavailable.filter(Boolean)).toHaveLength(1);
  expect(runs.charged(table, good, new Map(), 1)).toBe(table);
  expect(table.unavailable.some(Boolean)).toBe(false);
});

it.each(["unreachable", "no-answer", "bad-reply", "shutting-down", "internal", "queue-full"] as const)(
  "leaves %s to the place as a whole",
  (reason) => {
    const { fail, out } = fleet(4);
    expect(fail("place-1", reason, 0)).toBe(false);
    expect(out(1)).toEqual([]);
  },
);

it("leaves at most half of the places alone that would answer, those that failed least lately first back", () => {
  const { all, fail, out } = fleet(4);
  for (const at of [0, 1, 2]) fail(`place-${at}`, "run-failed", 100 * at);
  expect(out(201)).toEqual(["place-2", "place-1"]);
  // One that cannot be reached at all is none of those that would answer.
  all.get("place-3")?.failed(error("unreachable"), 201);
  expect(out(202)).toEqual(["place-2"]);
  const one = fleet(1);
  one.fail("place-0", "run-failed", 0);
  expect(one.out(1)).toEqual([]);
  // One that does not offer it any more takes nobody's turn.
  const other = fleet(3);
  other.fail("place-0", "run-failed", 0);
  other.fail("place-1", "run-failed", 100);
  const among = new Map([...other.all].filter(([id]) => id !== "place-1"));
  expect([...other.runs.out(bad, among, 101).keys()]).toEqual(["place-0"]);
});

it("pauses for longer with each failure, tries again, and forgets what ran well since", () => {
  const { runs, fail, out } = fleet(4);
  let nowMs = 0;
  const pauses: number[] = [];
  for (let failure = 0; failure < 4; failure++) {
    fail("place-1", "runtime-crashed", nowMs);
    const untilMs = runs.at(bad, "place-1")?.pausedUntilMs ?? 0;
    pauses.push(untilMs - nowMs);
    nowMs = untilMs;
    expect(out(nowMs)).toEqual([]);
  }
  expect(pauses[3]).toBeGreaterThan(4 * (pauses[0] ?? Infinity));
  for (let answer = 0; answer < 30; answer++) runs.answered(bad, "place-1", nowMs);
  expect(runs.at(bad, "place-1")).toBeUndefined();
});

it("forgets a place that is gone", () => {
  const { runs, fail, out } = fleet(4);
  fail("place-1", "run-failed", 0);
  runs.forget("place-1");
  expect([out(1), runs.at(bad, "place-1")]).toEqual([[], undefined]);
});
