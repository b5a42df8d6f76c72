import { basename } from "node:path";
import { expect, it } from "vitest";
import { plantedBugs } from "./planted-bugs.ts";
import { fileWith, sourceFiles } from "./source-files.ts";

const { code, tests } = sourceFiles();
const names = new Set(tests.map((path) => basename(path)));

it("there are planted bugs enough, each with a name of its own", () => {
  expect(plantedBugs.length).toBeGreaterThanOrEqual(30);
  expect(new Set(plantedBugs.map(({ name }) => name)).size).toBe(plantedBugs.length);
});

it("the text that each replaces stands in exactly one file, and the tests that could find it are there", () => {
  const applies = plantedBugs.filter(
    ({ search, replace, tests: wanted }) =>
      replace !== search && fileWith(search, code) && wanted.every((name) => names.has(name)),
  );
  const stale = plantedBugs.filter((bug) => !applies.includes(bug)).map(({ name }) => name);
  // A few may be stale after a change that moved their text: `npm run faults -- --planted` fails for each of them.
  expect(stale.length, stale.join(", ")).toBeLessThanOrEqual(plantedBugs.length - 30);
});
