import { expect, it } from "vitest";
import { StepLine } from "./step-line.ts";

it("does steps one after another, each from where the one before left the state", async () => {
  const line = new StepLine("s", () => true);
  const steps: unknown[] = [];
  const next = (end = false) =>
    line.next(end, async ({ step, resident, seal, wantState }) => {
      steps.push([step, resident, seal, wantState]);
      return { result: step, endpoint: `place ${step}`, state: undefined, seal: `seal ${step}` };
    });
  expect(await Promise.all([next(), next(), next(true)])).toEqual([0, 1, 2]);
  expect(steps).toEqual([
    [0, undefined, undefined, true],
    [1, "place 0", "seal 0", true],
    [2, "place 1", "seal 1", false],
  ]);
  await expect(next()).rejects.toMatchObject({ reason: "sequence-unknown" });
});

it("asks again for a step that failed", async () => {
  const line = new StepLine("s", () => false);
  await expect(line.next(false, () => Promise.reject(new Error("gone")))).rejects.toThrow("gone");
  const answer = { endpoint: "there", state: undefined, seal: undefined };
  expect(await line.next(false, async ({ step }) => ({ result: step, ...answer }))).toBe(0);
});

it("does nothing more once it was ended while a step was under way", async () => {
  const line = new StepLine("s", () => false);
  let answer = (): void => undefined;
  const answered = new Promise<void>((resolve) => (answer = resolve));
  const first = line.next(false, async () => {
    await answered;
    return { result: "first", endpoint: "there", state: undefined, seal: undefined };
  });
  // The step has begun.
  await Promise.resolve();
  const ended = line.end();
  answer();
  expect(await first).toBe("first");
  await ended;
  await expect(line.next(false, () => Promise.reject(new Error("never")))).rejects.toMatchObject({
    reason: "sequence-unknown",
  });
});
