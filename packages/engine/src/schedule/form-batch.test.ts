import { describe, expect, it } from "vitest";
import { type Candidate, formBatch, type Forming } from "./form-batch.ts";
import { runTimes, type RunTimes } from "./run-times.ts";

let order = 0;
const waiting = (change: Partial<Candidate> = {}): Candidate => ({
  tenant: "t",
  level: 1,
  delayed: false,
  rows: 1,
  rowBytes: 8,
  batchKey: "same",
  enqueuedMs: 0,
  deadlineMs: Infinity,
  order: order++,
  workMs: 1,
  ...change,
});

const forming = (change: Partial<Forming> = {}): Forming => ({
  batching: { maxBatchSize: 32 },
  times: runTimes(),
  nowMs: 0,
  gapMs: Infinity,
  idle: 1,
  idleSinceMs: 0,
  turnOver: true,
  ...change,
});

/** Times of a graph whose run takes `fixedMs` and `rowMs` for each row. */
function measured(fixedMs: number, rowMs: number): RunTimes {
  const times = runTimes();
  for (const rows of [1, 2, 4, 8, 16]) {
    for (let run = 0; run < 3; run++) times.seen(rows, fixedMs + rows * rowMs, 0, 8);
  }
  return times;
}

const sizeOf = (formed: ReturnType<typeof formBatch>): number =>
  formed.kind === "run" ? formed.members.reduce((sum, { rows }) => sum + rows, 0) : 0;
const form = (items: readonly Candidate[], change: Partial<Forming>): ReturnType<typeof formBatch> => {
  const [head] = items;
  if (!head) throw new Error("a test forms a batch of something");
  return formBatch(head, items, forming(change));
};
const several = (count: number, change: Partial<Candidate> = {}): Candidate[] =>
  Array.from({ length: count }, () => waiting(change));

describe("which requests share a run", () => {
  it("a request with more rows than may be joined runs alone instead of never", () => {
    const [large, small] = [waiting({ rows: 50 }), waiting()];
    expect(form([large, small], {})).toEqual({ kind: "run", members: [large] });
  });

  it("takes all that fit when a batch pays, and none when it was measured to lose", () => {
    expect(sizeOf(form(several(8), { times: measured(10, 0.1) }))).toBe(8);
    expect(sizeOf(form(several(8), { times: measured(0, 5) }))).toBe(1);
  });

  it("takes the fewest rows whose time for each is next to the least", () => {
    // From four rows on a batch gains next to nothing.
    const times = runTimes();
    for (const [rows, ms] of [
      [1, 10],
      [2, 14],
      [4, 20],
      [8, 39.5],
    ] as const) {
      for (let run = 0; run < 3; run++) times.seen(rows, ms, 0, 8);
    }
    expect(sizeOf(form(several(8), { times }))).toBe(4);
  });

  it("judges by the times of runs where they ran, even if this thread noticed their end late", () => {
    const times = runTimes();
    for (let run = 0; run < 3; run++) {
      times.seen(1, 1, 0, 8, 0.03);
      // Eight answers were worked on meanwhile.
      times.seen(8, 9, 0, 8, 0.05);
    }
    expect(sizeOf(form(several(8), { times }))).toBe(8);
    expect(times.runMs(8, 8)).toBe(9);
  });

  it("tries a size that lost again, now and then, and less often each time", () => {
    const times = measured(0, 5);
    let tried = 0;
    for (let pass = 0; pass < 1000; pass++) {
      const size = sizeOf(form(several(2), { times }));
      if (size === 2) {
        tried++;
        times.seen(2, 12, 0, 8);
      }
    }
    // Five times, for two runs each that show it again; the last of them is still to come.
    expect(tried).toBe(9);
  });

  it("goes over to a size that lost in a bad moment as soon as a trial of some runs has shown that it pays", () => {
    const times = runTimes();
    for (let run = 0; run < 16; run++) {
      times.seen(1, 5, 0, 8);
      times.seen(2, 30, 0, 8);
    }
    const chosen: number[] = [];
    for (let pass = 0; pass < 300; pass++) {
      const size = sizeOf(form(several(2), { times }));
      chosen.push(size);
      times.seen(size, size === 1 ? 5 : 6, 0, 8);
    }
    expect(chosen.indexOf(2)).toBeGreaterThan(20);
    expect(chosen.slice(50)).not.toContain(1);
  });

  it("keeps only as many as let the most urgent member finish in time, wherever it stands", () => {
    const urgent = waiting({ deadlineMs: 12 });
    const items = [waiting(), ...several(6), urgent];
    expect(sizeOf(form(items, { times: measured(10, 1) }))).toBe(2);
  });

  it("learns for each size of rows apart", () => {
    const times = measured(10, 0.1);
    for (const rows of [1, 2, 4, 8]) {
      for (let run = 0; run < 3; run++) times.seen(rows, 100 * rows, 0, 8000);
    }
    expect(sizeOf(form(several(8, { rowBytes: 8000 }), { times }))).toBe(1);
    expect(sizeOf(form(several(8), { times }))).toBe(8);
  });
});

