import { defineConfig } from "vitest/config";

const conditions = ["@longshore/source", "node", "import", "default"];

/** Their tests leave nothing behind and run in one process, one after another: to load the code anew takes longer than most of them. */
const together = ["core", "engine", "graph", "grpc", "lab", "server", "testkit"].map(
  (name) => `packages/${name}/src/**/*.test.ts`,
);

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    // What takes seconds on an idle machine takes a minute on one that is busy with something else.
    testTimeout: 180_000,
    hookTimeout: 180_000,
    pool: "forks",
    maxWorkers: 2,
    projects: [
      {
        extends: true,
        test: { name: "together", include: together, isolate: false },
      },
      {
        extends: true,
        test: {
          name: "apart",
          include: [
            "packages/*/src/**/*.test.ts",
            "adapters/*/src/**/*.test.ts",
            "samples/src/**/*.test.ts",
            "bench/src/**/*.test.ts",
            "tools/**/*.test.ts",
          ],
          exclude: ["**/node_modules/**", "**/dist/**", ...together],
        },
      },
    ],
  },
});
