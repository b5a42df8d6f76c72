import { describe, expect, it } from "vitest";
import { doubleEndpoint, manualClock, testLeg, testPlan, testPredicted } from "@longshore/testkit";
import { seededRandom, sleep } from "../../words/base/index.ts";
import type { Endpoint, LoadReport } from "../../wire/endpoint/index.ts";
import { certain } from "../../words/estimate/index.ts";
import type { LostCandidate, Plan } from "../../decide/plan/index.ts";
import { loadProbes } from "./load-probes.ts";
import { followEndpoint, type EndpointState } from "../endpoints/index.ts";

const told = { observedAtMs: 0, origin: "told" } as const;
const ids = ["a", "b", "c", "d", "e"] as const;

/** Endpoints with a request of somebody else each, which take `probeMs` to say so, and a plan for the first of them. */
function crowd({ perRequest = 3, inFlight = 1 } = {}) {
  const clock = manualClock();
  let probeMs = 1;
  const asked: string[] = [];
  const all = new Map<string, EndpointState>();
  const load = (): LoadReport => ({ atMs: clock.nowMs(), cpuRatio: 1, inFlight, queueMs: 30 * inFlight });
  for (const id of ids) {
    const endpoint: Endpoint = {
      ...doubleEndpoint([], { id }),
      capabilities: {
        async probe() {
          asked.push(id);
          await sleep(clock, probeMs);
          return load();
        },
      },
    };
    const endpointState = followEndpoint(endpoint, undefined, clock, seededRandom(1), undefined);
    endpointState.reports.load(load(), 0, 0);
    all.set(id, endpointState);
  }
  const probes = loadProbes({ clock }, { all, tables: { touched: () => undefined } }, perRequest);
  const lost = ids.slice(1).map((endpoint, index): LostCandidate => {
    const why = { kind: "score", score: 105 + 20 * index, bestScore: 100 } as const;
    return { endpoint, variant: "base", cut: "start", codecs: {}, why, count: 1 };
  });
  const plan = (expectedMs: number, beaten = lost): Plan =>
    testPlan([testLeg({ endpoint: "a" })], {
      lost: beaten,
      predicted: { ...testPredicted, completionMs: certain(expectedMs, told) },
    });
  /** Lets each of them say once how long asking takes. */
  const acquaint = async (): Promise<void> => {
    for (const one of [...lost, ...lost]) {
      await clock.advance(50);
      probes.consider(plan(100, [one]), clock.nowMs());
    }
    await clock.advance(50);
    asked.length = 0;
  };
  return { clock, probes, plan, asked, all, acquaint, slow: (ms: number) => void (probeMs = ms) };
}

async function settled(promise: Promise<void> | undefined): Promise<boolean> {
  let over = false;
  void promise?.then(() => (over = true));
  for (let turn = 0; turn < 20; turn++) await Promise.resolve();
  return over;
}

describe("before a decision", () => {
  it("the best endpoints are queried and awaited, where others send there and their load reports are old", async () => {
    const { clock, probes, plan, asked, all, acquaint } = crowd();
    await acquaint();
    const news = probes.before(plan(100), clock.nowMs());
    expect(news).toBeDefined();
    expect([...asked].sort()).toEqual(["b", "c", "d"]);
    expect(await settled(news)).toBe(false);
    await clock.advance(1);
    expect(await settled(news)).toBe(true);
    expect(all.get("b")?.queue.reportedAtMs).toBe(clock.nowMs());
    // They have only just said it.
    expect(probes.before(plan(100), clock.nowMs())).toBeUndefined();
  });

  it("no endpoint is queried where no other client sends, or where none is known to answer quickly", () => {
    const alone = crowd({ inFlight: 0 });
    expect(alone.probes.before(alone.plan(100), 500)).toBeUndefined();
    const unknown = crowd();
    expect(unknown.probes.useful(500)).toBe(false);
    expect(unknown.probes.before(unknown.plan(100), 500)).toBeUndefined();
    expect([alone.asked, unknown.asked]).toEqual([[], []]);
  });

  it("no endpoint is queried where that takes more than a tenth of the request's expected time", async () => {
    const { clock, probes, plan, asked, acquaint } = crowd();
    await acquaint();
    expect(probes.useful(clock.nowMs())).toBe(true);
    expect(probes.before(plan(9), clock.nowMs())).toBeUndefined();
    expect(probes.useful(clock.nowMs())).toBe(false);
    expect(asked).toEqual([]);
    expect(probes.before(plan(11), clock.nowMs())).toBeDefined();
  });

  it("no endpoint is queried where others send much more while the answer travels", async () => {
    const { clock, probes, plan, acquaint } = crowd();
    await acquaint();
    for (let count = 0; count < 100; count++) {
      await clock.advance(2);
      probes.consider(plan(100), clock.nowMs());
    }
    await clock.advance(50);
    expect(probes.before(plan(100), clock.nowMs())).toBeUndefined();
  });

  it("an answer that does not come is not waited for", async () => {
    const { clock, probes, plan, acquaint, slow } = crowd();
    await acquaint();
    slow(500);
    const news = probes.before(plan(100), clock.nowMs());
    await clock.advance(1.5);
    expect(await settled(news)).toBe(false);
    await clock.advance(1);
    expect(await settled(news)).toBe(true);
  });

  it("at most a fixed number of endpoints is queried for each request", async () => {
    const { clock, probes, plan, asked, acquaint } = crowd({ perRequest: 0.25 });
    for (let round = 0; round < 8; round++) await acquaint();
    let requests = 0;
    for (; requests < 40; requests++) {
      const news = probes.before(plan(100), clock.nowMs());
      probes.consider(plan(100), clock.nowMs());
      await clock.advance(20);
      await news;
    }
    expect(asked.length).toBeGreaterThan(5);
    expect(asked.length).toBeLessThanOrEqual(0.25 * requests + 8);
  });
});
