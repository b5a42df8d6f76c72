import { existsSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { defineConfig } from "vitest/config";

/**
 * Tests run what is built and shipped: what they import of `src` is taken from `dist`, which Node.js loads itself. To transform
 * all of it takes longer than most tests, and calls between modules that Vite has loaded take longer, too.
 */
const built = {
  name: "built",
  enforce: "pre",
  resolveId(source: string, importer: string | undefined): string | undefined {
    if (!source.startsWith(".") || importer === undefined) return undefined;
    const file = resolve(dirname(importer), source);
    const script = file.replace(/\/src\/(.*)\.ts$/, "/dist/$1.js");
    return script !== file && existsSync(file) && existsSync(script) ? script : undefined;
  },
} as const;

// Some tests use ONNX Runtime directly. Its native build reports to its maker unless this is set before it loads.
process.env["ORT_DISABLE_TELEMETRY"] ||= "1";

// Servers in tests store their measurements here, and not in the user's cache.
process.env["XDG_CACHE_HOME"] = resolve("node_modules/.cache/tests");
// Beliefs about links that one test learns must not affect the next.
process.env["LONGSHORE_BELIEFS"] = "off";
// Servers start without a warm-up, except in tests that ask for one.
process.env["LONGSHORE_WARM_UP"] = "0";

// End-to-end tests start whole processes and fleets. `npm run test:e2e` runs them, and `npm test` does not.
const kinds = process.env["LONGSHORE_TESTS"] ?? "quick";
if (!["quick", "e2e", "all"].includes(kinds))
  throw new Error(`LONGSHORE_TESTS is ${kinds}, not quick, e2e or all`);
const endToEnd = "**/*.e2e.test.ts";

export default defineConfig({
  plugins: [built],
  test: {
    // Seconds on an idle machine are a minute on a busy one.
    testTimeout: 300_000,
    hookTimeout: 300_000,
    expect: { poll: { timeout: 60_000 } },
    setupFiles: ["tools/seed.mjs"],
    globalSetup: "tools/build-first.mjs",
    pool: "forks",
    maxWorkers: 2,
    // Tests clean up after themselves, and to load the code again for each file takes longer than most of them.
    isolate: false,
    server: { deps: { external: [/\/dist\/.*\.js$/] } },
    exclude: ["**/node_modules/**", ...(kinds === "quick" ? [endToEnd] : [])],
    include:
      kinds === "e2e"
        ? [endToEnd]
        : [
            "packages/*/src/**/*.test.ts",
            "adapters/*/src/**/*.test.ts",
            "samples/src/**/*.test.ts",
            "bench/src/**/*.test.ts",
            "examples/**/*.test.ts",
            "tools/**/*.test.ts",
          ],
  },
});
