import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { searchQuality, supportedAgreement } from "./quality.ts";

describe("the agreement that samples support", () => {
  it("is their mean where they are alike, less where they differ, and never above the mean or below the least", () => {
    expect(supportedAgreement([0.99, 0.99, 0.99])).toBeCloseTo(0.99, 12);
    // Mean 0.98, standard error 0.005774, Student's point 2.92.
    expect(supportedAgreement([0.97, 0.98, 0.99])).toBe(0.97);
    expect(supportedAgreement([0.9, 1, 1, 1, 1, 1, 1, 1])).toBeCloseTo(0.9638, 3);
    expect(supportedAgreement([0.9, 1])).toBe(0.9);
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 1, maxLength: 12 }),
        (list) => {
          const mean = list.reduce((sum, one) => sum + one, 0) / list.length;
          expect(supportedAgreement(list)).toBeLessThanOrEqual(mean + 1e-12);
          expect(supportedAgreement(list)).toBeGreaterThanOrEqual(Math.min(...list));
        },
      ),
    );
  });
});

describe("the search for a quality", () => {
  /** Sample `s` is answered as wanted from quality `needs[s]` on. */
  const ladder = (needs: readonly number[], qualities = 11) => {
    const asked = new Set<string>();
    return {
      asked,
      search: {
        qualities,
        wanted: 0.99,
        samples: needs.length,
        agreementAt: async (quality: number, sample: number) => {
          asked.add(`${quality} ${sample}`);
          return quality >= (needs[sample] ?? 0) ? 1 : 0.5;
        },
      },
    };
  };

  it("finds the coarsest quality that holds for all samples, chosen on some and confirmed by the others", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 0, max: 11 }), { minLength: 1, maxLength: 8 }),
        async (needs) => {
          const { search } = ladder(needs);
          const found = await searchQuality(search);
          const right = Math.max(...needs);
          expect(found).toEqual(right > 10 ? undefined : { quality: right, agreementRatio: 1 });
        },
      ),
    );
  });

  it("checks few qualities if samples agree on one", async () => {
    const { search, asked } = ladder([4, 4, 4, 4]);
    await searchQuality(search);
    expect(new Set([...asked].map((one) => one.split(" ")[0])).size).toBeLessThanOrEqual(4);
  });

  it("accepts no quality that the held-out samples do not confirm", async () => {
    const agreements = [0.999, 0.985, 0.999, 0.985];
    const found = await searchQuality({
      qualities: 3,
      wanted: 0.99,
      samples: 4,
      agreementAt: async (_quality, sample) => agreements[sample] ?? 0,
    });
    expect(found).toBeUndefined();
  });
});
