import { createHash } from "node:crypto";
import { mkdir, readFile } from "node:fs/promises";
import { cpus } from "node:os";
import { join } from "node:path";
import { type BatchVerdicts, parseVerdict } from "@longshore/engine";
import { replaceFile } from "../file/index.ts";

/** Longest file that is read as a verdict. */
const mostBytes = 4096;

/**
 * Verdicts on batching as small files in a folder, one for each model content, runtime and kind of processor. An unreadable
 * file counts as absent. A verdict that cannot be written is not kept, and the next start tries again.
 *
 * @example
 * ```ts
 * import { mkdtemp } from "node:fs/promises";
 * import { verdictFolder } from "@longshore/nodejs";
 *
 * const verdicts = verdictFolder(await mkdtemp("/tmp/longshore-cache-"));
 * await verdicts.write("sha256:ab native 1.23.0 cpu", { maxRows: 32, because: "equal answers, and it pays" });
 * console.log((await verdicts.read("sha256:ab native 1.23.0 cpu"))?.maxRows); // 32
 * ```
 */
export function verdictFolder(folder: string): BatchVerdicts {
  // Kernels differ by processor, and with them rounding and what pays.
  const machine = `${process.arch} ${cpus()[0]?.model ?? ""}`;
  const fileOf = (key: string): string =>
    join(folder, `${createHash("sha256").update(`${key}\n${machine}`).digest("hex").slice(0, 40)}.json`);
  return {
    async read(key) {
      try {
        const text = await readFile(fileOf(key), "utf8");
        if (text.length > mostBytes) return undefined;
        const value: unknown = JSON.parse(text);
        const named = typeof value === "object" && value !== null && "key" in value && value.key === key;
        return named ? parseVerdict(value) : undefined;
      } catch {
        return undefined;
      }
    },
    async write(key, verdict) {
      try {
        await mkdir(folder, { recursive: true, mode: 0o700 });
        await replaceFile(fileOf(key), `${JSON.stringify({ key, machine, ...verdict })}\n`);
      } catch {
        // A folder that cannot be written, as in a read-only container: the verdict holds until the server ends.
      }
    },
  };
}
