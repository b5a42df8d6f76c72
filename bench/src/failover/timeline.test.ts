import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { latestLogged, latestSeen } from "./timeline.ts";

const leg = { leg: "remote", endpoint: "a" };
const began = { ...leg, trigger: "begin", expectedMs: 3 } as const;
const late = { ...leg, because: "silent", tookMs: 40, begun: true } as const;
const ended = { ...leg, outcome: "lost", tookMs: 50 } as const;
const lines = [
  "    0 remote begins at a (begin), 3 ms are expected",
  "   40 remote at a is silent after 40 ms: another endpoint gets the request",
  "   50 remote at a ends after 50 ms: lost",
];

describe("the latest request", () => {
  it("of a library is described by its events, since the beginning", () => {
    const seen = latestSeen();
    const request = (callId: string, model: string, atMs: number, tookMs: number): void => {
      const endMs = atMs + tookMs;
      seen.record({ kind: "request-accepted", atMs, callId, model });
      seen.record({ kind: "leg-started", atMs, callId, ...began });
      seen.record({ kind: "leg-late", atMs: atMs + 40, callId, ...late });
      seen.record({ kind: "leg-ended", atMs: atMs + 50, callId, ...ended });
      seen.record({ kind: "request-ended", atMs: endMs, callId, model, tookMs, outcome: "answered" });
    };
    request("1", "mean", 0, 500);
    seen.begin();
    expect(seen.latest()).toBeUndefined();
    request("2", "total", 1000, 300);
    request("3", "mean", 1000, 60);
    request("4", "mean", 2000, 55);
    expect(seen.latest()).toEqual({ tookMs: 60, lines });
  });

  it("of a gateway is described by its log, in which a full disk has cut lines short", () => {
    const folder = mkdtempSync(join(tmpdir(), "longshore-timeline-"));
    try {
      const path = join(folder, "log");
      const line = (atMs: number, event: string, fields: object, request = "1"): string =>
        JSON.stringify({ time: new Date(1e12 + atMs).toISOString(), event, request, ...fields });
      const before = `${line(0, "inference", { model: "mean", tookMs: 500 })}\n`;
      writeFileSync(path, before);
      const logged = latestLogged(path);
      logged.begin();
      const log = [
        line(0, "leg", began),
        `{"time":"2001-09${line(20, "stage", {})}`,
        line(40, "leg late", late),
        line(50, "leg ended", ended),
        line(60, "inference", { model: "mean", tookMs: 60 }),
        line(900, "inference", { model: "mean", tookMs: 30 }, "2"),
      ];
      writeFileSync(path, before + log.join("\n"));
      expect(logged.latest()).toEqual({ tookMs: 60, lines });
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
