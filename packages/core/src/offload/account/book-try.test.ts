import { doubleEndpoint, manualClock, testLeg, testPlan, testTravels } from "@longshore/testkit";
import { describe, expect, it } from "vitest";
import { housekeepingCall, LongshoreError, seededRandom } from "../../words/base/index.ts";
import { tries } from "../../decide/estimate/index.ts";
import { followEndpoint } from "../endpoints/index.ts";
import { bookTry, type Planned } from "./book-try.ts";
import { newTally } from "./tally.ts";

/** Sent to the endpoint, with a run of 100 ms here that may follow. */
const sent = testPlan([
  testLeg({ id: "remote", endpoint: "edge", travels: testTravels }),
  testLeg({
    id: "local",
    endpoint: "device",
    holdsMs: 100,
    starts: [{ on: "late", leg: "remote", latestMs: 9 }],
  }),
]);

function scene(deadlineMs = Infinity, tally = newTally()) {
  const clock = manualClock();
  const endpoint = followEndpoint(doubleEndpoint([]), undefined, clock, seededRandom(1), undefined);
  const where = {
    clock,
    local: doubleEndpoint([], { id: "device" }),
    endpoints: { all: new Map([["edge", endpoint]]) },
  };
  const call = { ...housekeepingCall("test"), deadlineMs };
  const run = (answer: (planned: Planned) => Promise<unknown>): Promise<unknown> =>
    bookTry(where, call, tally, answer).catch(() => undefined);
  return { clock, run, prices: () => endpoint.tries.books.prices(clock.nowMs()) };
}

describe("bookTry", () => {
  it("tells the books of an answer that the deadline ended", async () => {
    const { run, prices } = scene(150);
    const before = prices().missed;
    await run(async (planned) => {
      planned(sent, false);
      throw new LongshoreError("deadline-exceeded", "execute", "too late");
    });
    expect(prices().missed).toBeGreaterThan(before);
  });

  it("counts a request once and from its begin, however many plans it takes", async () => {
    const { clock, run, prices } = scene();
    const before = prices();
    await run(async (planned) => {
      planned(sent, false);
      await clock.advance(120);
      // The endpoint failed; the next plan is quick.
      planned(sent, true);
      await clock.advance(50);
    });
    const after = prices();
    expect(after.secondRun).toBeLessThan(before.secondRun);
    // One request without an extra run, not two.
    const once = scene();
    await once.run(async (planned) => planned(sent, false));
    expect(after.secondRun).toBeCloseTo(once.prices().secondRun, 9);
  });

  it("says nothing of how long answers take where a request is given up", async () => {
    const { run, prices } = scene(150);
    const before = prices().missed;
    await run(async (planned) => {
      planned(sent, false);
      throw new LongshoreError("cancelled", "execute", "not wanted");
    });
    expect(prices().missed).toBe(before);
  });

  it("tells of a second run the books that paid it", async () => {
    const tally = newTally();
    const [first, plain, other] = [scene(Infinity, tally), scene(), tries()];
    other.spend(1, 0);
    const before = other.prices(0).secondRun;
    for (let count = 0; count < 8; count++) {
      await first.run(async (planned) => {
        planned(sent, false);
        tally.spent = [other];
      });
      await plain.run(async (planned) => planned(sent, false));
    }
    // Its cost is earned back there.
    expect(other.prices(0).secondRun).toBeLessThan(before);
    expect(first.prices()).toEqual(plain.prices());
  });
});
