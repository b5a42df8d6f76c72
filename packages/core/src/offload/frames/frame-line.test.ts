import { virtualClock, type VirtualClock } from "@longshore/lab";
import fc from "fast-check";
import { untyped } from "@longshore/testkit";
import { describe, expect, it } from "vitest";
import { LongshoreError, sleep } from "../../words/base/index.ts";
import { type FrameLimits, frameLine, type FrameLineParts, type FrameOutcome } from "./frame-line.ts";

/** The frame as its own answer; only the stream is under test here. */
const answer = (frame: number): string => String(frame);
type FrameResult = FrameOutcome<string>;
const closed = (): boolean => false;

/** Frames that come `everyMs`, the first at once. */
async function* camera(clock: VirtualClock, count: number, everyMs: number): AsyncGenerator<number> {
  for (let frame = 0; frame < count; frame++) {
    if (frame > 0 && everyMs > 0) await sleep(clock, everyMs);
    yield frame;
  }
}

async function collect(
  clock: VirtualClock,
  frames: AsyncIterable<number> | Iterable<number>,
  limits: FrameLimits,
  run: FrameLineParts<number, string>["run"],
): Promise<readonly FrameResult[]> {
  const results: FrameResult[] = [];
  const work = (async () => {
    for await (const result of frameLine({ frames, limits, clock, run, closed })) results.push(result);
  })();
  await clock.runUntil(work);
  return results;
}

const told = (result: FrameResult): string =>
  result.kind === "answered"
    ? `${result.frame}=${result.result}`
    : result.kind === "failed"
      ? `${result.frame} ${result.error.reason}`
      : `${result.frame}+${result.count} ${result.why}`;

