import { expect, it } from "vitest";
import { addedRatio } from "./added-ratio.ts";

const draw = (): number => 0.5;

it("gives the quotient of what two proxies add, if the other adds more than the noise", () => {
  const found = addedRatio(
    { direct: [10, 11, 10, 11], ours: [16, 17, 16, 17], theirs: [12, 13, 12, 13] },
    draw,
  );
  expect(found).toMatchObject({ ratio: 3, theirsMs: 2, noiseMs: 1 });
});

it.each([
  ["less than nothing", [9.9, 9.9, 9.9]],
  ["nothing", [10, 10, 10]],
])("gives no quotient if the other adds %s", (_, theirs) => {
  const found = addedRatio({ direct: [10, 10, 10], ours: [20, 20, 20], theirs }, draw);
  expect(found.ratio).toBeUndefined();
  expect(found.whole.median).toBeGreaterThanOrEqual(2);
});

it("gives no quotient if the other adds less than the server's own times differ", () => {
  const found = addedRatio({ direct: [10, 14, 18], ours: [30, 30, 30], theirs: [11, 15, 19] }, draw);
  expect(found).toMatchObject({ ratio: undefined, theirsMs: 1, noiseMs: 4 });
  expect(found.whole).toMatchObject({ median: 2 });
});
