/**
 * Runs `npm test` and the other checks one after another, counts what passed and failed, and says so in the last line.
 * A step that is not made of tests counts as one.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const report = join(mkdtempSync(join(tmpdir(), "longshore-ci-")), "tests.json");
let passed = 0;
let failed = 0;

function step(name, command, args) {
  console.log(`\n== ${name}`);
  const started = performance.now();
  const result = spawnSync(command, args, { cwd: root, stdio: ["ignore", "inherit", "inherit"] });
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  console.log(
    `== ${name}: ${result.status === 0 ? "ok" : `FAILED (${result.status ?? result.signal})`} in ${seconds} s`,
  );
  return result.status === 0;
}

const count = (ok) => (ok ? passed++ : failed++);

const testsOk = step("npm test", "npm", [
  "test",
  "--",
  "--reporter=default",
  "--reporter=json",
  `--outputFile.json=${report}`,
]);
if (existsSync(report)) {
  const totals = JSON.parse(readFileSync(report, "utf8"));
  passed += totals.numPassedTests;
  failed += totals.numFailedTests;
  if (!testsOk && totals.numFailedTests === 0) failed++;
  rmSync(dirname(report), { recursive: true });
} else {
  count(testsOk);
}
count(step("types of the tests", "npx", ["tsc", "-p", "tsconfig.tests.json"]));
count(step("lint", "npx", ["oxlint", "--type-aware", "--deny-warnings", "."]));
count(step("format", "npx", ["oxfmt", "--check", "."]));
count(step("unused code", "npx", ["knip"]));
count(step("packages", process.execPath, ["tools/check-packages.mjs"]));
if (existsSync(join(root, "tools", "check-all.mjs")))
  count(step("check:all", process.execPath, ["tools/check-all.mjs"]));

console.log(`\n${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
