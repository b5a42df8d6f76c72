import { describe, expect, it } from "vitest";
import { manualClock } from "@longshore/testkit";
import { createConnectionGuard, sourceOf } from "./connection-guard.ts";

const limits = { maxConnections: 4, maxConnectionsPerAddress: 2, probeConnections: 3, probeTimeoutMs: 100 };

/** A guard, and connections by number that say whether they were destroyed. */
function world(change: Partial<typeof limits> = {}) {
  const clock = manualClock();
  const guard = createConnectionGuard({ ...limits, ...change }, clock);
  const destroyed: string[] = [];
  const open = (name: string, address = name) => guard.admit(address, () => destroyed.push(name));
  return { clock, open, destroyed };
}

describe("the guard of connections", () => {
  it("serves as many as the limit, and health probes beyond", () => {
    const { open } = world();
    const first = ["1", "2", "3", "4"].map((name) => open(name));
    expect(first.map((one) => one?.probesOnly)).toEqual([false, false, false, false]);
    const beyond = open("5");
    expect(beyond?.probesOnly).toBe(true);
    expect(() => beyond?.demand()).toThrow("all 4 connections of this port are in use");
    first[0]?.left();
    beyond?.demand();
    expect(beyond?.probesOnly).toBe(false);
    expect(open("6")?.probesOnly).toBe(true);
  });

  it("gives one address its share", () => {
    const { open } = world();
    const own = [open("a", "10.0.0.1"), open("b", "10.0.0.1"), open("c", "::ffff:10.0.0.1")];
    expect(own.map((one) => one?.probesOnly)).toEqual([false, false, true]);
    let thrown: unknown;
    try {
      own[2]?.demand();
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toMatchObject({
      reason: "rejected",
      retryAfterMs: 1000,
      message: expect.stringContaining("one address may have 2") as string,
    });
    expect(open("d", "10.0.0.2")?.probesOnly).toBe(false);
    own[0]?.left();
    own[0]?.left();
    expect(open("e", "10.0.0.1")?.probesOnly).toBe(false);
    expect(open("f", "10.0.0.1")?.probesOnly).toBe(true);
  });

  it("destroys the oldest beyond the reserve, and each when its time ends", async () => {
    const { clock, open, destroyed } = world({ maxConnections: 0 });
    for (const name of ["1", "2", "3"]) open(name);
    expect(destroyed).toEqual([]);
    await clock.advance(50);
    open("4");
    expect(destroyed).toEqual(["1"]);
    await clock.advance(50);
    expect(destroyed).toEqual(["1", "2", "3"]);
    await clock.advance(50);
    expect(destroyed).toEqual(["1", "2", "3", "4"]);
    expect(clock.armed()).toBe(0);
  });

  it("closes at once without a reserve", () => {
    const { open } = world({ maxConnections: 1, probeConnections: 0 });
    expect(open("1")).toBeDefined();
    expect(open("2")).toBeUndefined();
  });

  it("keeps nothing of connections that are gone", async () => {
    const { clock, open, destroyed } = world();
    const all = Array.from({ length: 7 }, (_, at) => open(`10.0.0.${at}`));
    for (const one of all) one?.left();
    expect(clock.armed()).toBe(0);
    await clock.advance(1000);
    expect(destroyed).toEqual([]);
    expect(open("1")?.probesOnly).toBe(false);
  });
});

it.each([
  ["10.1.2.3", "10.1.2.3"],
  ["::ffff:10.1.2.3", "10.1.2.3"],
  ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2"],
  ["2001:db8::9", "2001:db8:0:0"],
  ["::1", "0:0:0:0"],
  ["fe80::1%eth0", "fe80:0:0:0"],
  ["", ""],
])("the source of %s is %s", (address, source) => {
  expect(sourceOf(address)).toBe(source);
});
