import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LongshoreError, seededRandom } from "@longshore/core";
import { acknowledgeHeader, acknowledgeStep, probeStep, housekeepingCall } from "@longshore/core/internal";
import {
  constantTrace,
  linkShapes,
  packetsOf,
  syntheticTrace,
  type Trace,
  uploadMs,
} from "../trace/index.ts";
import { virtualClock, type VirtualClock } from "../world/index.ts";
import { emulatedLink, type EmulatedLink } from "./emulated-link.ts";
import { emulatedTransport } from "./emulated-transport.ts";

function linkOn(
  clock: VirtualClock,
  trace: Trace,
  more: { delayMs?: number; jitterMs?: number; seed?: number } = {},
): EmulatedLink {
  const { delayMs = 10, jitterMs = 0, seed = 1 } = more;
  return emulatedLink({ up: trace, down: trace, delayMs, jitterMs, clock, random: seededRandom(seed) });
}

const steady = constantTrace(1_168_000);

describe("emulatedLink", () => {
  it("takes exactly the time of the trace, plus the delay", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 400_000 }),
        fc.integer({ min: 0, max: 5000 }),
        fc.integer({ min: 1, max: 50 }),
        async (bytes, startMs, seed) => {
          const trace = syntheticTrace(linkShapes.stalling, seed, 20_000);
          const clock = virtualClock();
          const link = linkOn(clock, trace);
          await clock.advance(startMs);
          await clock.runUntil(link.carry(bytes, "up"));
          expect(clock.nowMs()).toBeCloseTo(startMs + uploadMs(trace, startMs, bytes) + 10, 6);
        },
      ),
      { numRuns: 30 },
    );
  });

  it("carries bodies of one direction one after another, and directions apart", async () => {
    const clock = virtualClock();
    const link = linkOn(clock, steady);
    const ends: [string, number][] = [];
    const carry = async (name: string, direction: "up" | "down"): Promise<void> => {
      await link.carry(146_000, direction);
      ends.push([name, Math.round(clock.nowMs())]);
    };
    await clock.runUntil(Promise.all([carry("first", "up"), carry("second", "up"), carry("back", "down")]));
    expect(ends.sort(([a], [b]) => a.localeCompare(b))).toEqual([
      ["back", 1010],
      ["first", 1010],
      ["second", 2010],
    ]);
    expect(link.carriedBytes).toEqual({ up: 292_000, down: 146_000 });
  });

  it("reports arrivals in order, and the acknowledgement one delay later", async () => {
    const clock = virtualClock();
    const link = linkOn(clock, steady, { delayMs: 25, jitterMs: 15, seed: 3 });
    const arrived: number[] = [];
    const acknowledged: number[] = [];
    await clock.runUntil(
      link.carry(20_000, "up", {
        arrived: (bytes) => arrived.push(bytes),
        acknowledged: (bytes) => {
          acknowledged.push(bytes);
          expect(arrived).toContain(bytes);
        },
      }),
    );
    await clock.runUntilIdle();
    expect(arrived).toHaveLength(packetsOf(20_000));
    expect(arrived).toEqual(arrived.toSorted((a, b) => a - b));
    expect(arrived[arrived.length - 1]).toBe(20_000);
    expect(acknowledged).toEqual(acknowledged.toSorted((a, b) => a - b));
    expect(acknowledged[acknowledged.length - 1]).toBe(20_000);
  });

  it("fills the rest of one body's packet with the next, and acknowledges in steps and in packets of the other side", async () => {
    const clock = virtualClock();
    const link = linkOn(clock, steady);
    const small = Array.from({ length: 10 }, () => link.carry(146, "up"));
    await clock.runUntil(Promise.all(small));
    // One packet for all ten.
    expect(clock.nowMs()).toBeCloseTo(10 + 10, 6);
    const told: number[] = [];
    const before = link.carriedBytes.down;
    await clock.runUntil(link.carry(146_000, "up", { acknowledged: (bytes) => told.push(bytes) }));
    await clock.runUntilIdle();
    // The first whole packet that is a step or more beyond the last: 2,282 bytes are 2 packets.
    expect(acknowledgeStep(146_000)).toBe(2282);
    // Each packet of a short body is reported, of a tiny one none.
    expect([acknowledgeStep(20_000), acknowledgeStep(8000)]).toEqual([1460, 8192]);
    // And of a train that measures the link, also the first, which holds less of the body.
    expect([probeStep(2920), probeStep(93_440)]).toEqual([1060, 1460]);
    const steps = Array.from({ length: 50 }, (_none, index) => 2 * 1460 * (index + 1));
    expect(told).toEqual(steps);
    expect(link.carriedBytes.down - before).toBe(60 * told.length);
  });

  it("puts no bytes into a packet that are handed over as it leaves, even if others leave in it", async () => {
    for (const waiting of [0, 1]) {
      const clock = virtualClock();
      const link = linkOn(clock, steady);
      for (let at = 0; at < waiting; at++) void link.carry(146, "up");
      await clock.advance(10);
      await clock.runUntil(link.carry(146, "up"));
      expect(clock.nowMs()).toBeCloseTo(20 + 10, 6);
    }
  });

  it("forecasts the arrival of bytes handed over later, after those under way", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 200_000 }),
        fc.integer({ min: 1, max: 200_000 }),
        fc.integer({ min: 0, max: 3000 }),
        fc.integer({ min: 1, max: 50 }),
        async (ahead, bytes, laterMs, seed) => {
          const clock = virtualClock();
          const link = linkOn(clock, syntheticTrace(linkShapes.stalling, seed, 20_000));
          await clock.advance(500);
          const first = link.carry(ahead, "up");
          await clock.advance(100);
          const promisedMs = link.arrivesMs(bytes, "up", clock.nowMs() + laterMs);
          await clock.advance(laterMs);
          await clock.runUntil(link.carry(bytes, "up"));
          await first;
          expect(clock.nowMs()).toBeCloseTo(promisedMs, 6);
        },
      ),
      { numRuns: 30 },
    );
  });

  it("rejects a cancelled body at once and still carries 64 kB of it", async () => {
    const clock = virtualClock();
    const link = linkOn(clock, steady);
    const controller = new AbortController();
    const first = link.carry(1_460_000, "up", { abort: controller.signal });
    clock.timer(100, () => controller.abort());
    await expect(clock.runUntil(first)).rejects.toMatchObject({ reason: "cancelled" });
    expect(clock.nowMs()).toBe(100);
    await clock.runUntil(link.carry(1460, "up"));
    // 44 packets that no receiver wants any more, then ours: 450 ms and the delay.
    expect(clock.nowMs()).toBeCloseTo(100 + 450 + 10, 0);
  });

  it("stalls while it is cut and goes on where it was", async () => {
    const clock = virtualClock();
    const link = linkOn(clock, steady);
    const carried = link.carry(146_000, "up");
    clock.timer(300, () => link.cut());
    clock.timer(5300, () => link.restore());
    await clock.runUntil(carried);
    expect(link.isCut).toBe(false);
    expect(clock.nowMs()).toBeCloseTo(6010, -1);
  });
});

