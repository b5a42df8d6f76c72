import { expect, it } from "vitest";
import { doubleDescription, doubleEndpoint, doubleOffer, manualClock } from "@longshore/testkit";
import { housekeepingCall, type Rules, seededRandom } from "../../words/base/index.ts";
import { deviceSpeed } from "../../decide/estimate/index.ts";
import { knowModel, type ModelReport } from "../models/index.ts";
import { followEndpoint, type EndpointState } from "./endpoint-state.ts";
import { endpointBoard } from "./board.ts";
import { shortlist } from "./shortlist.ts";
import { serviceRatioAt } from "../../decide/table/index.ts";

const free: Rules = housekeepingCall("test").rules;

/** Endpoints of which the first promise most; every third is in another zone. */
function fleet(count: number) {
  const clock = manualClock();
  const random = seededRandom(3);
  const board = endpointBoard();
  const all = new Map<string, EndpointState>();
  const description = doubleDescription({ name: "m" });
  const reports: ModelReport[] = [];
  for (let index = 0; index < count; index++) {
    const id = `endpoint-${index}`;
    const endpoint = doubleEndpoint([], { id, zone: index % 3 === 0 ? "eu" : "us" });
    reports.push({
      endpoint,
      knowledge: { description },
      offers: [doubleOffer(description, endpoint.info, 10 + index)],
    });
    const endpointState = followEndpoint(endpoint, undefined, clock, random, undefined, board.changed);
    all.set(id, endpointState);
    board.add(endpointState);
  }
  const known = knowModel(undefined, reports, undefined, deviceSpeed(), 0);
  if (!known) throw new Error("the model is not known");
  const searched: Int32Array[] = [];
  const list = shortlist(
    known,
    {
      add: board.add,
      remove: board.remove,
      changed: board.changed,
      rowOf: board.rowOf,
      endpointAt: board.endpointAt,
      first: (query, nowMs) => {
        searched.push(query.rows);
        return board.first(query, nowMs);
      },
      get reuses() {
        return board.reuses;
      },
    },
    random,
  );
  const look = (nowMs: number, rules: Rules = free, also?: string) =>
    list.table({ rules, features: { bytes: 8 }, bytes: 8, also }, nowMs);
  return { all, look, board, searched };
}

const busy = { atMs: 0, cpuRatio: 1, inFlight: 9, queueMs: 1e6 };

it("looks at a few of many, those that promise most and drawn ones", () => {
  const { look } = fleet(10_000);
  const others = new Set<string>();
  for (let at = 0; at < 100; at++) {
    const { ids } = look(100 * at);
    expect(ids.length).toBeLessThanOrEqual(10 + 2);
    expect(ids.slice(0, 10)).toEqual(Array.from({ length: 10 }, (_, index) => `endpoint-${index}`));
    for (const id of ids.slice(10)) others.add(id);
  }
  expect(others.size).toBeGreaterThan(150);
});

it("never considers endpoints that the rules forbid, and always considers the one that holds the state", () => {
  const { look } = fleet(1000);
  const { ids } = look(0, { ...free, zones: ["eu"] }, "endpoint-999");
  expect(ids).toContain("endpoint-999");
  expect(ids.every((id) => Number(id.slice(9)) % 3 === 0)).toBe(true);
  expect(look(0, { ...free, zones: ["jp"] }).count).toBe(0);
});

it("leaves a busy endpoint for the next best, and returns when its queue is empty", () => {
  const { all, look } = fleet(1000);
  expect(look(0).ids[0]).toBe("endpoint-0");
  all.get("endpoint-0")?.reports.load({ ...busy, queueMs: 500 }, 100, 0);
  all.get("endpoint-1")?.reports.load(busy, 100, 0);
  expect(look(101).ids[0]).toBe("endpoint-2");
  expect(look(1200).ids.slice(0, 2)).toEqual(["endpoint-2", "endpoint-3"]);
  // Rows of whom nothing is heard are written again in turn.
  for (let nowMs = 1e7; nowMs < 1e7 + 5000; nowMs += 1000) look(nowMs);
  expect(look(1e7 + 5000).ids.slice(0, 2)).toEqual(["endpoint-0", "endpoint-1"]);
});

it("forgets an endpoint that is gone, and never takes one that came later for it", () => {
  const { board, look } = fleet(900);
  const eu = { ...free, zones: ["eu"] };
  look(0, eu);
  const later = [...fleet(1500).all.values()]
    .slice(900)
    .filter(({ endpoint }) => endpoint.info.zone === "us");
  let came = 0;
  for (const endpointState of later) {
    board.remove(`endpoint-${3 * came}`);
    board.add(endpointState);
    // Now who has a list is told to make it again.
    if (board.reuses > 0) break;
    const { ids } = look(0, eu);
    expect(ids.every((id) => Number(id.slice(9)) % 3 === 0 && Number(id.slice(9)) > 3 * came)).toBe(true);
    came++;
  }
  expect(came).toBeGreaterThan(100);
  expect(board.reuses).toBe(1);
});

it("keeps the endpoints of a hundred sites, and those of large sets of rules up to its limit", () => {
  const { look, searched } = fleet(900);
  const rowsFor = (zones: readonly string[]): Int32Array | undefined => {
    look(0, { ...free, zones });
    return searched.at(-1);
  };
  const sites = Array.from({ length: 100 }, (_, site) => `site-${site}`);
  const before = sites.map((site) => rowsFor([site]));
  for (const [index, site] of sites.entries()) expect(rowsFor([site])).toBe(before[index]);
  const large = sites.map((site) => rowsFor(["eu", site]));
  expect(large[0]).toHaveLength(300);
  expect(rowsFor(["eu", "site-99"])).toBe(large[99]);
  expect(rowsFor(["eu", "site-0"])).not.toBe(large[0]);
});

it("gives a drawn endpoint that nothing is known of a chance now and then", () => {
  const { look } = fleet(200);
  let tried = 0;
  for (let at = 0; at < 2000; at++) {
    const table = look(10_000 + at);
    for (let index = 0; index < table.count; index++) if (serviceRatioAt(table, index) < 1) tried++;
  }
  expect(tried).toBeGreaterThan(5);
  expect(tried).toBeLessThan(50);
});

it("finds the same as asking every endpoint, whatever happened there", () => {
  const { all, look } = fleet(400);
  const random = seededRandom(11);
  const endpoints = [...all.values()];
  for (let nowMs = 1; nowMs < 4000; nowMs += 7) {
    const endpointState = endpoints[Math.floor(random.next() * 40)];
    const what = random.next();
    if (what < 0.5) endpointState?.legs.began(30 * random.next(), nowMs);
    else if (what < 0.7) endpointState?.legs.ended(nowMs);
    else if (what < 0.9) {
      endpointState?.reports.load(
        { ...busy, inFlight: 1 + Math.floor(3 * random.next()), queueMs: 80 * random.next() },
        nowMs,
        1,
      );
    } else {
      endpointState?.service.seen(20 + 40 * random.next(), 30, nowMs);
      endpointState?.outcomes.answered(nowMs);
    }
    const endsMs = endpoints.map((one, index) => {
      const { queueMs, serviceRatio, penaltyMs } = one.reading.view(nowMs);
      return queueMs + penaltyMs + serviceRatio * (10 + index);
    });
    const found = Math.min(...look(nowMs).ids.map((id) => endsMs[Number(id.slice(9))] ?? Infinity));
    expect(found).toBeLessThan(1.02 * Math.min(...endsMs));
  }
});
