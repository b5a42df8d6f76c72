import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { getPriority, tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { writeDouble } from "../../test/models.ts";
import { killAll, listening } from "../../test/processes.ts";

let folder: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "longshore-nice-"));
  await writeDouble(folder);
});
afterAll(() => rmSync(folder, { recursive: true }));
afterEach(killAll);

/** How nice the threads of a process are, its first one and the others. */
function nicenessOf(pid: number): { readonly first: number; readonly others: readonly number[] } {
  const others = readdirSync(`/proc/${pid}/task`).flatMap((name) => {
    try {
      return Number(name) === pid ? [] : [getPriority(Number(name))];
    } catch {
      // It has ended since it was listed.
      return [];
    }
  });
  return { first: getPriority(pid), others };
}

describe.runIf(process.platform === "linux")("threads of `longshore serve`", () => {
  it.each([
    ["let the one that answers have the cores first, Node.js' own, too", [], 5],
    ["are all alike where that is asked for", ["--worker-niceness", "0"], 0],
  ])("%s", async (_what, options, niceness) => {
    const { pid } = await listening("serve", folder, "--port", "0", ...options);
    const own = getPriority();
    // A thread that has just started yields with the first that it does.
    await expect
      .poll(() => new Set(nicenessOf(pid).others), { timeout: 60_000 })
      .toEqual(new Set([own + niceness]));
    expect(nicenessOf(pid).first).toBe(own);
  });
});
