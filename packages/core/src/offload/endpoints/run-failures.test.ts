import { expect, it } from "vitest";
import { doubleEndpoint, manualClock } from "@longshore/testkit";
import { LongshoreError, type Reason, seededRandom } from "../../words/base/index.ts";
import { endpointTable, waitMsAt } from "../../decide/table/index.ts";
import { followEndpoint, type EndpointState } from "./endpoint-state.ts";
import { runFailures } from "./run-failures.ts";

const bad = { model: "table", version: "2", digest: "sha256:2" };
const good = { model: "table", version: "1", digest: "sha256:1" };
const error = (reason: Reason): LongshoreError => new LongshoreError(reason, "execute", "made up");

function fleet(count: number, forwardsTenants?: true, offers = true) {
  const all = new Map<string, EndpointState>();
  for (let index = 0; index < count; index++) {
    const id = `endpoint-${index}`;
    const endpoint = doubleEndpoint([], { id, offers });
    const asTenants = { ...endpoint, capabilities: forwardsTenants ? { forwardsTenants } : {} };
    all.set(id, followEndpoint(asTenants, undefined, manualClock(), seededRandom(index), undefined));
  }
  const runs = runFailures(all, seededRandom(1));
  const fail = (id: string, reason: Reason, nowMs: number): boolean => {
    const endpointState = all.get(id);
    return endpointState !== undefined && runs.failed(endpointState, error(reason), nowMs, bad, "acme");
  };
  const out = (nowMs: number): readonly string[] => [...runs.out(bad, "acme", all, nowMs).keys()];
  return { all, runs, fail, out };
}

it("holds what an endpoint tells of a run against that version there, and nothing against others or elsewhere", () => {
  const { all, runs, fail, out } = fleet(4);
  expect(fail("endpoint-1", "run-failed", 0)).toBe(true);
  expect(out(1)).toEqual(["endpoint-1"]);
  expect(runs.out(good, "acme", all, 1).size).toBe(0);
  const table = endpointTable(Array.from(all.values(), (endpointState) => endpointState.reading.view(1)));
  const charged = runs.charged(table, bad, runs.out(bad, "acme", all, 1), 1);
  expect(charged.unavailable[1]).toContain("version 2 of table: it failed just now (run-failed)");
  expect(waitMsAt(charged, 1)).toBeGreaterThan(100);
  expect(charged.unavailable.filter(Boolean)).toHaveLength(1);
  expect(runs.charged(table, good, new Map(), 1)).toBe(table);
  expect(table.unavailable.some(Boolean)).toBe(false);
});

it.each(["unreachable", "no-answer", "bad-reply", "shutting-down", "internal", "queue-full"] as const)(
  "leaves %s to the endpoint as a whole",
  (reason) => {
    const { fail, out } = fleet(4);
    expect(fail("endpoint-1", reason, 0)).toBe(false);
    expect(out(1)).toEqual([]);
  },
);

it("leaves at most half of the endpoints alone that would answer, those that failed least lately first back", () => {
  const { all, fail, out } = fleet(4);
  for (const at of [0, 1, 2]) fail(`endpoint-${at}`, "run-failed", 100 * at);
  expect(out(201)).toEqual(["endpoint-2", "endpoint-1"]);
  // One that cannot be reached at all is none of those that would answer.
  all.get("endpoint-3")?.outcomes.failed(error("unreachable"), 201);
  expect(out(202)).toEqual(["endpoint-2"]);
  const one = fleet(1);
  one.fail("endpoint-0", "run-failed", 0);
  expect(one.out(1)).toEqual([]);
  // One that does not offer it any more takes nobody's turn.
  const other = fleet(3);
  other.fail("endpoint-0", "run-failed", 0);
  other.fail("endpoint-1", "run-failed", 100);
  const among = new Map([...other.all].filter(([id]) => id !== "endpoint-1"));
  expect([...other.runs.out(bad, "acme", among, 101).keys()]).toEqual(["endpoint-0"]);
});

it("pauses for longer with each failure, tries again, and forgets what ran well since", () => {
  const { runs, fail, out } = fleet(4);
  let nowMs = 0;
  const pauses: number[] = [];
  for (let failure = 0; failure < 4; failure++) {
    fail("endpoint-1", "runtime-crashed", nowMs);
    const untilMs = runs.at(bad, "endpoint-1")?.pausedUntilMs ?? 0;
    pauses.push(untilMs - nowMs);
    nowMs = untilMs;
    expect(out(nowMs)).toEqual([]);
  }
  expect(pauses[3]).toBeGreaterThan(4 * (pauses[0] ?? Infinity));
  for (let answer = 0; answer < 30; answer++) runs.answered(bad, "endpoint-1", nowMs);
  expect(runs.at(bad, "endpoint-1")).toBeUndefined();
});

