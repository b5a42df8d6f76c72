import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { LongshoreError } from "@longshore/core";
import { manualClock } from "@longshore/testkit";
import { type ReadableHalf, type FrameOptions, frameSource } from "./frames.ts";
import { createBufferedBytes } from "./held.ts";
import { createPatience } from "./patience.ts";

const cancelled = new LongshoreError("cancelled", "transport", "the client closed the call");

function source(more: Partial<FrameOptions> = {}) {
  const flow: ReadableHalf & { paused: boolean } = {
    paused: false,
    pause: () => void (flow.paused = true),
    resume: () => void (flow.paused = false),
  };
  const held = createBufferedBytes(2 ** 30);
  const clock = manualClock();
  const frames = frameSource(flow, {
    maxBytes: 64 * 2 ** 20,
    encoding: "identity",
    arrival: createPatience(clock, 1000),
    patient: false,
    held,
    closed: () => cancelled,
    ...more,
  });
  return { frames, held, clock };
}

function framed(message: Uint8Array, flag = 0): Uint8Array {
  const whole = Buffer.alloc(5 + message.byteLength);
  whole[0] = flag;
  whole.writeUInt32BE(message.byteLength, 1);
  whole.set(message, 5);
  return whole;
}

describe("the content of messages", () => {
  it("is given back when the call ends while one is inflated, which stops", async () => {
    const held = createBufferedBytes(2 ** 30);
    let taken = 0;
    const { frames } = source({
      encoding: "gzip",
      held: {
        ...held,
        take(bytes) {
          held.take(bytes);
          // With the second of the 64 pieces that would come out.
          if ((taken += 1) === 3) queueMicrotask(() => frames[Symbol.dispose]());
        },
      },
    });
    frames.came(framed(gzipSync(new Uint8Array(2 ** 20)), 1));
    await expect(frames.next()).rejects.toBe(cancelled);
    expect(taken).toBeLessThan(30);
    expect(held.bytes).toBe(0);
  });

  it("is nothing when the call has ended before one is read", async () => {
    const { frames, held } = source();
    frames.came(framed(new Uint8Array(5000)));
    const frame = await frames.next();
    frames[Symbol.dispose]();
    await expect(frame?.read()).rejects.toBe(cancelled);
    expect(held.bytes).toBe(0);
  });
});

describe("a call that ends", () => {
  it("makes an error for a reader that still waits for a message, and none without one", async () => {
    let made = 0;
    const closed = (): LongshoreError => {
      made++;
      return cancelled;
    };
    const read = source({ closed }).frames;
    read.came(framed(new Uint8Array(5)));
    read.end();
    expect((await (await read.next())?.read())?.byteLength).toBe(5);
    read[Symbol.dispose]();
    read.gone();
    expect(made).toBe(0);
    const waiting = source({ closed }).frames;
    const next = waiting.next();
    waiting[Symbol.dispose]();
    await expect(next).rejects.toBe(cancelled);
    expect(made).toBe(1);
  });
});
