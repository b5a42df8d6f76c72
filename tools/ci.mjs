/**
 * Runs `npm test`, the end-to-end tests and the other checks one after another, counts what passed and failed, and says so in the last line.
 * A step that is not made of tests counts as one.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
let passed = 0;
let failed = 0;
/** The failed parts, printed again at the end, where they are easy to find. */
const broken = [];

function run(name, command, args) {
  console.log(`\n== ${name}`);
  const started = performance.now();
  const result = spawnSync(command, args, { cwd: root, stdio: ["ignore", "inherit", "inherit"] });
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  console.log(
    `== ${name}: ${result.status === 0 ? "ok" : `FAILED (${result.status ?? result.signal})`} in ${seconds} s`,
  );
  return result.status === 0;
}

function count(name, ok) {
  if (ok) passed++;
  else {
    failed++;
    broken.push(name);
  }
}

function step(name, command, args) {
  count(name, run(name, command, args));
}

function countTests({ numPassedTests, numFailedTests, testResults }) {
  passed += numPassedTests;
  failed += numFailedTests;
  for (const { name, message, assertionResults } of testResults) {
    const file = relative(root, name);
    const wrong = assertionResults.filter(({ status }) => status === "failed");
    for (const { fullName, failureMessages } of wrong)
      broken.push(`${file}: ${fullName}\n${failureMessages.join("\n").slice(0, 1500)}`);
    if (message && wrong.length === 0) broken.push(`${file}: ${message}`);
  }
}

/** Runs one of the scripts that run tests, and counts its tests. */
function tests(script) {
  const report = join(mkdtempSync(join(tmpdir(), "longshore-ci-")), "tests.json");
  const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${report}`];
  const ok = run(`npm run ${script}`, "npm", ["run", script, "--", ...reporters]);
  if (existsSync(report)) {
    const totals = JSON.parse(readFileSync(report, "utf8"));
    countTests(totals);
    if (!ok && totals.numFailedTests === 0) count(`npm run ${script}`, false);
  } else {
    count(`npm run ${script}`, ok);
  }
  rmSync(dirname(report), { recursive: true });
}

tests("test");
tests("test:e2e");
step("types of the tests", "npx", ["tsc", "-p", "tsconfig.tests.json"]);
step("types of the tools", "npx", ["tsc", "-p", "tsconfig.tools.json"]);
step("lint", "npx", ["oxlint", "--type-aware", "--deny-warnings", "."]);
step("format", "npx", ["oxfmt", "--check", "."]);
step("unused code", "npx", ["knip"]);
step("packages", process.execPath, ["tools/check-packages.mjs"]);
if (existsSync(join(root, "tools", "check-all.mjs")))
  step("check:all", process.execPath, ["tools/check-all.mjs"]);

for (const one of broken) console.log(`\nFAILED ${one}`);
console.log(`\n${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
