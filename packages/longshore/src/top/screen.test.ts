import { describe, expect, it } from "vitest";
import type { Figures } from "./figures.ts";
import { type ScreenOptions, screenLines } from "./screen.ts";

const rows = (count: number): readonly number[] => Array.from({ length: count }, (_, index) => index);

const figures: Figures = {
  seconds: 2,
  server: "longshore 0.1.0",
  isReady: true,
  answered: 12.5,
  failed: 0.5,
  micros: 1234.5,
  joules: 3,
  inFlight: 7,
  waitMs: 12,
  busyRatio: 0.5,
  memoryBytes: 120e6,
  loopDelayMs: 3,
  directory: { entries: 3, ageMs: 900 },
  tenants: rows(40).map((at) => ({ name: `tenant-${at}`, answered: at, failed: 0, micros: 100 - at })),
  models: [
    {
      name: "a-model-with-a-name-that-is-longer-than-most-of-them-are",
      version: "1",
      answered: 9.8,
      failed: 0,
      p50Ms: 12,
      p99Ms: 1400,
      queueMs: 3,
      waiting: 5,
      rows: 2.5,
    },
  ],
  endpoints: [{ name: "edge-1", won: 9, lost: 1, failed: 0, p50Ms: 4, p99Ms: NaN, micros: 0.001 }],
  failures: [{ reason: "queue-full", stage: "admission", count: 0.5 }],
};

const shown = (more: Partial<ScreenOptions> = {}, of: Figures = figures): readonly string[] =>
  screenLines(of, { columns: 80, order: "rate", note: "", address: "http://10.0.0.2:8000", ...more }).map(
    ({ text }) => text,
  );

describe("the screen", () => {
  it.each([40, 60, 80, 120])("fits %d columns and 24 lines, with the heads of all tables", (columns) => {
    const lines = shown({ columns, rows: 24 });
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(columns);
    expect(lines.length).toBeLessThanOrEqual(24);
    for (const title of ["WHO ASKS", "MODELS", "WHERE IT GOES", "FAILURES"]) expect(lines).toContain(title);
    expect(lines.join("\n")).toMatch(/\.\.\. \d+ more/);
  });

  it("has more columns where there is room", () => {
    const heads = (columns: number): string =>
      shown({ columns })[shown({ columns }).indexOf("MODELS") + 1] ?? "";
    expect(heads(40)).not.toContain("rows/run");
    expect(heads(120)).toMatch(/version +answered\/s +failed\/s +p50 +p99 +in queue +waiting +rows\/run/);
  });

  it("sorts by rate, cost or name", () => {
    const first = (order: ScreenOptions["order"]): string =>
      /tenant-\d+/.exec(shown({ order }).join("\n"))?.[0] ?? "";
    expect([first("rate"), first("cost"), first("name")]).toEqual(["tenant-39", "tenant-0", "tenant-0"]);
  });

  it("says that a server is not ready, and why the last look failed", () => {
    const lines = shown({ problem: "connection refused" }, { ...figures, isReady: false });
    expect(lines.slice(0, 2)).toEqual([
      "longshore 0.1.0  http://10.0.0.2:8000  NOT READY",
      "NO ANSWER: connection refused",
    ]);
  });

  it("shows names with control characters as text", () => {
    const tenants = [{ name: "\u001b[2Jgone\u202e", answered: 1, failed: 0, micros: 0 }];
    const text = shown({}, { ...figures, tenants }).join("\n");
    expect(text).toContain("?[2Jgone?");
    for (const control of ["\u001b", "\u202e"]) expect(text).not.toContain(control);
  });
});