describe("waiting for company", () => {
  it("reads waiting messages before a short run is sent off, once, while requests come close together", () => {
    const short = { times: measured(0.3, 0.01), gapMs: 0.1, turnOver: false };
    expect(form(several(1), short)).toEqual({ kind: "wait", untilMs: 0 });
    expect(sizeOf(form(several(3), { ...short, turnOver: true }))).toBe(3);
    expect(sizeOf(form(several(1), { ...short, gapMs: 1 }))).toBe(1);
    expect(sizeOf(form(several(1), { ...short, times: measured(0, 0.3) }))).toBe(1);
    expect(sizeOf(form(several(1), { ...short, times: measured(3, 0.01), gapMs: 2.9 }))).toBe(1);
    expect(sizeOf(form(several(1), { ...short, batching: { maxBatchSize: 32, maxQueueDelayMs: 0 } }))).toBe(
      1,
    );
  });

  const times = measured(20, 1);

  it("pays while the fixed cost of a run is large against the gap between requests", () => {
    // (20 - 1) / 2 = 9.5 ms for one row.
    expect(form(several(1), { times, gapMs: 5 })).toEqual({ kind: "wait", untilMs: 9.5 });
    expect(sizeOf(form(several(1), { times, gapMs: 12 }))).toBe(1);
    // With every row there is more to lose: (20 - 8) / 9 = 1.3 ms for eight.
    expect(sizeOf(form(several(8), { times, gapMs: 2 }))).toBe(8);
    expect(form(several(4), { times, gapMs: 2 })).toMatchObject({ kind: "wait" });
  });

  it("never pays for a network that gains nothing by it, without figures, or beside another idle instance", () => {
    expect(sizeOf(form(several(1), { times: measured(0, 20), gapMs: 0.1 }))).toBe(1);
    expect(sizeOf(form(several(1), { times: runTimes(), gapMs: 0.1 }))).toBe(1);
    expect(sizeOf(form(several(1), { times, gapMs: 5, idle: 2 }))).toBe(1);
  });

  it("ends when the most urgent can spare no more, and after the time of a run in all", () => {
    expect(sizeOf(form(several(1, { deadlineMs: 25 }), { times, gapMs: 5 }))).toBe(1);
    expect(sizeOf(form(several(1), { times, gapMs: 5, nowMs: 21, idleSinceMs: 0 }))).toBe(1);
  });

  it("follows the model where it says how long, and never waits where it says 0", () => {
    const told = { maxBatchSize: 32, maxQueueDelayMs: 3, preferredSizes: [4] };
    expect(form(several(2), { batching: told, times })).toEqual({ kind: "wait", untilMs: 3 });
    expect(sizeOf(form(several(5), { batching: told, times }))).toBe(4);
    expect(sizeOf(form(several(2), { batching: told, times, nowMs: 3 }))).toBe(2);
    const never = { maxBatchSize: 32, maxQueueDelayMs: 0 };
    expect(sizeOf(form(several(1), { batching: never, times, gapMs: 0.1 }))).toBe(1);
  });
});
