import { settle } from "@longshore/testkit";
import { describe, expect, it } from "vitest";
import { type SharedMemory, type SharedObject, SharedRegions } from "./shared-regions.ts";

/** Memory whose objects open only when they are let, and that counts those that are open. */
function slowMemory() {
  const waiting: (() => void)[] = [];
  const closed: string[] = [];
  const memory: SharedMemory = {
    open: (key) =>
      new Promise((resolve) => {
        const object: SharedObject = {
          byteLength: 64,
          read: () => Promise.resolve(),
          write: () => Promise.resolve(),
          close() {
            closed.push(key);
            return Promise.resolve();
          },
        };
        waiting.push(() => resolve(object));
      }),
  };
  return { memory, closed, open: () => waiting.splice(0).forEach((let_) => let_()) };
}

describe("regions that are registered at the same time", () => {
  it("are all kept, also the first ones of their tenant", async () => {
    const { memory, open } = slowMemory();
    const regions = new SharedRegions(memory);
    const both = [regions.register("acme", "a", "/a", 0, 64), regions.register("acme", "b", "/b", 0, 64)];
    open();
    await Promise.all(both);
    expect(regions.list("acme", undefined).map(({ name }) => name)).toEqual(["a", "b"]);
  });

  it("under one name are one, and the object of the other is closed", async () => {
    const { memory, open, closed } = slowMemory();
    const regions = new SharedRegions(memory);
    const [first, second] = [
      regions.register("acme", "a", "/one", 0, 64),
      regions.register("acme", "a", "/two", 0, 64),
    ];
    open();
    await first;
    await expect(second).rejects.toMatchObject({ reason: "invalid-input" });
    expect(closed).toEqual(["/two"]);
  });

  it("are no more than a tenant may have", async () => {
    const { memory, open, closed } = slowMemory();
    const regions = new SharedRegions(memory);
    const many = Array.from({ length: 257 }, (_, index) =>
      regions.register("acme", `r${index}`, "/r", 0, 64),
    );
    open();
    const outcomes = await Promise.allSettled(many);
    expect(outcomes.filter(({ status }) => status === "rejected").length).toBe(1);
    expect(closed.length).toBe(1);
  });
});

describe("regions that are registered while others are given up", () => {
  /** Memory that closes its objects only when it is let. */
  function lasting() {
    const closing: (() => void)[] = [];
    const memory: SharedMemory = {
      open: () =>
        Promise.resolve({
          byteLength: 64,
          read: () => Promise.resolve(),
          write: () => Promise.resolve(),
          close: () => new Promise<void>((resolve) => closing.push(resolve)),
        }),
    };
    return { memory, closing, close: () => closing.splice(0).forEach((one) => one()) };
  }
  const names = (regions: SharedRegions): readonly string[] =>
    regions.list("acme", undefined).map(({ name }) => name);

  it("stay, also where each of those was the last one for a moment", async () => {
    const { memory, closing, close } = lasting();
    const regions = new SharedRegions(memory);
    for (const name of ["a", "b"]) await regions.register("acme", name, "/k", 0, 64);
    const first = regions.unregister("acme", "a");
    const second = regions.unregister("acme", "b");
    closing.shift()?.();
    await first;
    await regions.register("acme", "c", "/k", 0, 64);
    close();
    await second;
    expect(names(regions)).toEqual(["c"]);
  });

  it("stay where all were given up", async () => {
    const { memory, close } = lasting();
    const regions = new SharedRegions(memory);
    for (const name of ["a", "b"]) await regions.register("acme", name, "/k", 0, 64);
    void regions.unregister("acme", undefined);
    await regions.register("acme", "c", "/k", 0, 64);
    for (let turn = 0; turn < 3; turn++) {
      close();
      await settle();
    }
    expect(names(regions)).toEqual(["c"]);
  });
});