it("forgets an endpoint that is gone", () => {
  const { runs, fail, out } = fleet(4);
  fail("endpoint-1", "run-failed", 0);
  runs.forget("endpoint-1");
  expect([out(1), runs.at(bad, "endpoint-1")]).toEqual([[], undefined]);
});

it("counts a refusal for load for the refused caller only, where the endpoint knows its callers", () => {
  const { all, runs } = fleet(3, true);
  const refuse = (id: string, reason: Reason, tenant?: string, retryAfterMs = 70): boolean => {
    const busy = new LongshoreError(reason, "admission", "made up", { retryAfterMs });
    const endpointState = all.get(id);
    return endpointState !== undefined && runs.failed(endpointState, busy, 0, bad, tenant);
  };
  const out = (tenant: string, nowMs: number) => runs.out(bad, tenant, all, nowMs);
  for (const reason of ["queue-full", "evicted", "rejected"] as const)
    expect(refuse("endpoint-1", reason, "flood")).toBe(true);
  expect([...out("flood", 69)]).toEqual([["endpoint-1", "it refused for load (rejected)"]]);
  expect(out("acme", 69).size).toBe(0);
  const table = endpointTable(Array.from(all.values(), (endpointState) => endpointState.reading.view(1)));
  expect(runs.charged(table, bad, out("acme", 1), 1)).toBe(table);
  const charged = runs.charged(table, bad, out("flood", 1), 1);
  expect(charged.unavailable).toEqual([undefined, "it refused for load (rejected)", undefined]);
  expect(waitMsAt(charged, 1)).toBe(waitMsAt(table, 1));
  expect(out("flood", 70).size).toBe(0);
  // Nobody's, or everybody's.
  expect([refuse("endpoint-1", "queue-full"), refuse("endpoint-1", "memory-limit", "flood")]).toEqual([
    false,
    false,
  ]);
  refuse("endpoint-2", "queue-full", "flood");
  runs.forget("endpoint-2");
  expect(out("flood", 1).size).toBe(0);
  for (let other = 0; other <= 256; other++) refuse("endpoint-0", "queue-full", `tenant-${other}`);
  expect([out("tenant-0", 1).size, out("tenant-1", 1).size]).toEqual([0, 1]);
});

it("counts a refusal for load by a foreign server for the requested model only", () => {
  const { all, runs } = fleet(1, undefined, false);
  const busy = new LongshoreError("rejected", "transport", "not ready", { retryAfterMs: 70 });
  const endpointState = all.get("endpoint-0")!;
  expect(runs.failed(endpointState, busy, 0, bad, "acme")).toBe(true);
  // Alone, too: the others that have it are no better off where it is asked all the same.
  expect([...runs.out(bad, "other", all, 69)]).toEqual([
    ["endpoint-0", "of version 2 of table: it refused for load (rejected)"],
  ]);
  expect([runs.pausedUntilMs(bad, "endpoint-0"), runs.pausedUntilMs(good, "endpoint-0")]).toEqual([
    70,
    -Infinity,
  ]);
  expect(runs.out(good, "acme", all, 69).size).toBe(0);
  expect(runs.out(bad, "acme", all, 70).size).toBe(0);
  // A question about what nothing is known of.
  expect(runs.failed(endpointState, busy, 100)).toBe(true);
  expect(runs.out(bad, "acme", all, 101).size).toBe(0);
});

it("does not count an endpoint that refuses a tenant among those that would answer it", () => {
  const { all, runs, fail } = fleet(2, true);
  fail("endpoint-0", "run-failed", 0);
  expect([...runs.out(bad, "flood", all, 1).keys()]).toEqual(["endpoint-0"]);
  const busy = new LongshoreError("queue-full", "admission", "made up", { retryAfterMs: 70 });
  runs.failed(all.get("endpoint-1")!, busy, 0, bad, "flood");
  expect([...runs.out(bad, "flood", all, 1).keys()]).toEqual(["endpoint-1"]);
  expect([...runs.out(bad, "acme", all, 1).keys()]).toEqual(["endpoint-0"]);
});