describe("emulatedTransport", () => {
  const call = housekeepingCall("test");
  const post = {
    method: "POST",
    path: "/x",
    headers: {},
    body: { kind: "parts", parts: [new Uint8Array(146_000)] },
  } as const;
  const echo = (status: number) => () =>
    Promise.resolve({ status, headers: {}, body: { kind: "parts" as const, parts: [new Uint8Array(1460)] } });

  it("charges both directions and reports acknowledgements of the body alone", async () => {
    const clock = virtualClock();
    const transport = emulatedTransport(echo(200), linkOn(clock, steady), clock);
    const told: number[] = [];
    const asking = { ...post, headers: { [acknowledgeHeader]: "9125" } };
    const response = await clock.runUntil(transport.send(asking, call, (bytes) => told.push(bytes)));
    expect(response.status).toBe(200);
    // 101 packets up (an envelope comes on top), 2 down, a delay each way.
    expect(clock.nowMs()).toBeCloseTo(1010 + 10 + 20 + 10, -1);
    await clock.runUntilIdle();
    expect(told[told.length - 1]).toBe(146_000);
    expect(told).toEqual([...new Set(told)].toSorted((a, b) => a - b));
    // A sender without a callback gets no report.
    told.length = 0;
    await clock.runUntil(transport.send(post, call, (bytes) => told.push(bytes)));
    await clock.runUntilIdle();
    expect(told).toEqual([]);
  });

  it("gives up on a cut link as unreachable, on silence as no-answer, on a closed one at once", async () => {
    const clock = virtualClock();
    const link = linkOn(clock, steady);
    link.cut();
    const transport = emulatedTransport(echo(200), link, clock, { connectMs: 2000, silenceMs: 5000 });
    await expect(clock.runUntil(transport.send(post, call))).rejects.toMatchObject({ reason: "unreachable" });
    expect(clock.nowMs()).toBe(2000);
    link.restore();
    await clock.runUntilIdle();
    const silent = emulatedTransport(() => new Promise(() => undefined), link, clock, { silenceMs: 5000 });
    await expect(clock.runUntil(silent.send(post, call))).rejects.toMatchObject({ reason: "no-answer" });
    await transport.close();
    await expect(transport.send(post, call)).rejects.toMatchObject({ reason: "unreachable" });
  });

  it("ends with the caller's own error when that comes first", async () => {
    const clock = virtualClock();
    const transport = emulatedTransport(echo(200), linkOn(clock, steady), clock);
    const controller = new AbortController();
    clock.timer(50, () => controller.abort(new LongshoreError("deadline-exceeded", "transport", "too late")));
    const sent = transport.send(post, { ...call, abort: controller.signal });
    await expect(clock.runUntil(sent)).rejects.toMatchObject({ reason: "deadline-exceeded" });
    expect(clock.nowMs()).toBe(50);
  });
});
