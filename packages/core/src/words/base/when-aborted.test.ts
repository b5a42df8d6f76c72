import { getEventListeners } from "node:events";
import { describe, expect, it } from "vitest";
import { neverAborted, whenAborted } from "./when-aborted.ts";

describe("whenAborted", () => {
  it("calls every remaining listener, once, in order", () => {
    const controller = new AbortController();
    const told: number[] = [];
    const twice = (): void => void told.push(3);
    whenAborted(controller.signal, () => told.push(1));
    const takeBack = whenAborted(controller.signal, () => told.push(2));
    whenAborted(controller.signal, twice);
    whenAborted(controller.signal, twice);
    takeBack();
    takeBack();
    controller.abort();
    controller.abort();
    expect(told).toEqual([1, 3, 3]);
  });

  it("puts one listener on the signal, however many wait", () => {
    const controller = new AbortController();
    const { signal } = controller;
    const seen = new Set<unknown>();
    for (let index = 0; index < 200; index++) {
      const takeBack = whenAborted(signal, () => undefined);
      if (index < 100) takeBack();
      const listeners = getEventListeners(signal, "abort");
      expect(listeners).toHaveLength(1);
      for (const listener of listeners) seen.add(listener);
    }
    expect(seen.size).toBe(1);
  });

  it("lets a listener take another one back", () => {
    const controller = new AbortController();
    const told: string[] = [];
    whenAborted(controller.signal, () => {
      told.push("first");
      takeBack();
    });
    const takeBack = whenAborted(controller.signal, () => told.push("second"));
    controller.abort();
    expect(told).toEqual(["first"]);
  });

  it("keeps nothing on a signal that never fires", () => {
    whenAborted(neverAborted, () => undefined)();
    expect(neverAborted.aborted).toBe(false);
  });
});
