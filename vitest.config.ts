import { defineConfig } from "vitest/config";

const conditions = ["@longshore/source", "node", "import", "default"];

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    // What takes seconds on an idle machine takes a minute on one that is busy with something else.
    testTimeout: 180_000,
    hookTimeout: 180_000,
    expect: { poll: { timeout: 20_000 } },
    pool: "forks",
    maxWorkers: 2,
    // Tests leave nothing behind, and to load the code anew for each file takes longer than most of them.
    isolate: false,
    include: [
      "packages/*/src/**/*.test.ts",
      "adapters/*/src/**/*.test.ts",
      "samples/src/**/*.test.ts",
      "bench/src/**/*.test.ts",
      "tools/**/*.test.ts",
    ],
  },
});
