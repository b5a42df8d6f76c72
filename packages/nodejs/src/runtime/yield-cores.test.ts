import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import os from "node:os";
import { afterEach, describe, expect, it, vi } from "vitest";
import { yieldToFirst } from "./yield-cores.ts";

afterEach(() => {
  vi.restoreAllMocks();
  syncBuiltinESMExports();
});

describe.runIf(process.platform === "linux")(
  "threads that let the first one have the cores before them",
  () => {
    it("are all others that are still there, but for those that yield as much already", () => {
      const { pid } = process;
      const niceness: Record<number, number> = { [pid]: 2, 8: 2, 9: 11 };
      const listed: unknown = ["7", String(pid), "8", "9"];
      // One of several forms of its answer, the only one that is used.
      vi.spyOn(fs, "readdirSync").mockReturnValue(listed as fs.Dirent<Buffer<ArrayBuffer>>[]);
      vi.spyOn(os, "getPriority").mockImplementation((thread = 0) => {
        const found = niceness[thread];
        if (found === undefined) throw new Error("no such process");
        return found;
      });
      const set = vi.spyOn(os, "setPriority").mockReturnValue();
      syncBuiltinESMExports();
      yieldToFirst({ niceness: 5 });
      expect(set.mock.calls).toEqual([[8, 7]]);
    });
  },
);
