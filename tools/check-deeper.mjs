/**
 * Runs what `npm test` does too little of or leaves out, for its length: the property test of the planner of splits on 2,000 graphs,
 * the restart of a whole fleet, and messages of more than 1 GiB. Counts like the other parts.
 */
import { spawnSync } from "node:child_process";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const { stdout, status } = spawnSync(
  process.execPath,
  [
    join(root, "node_modules", "vitest", "vitest.mjs"),
    "run",
    "--reporter=json",
    "packages/graph/src/partition/plan-split.test.ts",
    "packages/longshore/src/command/restart.e2e.test.ts",
    "packages/longshore/src/command/large-message.test.ts",
  ],
  {
    cwd: root,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
    env: {
      ...process.env,
      LONGSHORE_TESTS: "all",
      LONGSHORE_RANDOM_GRAPHS: "2000",
      LONGSHORE_COST_WORLDS: "20",
      LONGSHORE_WHOLE_FLEET: "1",
      LONGSHORE_LARGE_MESSAGES: "1",
    },
    maxBuffer: 2 ** 26,
  },
);
const report = JSON.parse(stdout.slice(stdout.indexOf("{")));
for (const { name, status: state, message: why, assertionResults } of report.testResults) {
  if (state === "failed" && assertionResults.length === 0) console.log(`  failed  ${name}: ${why}`);
  for (const { fullName, failureMessages } of assertionResults) {
    for (const message of failureMessages) console.log(`  failed  ${fullName}: ${message}`);
  }
}
console.log(`${report.numPassedTests} passed, ${report.numFailedTests} failed`);
process.exit(status ?? 1);