describe("frameLine", () => {
  it("refuses frames that cannot be looped over", async () => {
    const refused = collect(virtualClock(), untyped(5), {}, async () => "never");
    await expect(refused).rejects.toMatchObject({ reason: "invalid-input" });
  });

  it("answers every frame in order, with never more than the window under way, whatever each takes", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 0, max: 50 }), { maxLength: 30 }),
        fc.integer({ min: 1, max: 6 }),
        fc.integer({ min: 0, max: 20 }),
        async (times, maxInFlight, everyMs) => {
          const clock = virtualClock();
          let running = 0;
          let most = 0;
          const frames = everyMs > 10 ? times.keys() : camera(clock, times.length, everyMs);
          const results = await collect(clock, frames, { maxInFlight }, async (frame) => {
            most = Math.max(most, ++running);
            await sleep(clock, times[frame] ?? 0);
            running--;
            return answer(frame);
          });
          expect(results.map(told)).toEqual(times.map((_ms, frame) => `${frame}=${frame}`));
          expect(most).toBeLessThanOrEqual(maxInFlight);
        },
      ),
      { numRuns: 150 },
    );
  });

  it("overlaps frames: ten of 100 ms through a window of four take three rounds", async () => {
    const clock = virtualClock();
    await collect(clock, Array.from({ length: 10 }).keys(), {}, async (frame, { abort }) => {
      await sleep(clock, 100, abort);
      return answer(frame);
    });
    expect(clock.nowMs()).toBe(300);
  });

  it("lets the latest frame win, accounts for every frame once and says what was dropped", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 60 }),
        fc.integer({ min: 0, max: 60 }),
        fc.integer({ min: 1, max: 3 }),
        async (takesMs, everyMs, maxInFlight) => {
          const clock = virtualClock();
          const limits = { keep: "latest", maxInFlight } as const;
          const count = 25;
          const results = await collect(clock, camera(clock, count, everyMs), limits, async (frame) => {
            await sleep(clock, takesMs);
            return answer(frame);
          });
          let next = 0;
          for (const result of results) {
            expect(result.frame).toBe(next);
            next += result.kind === "dropped" ? result.count : 1;
          }
          expect(next).toBe(count);
          // The last one came and nothing newer did.
          expect(results.at(-1)?.kind).toBe("answered");
          if (takesMs < maxInFlight * everyMs) {
            expect(results.every((result) => result.kind === "answered")).toBe(true);
          }
        },
      ),
      { numRuns: 150 },
    );
  });

  it("drops a frame whose deadline passed before a slot was free, and reports a failed one without ending", async () => {
    const clock = virtualClock();
    const limits = { keep: "latest", maxInFlight: 1, deadlineMs: 30 } as const;
    const given: (number | undefined)[] = [];
    const results = await collect(clock, camera(clock, 4, 20), limits, async (frame, { deadlineMs }) => {
      given.push(deadlineMs);
      await sleep(clock, frame === 0 ? 55 : 5);
      if (frame === 2) throw new LongshoreError("no-endpoint", "plan", "nobody is there");
      return answer(frame);
    });
    // Frame 1 gives way to 2, which is 15 ms old when there is room and fails; 3 finds a free line.
    expect(results.map(told)).toEqual(["0=0", "1+1 newer", "2 no-endpoint", "3=3"]);
    expect(given).toEqual([30, 15, 30]);
    const late = await collect(clock, camera(clock, 2, 5), limits, async (frame) => {
      await sleep(clock, 80);
      return answer(frame);
    });
    expect(late.map(told)).toEqual(["0=0", "1+1 late"]);
  });

  it("hands out what came before the source broke, then throws", async () => {
    const clock = virtualClock();
    async function* broken(): AsyncGenerator<number> {
      yield 0;
      yield 1;
      throw new Error("the camera was unplugged");
    }
    const results: string[] = [];
    const work = (async () => {
      for await (const result of frameLine({
        frames: broken(),
        limits: {},
        clock,
        closed,
        run: (frame) => sleep(clock, 10).then(() => answer(frame)),
      }))
        results.push(told(result));
    })();
    await expect(clock.runUntil(work)).rejects.toThrow(/camera was unplugged/);
    expect(results).toEqual(["0=0", "1=1"]);
  });

  it("hands out what was under way before a frame that nobody will answer any more, begins no other, and closes the source", async () => {
    const clock = virtualClock();
    const results: string[] = [];
    const begun: number[] = [];
    let left = false;
    async function* source(): AsyncGenerator<number> {
      try {
        yield* camera(clock, 100, 5);
      } finally {
        left = true;
      }
    }
    const run: FrameLineParts<number, string>["run"] = async (frame) => {
      begun.push(frame);
      if (frame > 1) throw new LongshoreError("shutting-down", "resolve", "it was closed");
      await sleep(clock, 50);
      return answer(frame);
    };
    const work = (async () => {
      const line = frameLine({ frames: source(), limits: {}, clock, run, closed: () => begun.length > 2 });
      for await (const result of line) results.push(told(result));
    })();
    await expect(clock.runUntil(work)).rejects.toMatchObject({ reason: "shutting-down" });
    await clock.advance(10);
    expect([results, begun, left]).toEqual([["0=0", "1=1"], [0, 1, 2], true]);
  });

  it("goes on after a frame that an endpoint which is shutting down did not take", async () => {
    const results = await collect(virtualClock(), [0, 1, 2], {}, async (frame) => {
      if (frame === 1) throw new LongshoreError("shutting-down", "admission", "the server is being stopped");
      return answer(frame);
    });
    expect(results.map(told)).toEqual(["0=0", "1 shutting-down", "2=2"]);
  });

  it("hands out what came after such a frame, too, where it is closed before that was taken", async () => {
    const clock = virtualClock();
    let over = false;
    const run: FrameLineParts<number, string>["run"] = async (frame) => {
      if (frame === 1) throw new LongshoreError("shutting-down", "admission", "the server is being stopped");
      if (frame > 2) throw new LongshoreError("shutting-down", "resolve", "it was closed");
      return answer(frame);
    };
    const line = frameLine({ frames: camera(clock, 4, 5), limits: {}, clock, run, closed: () => over });
    const results: string[] = [];
    const take = async (): Promise<void> => {
      const { value } = await clock.runUntil(line.next());
      if (value) results.push(told(value));
    };
    await take();
    await clock.advance(12);
    over = true;
    await clock.advance(10);
    await take();
    await take();
    await expect(take()).rejects.toMatchObject({ reason: "shutting-down" });
    expect(results).toEqual(["0=0", "1 shutting-down", "2=2"]);
  });

  it("ends at once when it is aborted, when it is left, and when no frame can ever be answered", async () => {
    const clock = virtualClock();
    const ended: string[] = [];
    let left = 0;
    const source = (): AsyncIterable<number> => ({
      async *[Symbol.asyncIterator]() {
        try {
          for (let frame = 0; ; frame++) {
            await sleep(clock, 10);
            yield frame;
          }
        } finally {
          left++;
        }
      },
    });
    const run: FrameLineParts<number, string>["run"] = async (frame, { abort }) => {
      await sleep(clock, 100, abort).catch((thrown: unknown) => {
        ended.push(`${frame}`);
        throw thrown;
      });
      return answer(frame);
    };
    const controller = new AbortController();
    const first = frameLine({
      frames: source(),
      limits: { signal: controller.signal },
      clock,
      run,
      closed,
    }).next();
    await clock.advance(35);
    controller.abort();
    await expect(clock.runUntil(first)).rejects.toMatchObject({ reason: "cancelled" });
    expect(ended).toEqual(["0", "1", "2"]);

    const second = frameLine({ frames: source(), limits: {}, clock, run, closed });
    await clock.runUntil(second.next());
    await clock.runUntil(second.return());
    await clock.advance(50);
    expect(ended.length).toBe(3 + 3);
    expect(left).toBe(2);

    const third = frameLine({
      frames: source(),
      limits: {},
      clock,
      closed,
      run: () => Promise.reject(new LongshoreError("unknown-model", "resolve", "nobody knows it")),
    });
    await expect(clock.runUntil(third.next())).rejects.toMatchObject({ reason: "unknown-model" });
  });

  it("keeps what waits for the consumer within two windows", async () => {
    const clock = virtualClock();
    let started = 0;
    const line = frameLine({
      frames: Array.from({ length: 100 }).keys(),
      limits: { maxInFlight: 3 },
      clock,
      closed,
      run: async (frame) => {
        started++;
        await sleep(clock, 1);
        return answer(frame);
      },
    });
    await clock.runUntil(line.next());
    await clock.advance(1000);
    expect(started).toBe(7);
    await clock.runUntil(line.return());
  });
});
