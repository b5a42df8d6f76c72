import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { manualClock } from "@longshore/testkit";
import { expect, it } from "vitest";
import { LongshoreError, neverAborted } from "../../words/base/index.ts";
import { StepLine } from "./step-line.ts";

const always = { abort: neverAborted, deadlineMs: Infinity };

it("does steps one after another, each from where the one before left the state", async () => {
  const line = new StepLine("s", manualClock(), () => true);
  const steps: unknown[] = [];
  const next = (end = false) =>
    line.next(end, always, async ({ step, resident, seal, wantState }) => {
      steps.push([step, resident, seal, wantState]);
      return { result: step, endpoint: `endpoint ${step}`, state: undefined, seal: `seal ${step}` };
    });
  expect(await Promise.all([next(), next(), next(true)])).toEqual([0, 1, 2]);
  expect(steps).toEqual([
    [0, undefined, undefined, true],
    [1, "endpoint 0", "seal 0", true],
    [2, "endpoint 1", "seal 1", false],
  ]);
  await expect(next()).rejects.toMatchObject({ reason: "sequence-unknown" });
});

it("repeats a step that failed", async () => {
  const line = new StepLine("s", manualClock(), () => false);
  await expect(line.next(false, always, () => Promise.reject(new Error("gone")))).rejects.toThrow("gone");
  const answer = { endpoint: "there", state: undefined, seal: undefined };
  expect(await line.next(false, always, async ({ step }) => ({ result: step, ...answer }))).toBe(0);
});

it("does nothing more once it was ended while a step was under way", async () => {
  const line = new StepLine("s", manualClock(), () => false);
  let answer = (): void => undefined;
  const answered = new Promise<void>((resolve) => (answer = resolve));
  const first = line.next(false, always, async () => {
    await answered;
    return { result: "first", endpoint: "there", state: undefined, seal: undefined };
  });
  // The step has begun.
  await Promise.resolve();
  const ended = line.end();
  answer();
  expect(await first).toBe("first");
  await ended;
  await expect(line.next(false, always, () => Promise.reject(new Error("never")))).rejects.toMatchObject({
    reason: "sequence-unknown",
  });
});

it("lets a step give up while it waits for earlier steps, and later steps still wait for those", async () => {
  const clock = manualClock();
  const line = new StepLine("s", clock, () => false);
  let answer = (): void => undefined;
  const answered = new Promise<void>((resolve) => (answer = resolve));
  const ran: number[] = [];
  const next = (until: Partial<typeof always> = {}, first = false): Promise<number> =>
    line.next(false, { ...always, ...until }, async ({ step }) => {
      if (first) await answered;
      ran.push(step);
      return { result: step, endpoint: "there", state: undefined, seal: undefined };
    });
  const gone = new AbortController();
  const first = next({}, true);
  const late = next({ deadlineMs: 100 });
  const left = next({ abort: gone.signal });
  const last = next();
  gone.abort(new LongshoreError("cancelled", "execute", "gone"));
  await expect(left).rejects.toMatchObject({ reason: "cancelled" });
  await Promise.all([
    expect(late).rejects.toMatchObject({ reason: "deadline-exceeded" }),
    clock.advance(100),
  ]);
  expect(ran).toEqual([]);
  answer();
  expect(await Promise.all([first, last])).toEqual([0, 1]);
});

it("keeps no results of steps that are over", async () => {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  const line = new StepLine("s", manualClock(), () => false);
  const results: WeakRef<object>[] = [];
  for (let step = 0; step < 10; step++) {
    const answer = { endpoint: "there", state: undefined, seal: undefined };
    results.push(
      new WeakRef(await line.next(false, always, async () => ({ result: { outputs: step }, ...answer }))),
    );
  }
  // A turn keeps its position until it is over.
  await new Promise((resolve) => setImmediate(resolve));
  collect();
  expect(results.slice(0, 8).filter((one) => one.deref() !== undefined)).toEqual([]);
  await line.end();
});
