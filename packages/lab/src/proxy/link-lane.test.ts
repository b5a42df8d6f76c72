import { seededRandom } from "@longshore/core";
import { afterEach, expect, it, vi } from "vitest";
import { constantTrace, uploadMs } from "../trace/index.ts";
import { linkLane, type Sink } from "./link-lane.ts";

const sinkThat = (land: () => void): Sink => ({
  gone: false,
  begin: () => undefined,
  land,
  end: () => undefined,
});

afterEach(() => void vi.useRealTimers());

it("carries 600 kB over 20 Mbit/s in the time that takes, within 5 %", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
  const trace = constantTrace(20e6);
  const beganMs = performance.now();
  const lane = linkLane({
    trace,
    delayMs: 10,
    jitterMs: 0,
    random: seededRandom(1),
    nowMs: () => performance.now(),
    bufferBytes: 2 ** 20,
  });
  let landed = 0;
  let tookMs = NaN;
  const sink: Sink = {
    ...sinkThat(() => undefined),
    land: (chunk) => void (landed += chunk.byteLength),
    end: () => void (tookMs = performance.now() - beganMs),
  };
  for (let part = 0; part < 60; part++) lane.push(sink, new Uint8Array(10_000));
  lane.finish(sink);
  await vi.advanceTimersByTimeAsync(10_000);
  lane.close();
  expect([landed, lane.carriedBytes]).toEqual([600_000, 600_000]);
  const ratio = tookMs / (uploadMs(trace, 0, 600_000) + 10);
  expect(ratio).toBeGreaterThan(0.95);
  expect(ratio).toBeLessThan(1.05);
});

/** Bytes that a lane carries for a connection that breaks while it waits, with or without its opening, and for a later one. */
async function carried(isOpen: boolean): Promise<number> {
  const lane = linkLane({
    trace: constantTrace(1e9),
    delayMs: 0,
    jitterMs: 0,
    random: seededRandom(1),
    nowMs: () => performance.now(),
    bufferBytes: 2 ** 20,
  });
  lane.cut();
  const broken = sinkThat(() => undefined);
  if (!isOpen) lane.open(broken);
  lane.push(broken, new Uint8Array(100_000));
  lane.abandon(broken, 65_536);
  await new Promise<void>((landed) => {
    lane.push(sinkThat(landed), new Uint8Array(10));
    lane.restore();
  });
  lane.close();
  return lane.carriedBytes;
}

it("a connection that breaks leaves the bytes in the buffers of the link, and none before its opening has crossed", async () => {
  expect(await carried(true)).toBe(65_546);
  expect(await carried(false)).toBe(10);
});
