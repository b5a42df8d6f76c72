import { expect, it } from "vitest";
import { readOutput, runPlanted } from "./run-planted.ts";

it("takes a seed that the simulator names as failed", () => {
  const output = "  failed  seed 7: liveness: request 3 failed (2 more; --replay 7)\n1 passed, 1 failed\n";
  expect(readOutput(output, false)).toEqual({
    how: "failed  seed 7: liveness: request 3 failed (2 more; --replay 7)",
  });
});

it("takes a test that vitest names as failed", () => {
  const output = " FAIL  packages/core/src/a.test.ts > sends once\nAssertionError: expected 2 to be 1\n";
  expect(readOutput(output, false).how).toBe("FAIL  packages/core/src/a.test.ts > sends once");
});

it("does not take a missing module for a bug that was found", () => {
  const bySimulator =
    "node:internal/modules/esm/resolve:283\nError [ERR_MODULE_NOT_FOUND]: Cannot find package 'x' imported from /a.js\n";
  expect(readOutput(bySimulator, false)).toEqual({
    broken: "Error [ERR_MODULE_NOT_FOUND]: Cannot find package 'x' imported from /a.js",
  });
  const byTests =
    " FAIL  packages/core/src/a.test.ts [ packages/core/src/a.test.ts ]\nError: Cannot find module './b.js'\n";
  expect(readOutput(byTests, false).how).toBeUndefined();
});

it("does not take a command that breaks without a failed seed or test for a bug that was found", () => {
  expect(readOutput("Out of memory\n", false)).toEqual({ broken: "Out of memory" });
  expect(readOutput("", false)).toEqual({ broken: "it said nothing" });
  expect(readOutput("FAIL  packages/core/src/a.test.ts\n", false).how).toBeUndefined();
});

it("finds nothing in a command that ended well", () => {
  expect(readOutput("300 passed, 0 failed\n", true)).toEqual({});
});

it("refuses names that no planted bug has, before it runs anything", async () => {
  await expect(runPlanted({ seeds: 1, names: ["telemetry-on", "no-such-bug"] })).rejects.toMatchObject({
    reason: "invalid-configuration",
    message: expect.stringContaining(
      "no planted bug is named no-such-bug; known are zone-by-letters",
    ) as string,
  });
});
