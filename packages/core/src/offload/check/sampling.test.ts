import { doubleEndpoint, manualClock } from "@longshore/testkit";
import { expect, it } from "vitest";
import { seededRandom } from "../../words/base/index.ts";
import { followEndpoint } from "../endpoints/index.ts";
import { sampling } from "./sampling.ts";

const endpoint = () =>
  followEndpoint(doubleEndpoint([]), undefined, manualClock(), seededRandom(1), undefined);

it.each([0.01, 0.05, 0.3, 1])(
  "looks at a share of %d of an endpoint's answers, and never leaves it alone for long",
  (ratio) => {
    const samples = sampling(seededRandom(5));
    const one = endpoint();
    let looked = 0;
    let alone = 0;
    let longest = 0;
    let waits = 0;
    const count = 20_000;
    for (let at = 0; at < count; at++) {
      const wanted = samples.wants(one, ratio);
      looked += wanted ? 1 : 0;
      alone = wanted ? 0 : alone + 1;
      longest = Math.max(longest, alone);
      waits += alone;
    }
    expect(looked / count).toBeCloseTo(ratio, 2);
    expect(longest).toBeLessThanOrEqual(2 / ratio);
    // Wrong answers of an endpoint until the first check of it. With independent draws it would be 1 / ratio.
    expect(waits / count).toBeLessThanOrEqual(0.65 / ratio);
  },
);

it("looks at each endpoint for itself, and counts what it gave since it was right", () => {
  const samples = sampling(seededRandom(5));
  const [busy, rare] = [endpoint(), endpoint()];
  let looked = 0;
  for (let at = 0; at < 2000; at++) {
    samples.wants(busy, 0.05);
    samples.gave(busy);
    if (at % 20 === 0 && samples.wants(rare, 0.05)) looked++;
  }
  expect(looked).toBeGreaterThanOrEqual(4);
  expect(looked).toBeLessThanOrEqual(6);
  expect(samples.unseen(busy)).toBe(2000);
  samples.right(busy);
  expect(samples.unseen(busy)).toBe(0);
});
