import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type RateLimiter, rateLimiter, type ResourceClaim } from "./rate-limiter.ts";

/** Lets the next waiting callers run after a resource was given back. */
const called = (): Promise<void> => Promise.resolve();

/** An instance that runs whenever it may. */
function instance(limiter: RateLimiter, name: string, count: number, log: string[], priority = 1) {
  const claim: ResourceClaim = limiter.register(name, [{ name: "R", count }], priority);
  return {
    claim,
    start: () => {
      const again = (): void => {
        if (claim.take(again)) log.push(name);
      };
      again();
    },
  };
}

describe("shared resources", () => {
  it("are kept for a request that needs much, so that small ones do not pass it for ever", async () => {
    const log: string[] = [];
    const limiter = rateLimiter({ R: 2 });
    const small = instance(limiter, "small", 1, log);
    const other = instance(limiter, "other", 1, log);
    const large = instance(limiter, "large", 2, log);
    small.start();
    large.start();
    other.start();
    expect(log).toEqual(["small", "other"]);
    other.claim.give();
    await called();
    // `other` has had a turn and `large` none: the free amount is kept for it.
    other.start();
    expect(log).toEqual(["small", "other"]);
    small.claim.give();
    await called();
    expect(log).toEqual(["small", "other", "large"]);
    large.claim.give();
    await called();
    expect(log).toEqual(["small", "other", "large", "other"]);
  });

  it("are shared with an instance that returns after a rest, which does not run alone until it has caught up", async () => {
    const log: string[] = [];
    const limiter = rateLimiter({ R: 1 });
    const [busy, rested] = [instance(limiter, "busy", 1, log), instance(limiter, "rested", 1, log)];
    for (let turn = 0; turn < 100; turn++) {
      busy.start();
      busy.claim.give();
    }
    log.length = 0;
    busy.start();
    rested.start();
    for (let turn = 0; turn < 10; turn++) {
      const runs = log.at(-1) === "busy" ? busy : rested;
      runs.claim.give();
      runs.start();
      await called();
    }
    expect(log.filter((name) => name === "rested").length).toBeLessThan(7);
  });

  it("are taken once by an instance that begins its next run before it released the last", async () => {
    const log: string[] = [];
    const limiter = rateLimiter({ R: 2 });
    const one = instance(limiter, "one", 1, log);
    one.start();
    one.start();
    one.claim.give();
    await called();
    one.claim.give();
    expect(log).toEqual(["one", "one"]);
    expect(limiter.register("both", [{ name: "R", count: 2 }], 1).take(() => undefined)).toBe(true);
  });

  it("that do not overlap do not wait for each other, and one that goes releases its share", () => {
    const limiter = rateLimiter({ A: 1, B: 1 });
    const a = limiter.register("a", [{ name: "A", count: 1 }], 1);
    const b = limiter.register("b", [{ name: "B", count: 1 }], 1);
    const second = limiter.register("second", [{ name: "A", count: 1 }], 1);
    let calls = 0;
    expect([a.take(() => undefined), b.take(() => undefined), second.take(() => void calls++)]).toEqual([
      true,
      true,
      false,
    ]);
    a[Symbol.dispose]();
    expect(calls).toBe(1);
    expect(second.take(() => undefined)).toBe(true);
    expect(() => limiter.register("greedy", [{ name: "A", count: 2 }], 1)).toThrow(
      expect.objectContaining({ reason: "invalid-configuration" }) as Error,
    );
  });

  it("are never taken beyond their amount, and every caller gets a turn", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.record({ count: fc.integer({ min: 0, max: 3 }), priority: fc.integer({ min: 1, max: 4 }) }),
          {
            minLength: 1,
            maxLength: 6,
          },
        ),
        fc.array(fc.nat(), { maxLength: 200 }),
        async (needs, picks) => {
          const limiter = rateLimiter({ R: 3 });
          const running = new Set<number>();
          const turns = needs.map(() => 0);
          const claims = needs.map(({ count, priority }) =>
            limiter.register("m", [{ name: "R", count }], priority),
          );
          const start = (index: number): void => {
            if (running.has(index)) return;
            const again = (): void => {
              if (running.has(index) || !claims[index]?.take(again)) return;
              running.add(index);
              turns[index] = (turns[index] ?? 0) + 1;
              const taken = [...running].reduce((sum, one) => sum + (needs[one]?.count ?? 0), 0);
              expect(taken).toBeLessThanOrEqual(3);
            };
            again();
          };
          needs.forEach((_, index) => start(index));
          for (const pick of picks) {
            const index = pick % needs.length;
            if (running.delete(index)) claims[index]?.give();
            await called();
            start(index);
          }
          // When all runs end, again and again, no run is left waiting.
          for (let round = 0; round < 4 * needs.length; round++) {
            const ended = [...running];
            for (const index of ended) {
              running.delete(index);
              claims[index]?.give();
            }
            await called();
          }
          expect(Math.min(...turns)).toBeGreaterThan(0);
        },
      ),
    );
  });
});
