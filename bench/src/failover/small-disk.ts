import { execFileSync } from "node:child_process";
import { mkdtempSync, rmdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A disk of 16 MiB in memory. Undefined where this user may not have one. */
export function smallDisk(): ({ readonly folder: string } & Disposable) | undefined {
  const folder = mkdtempSync(join(tmpdir(), "longshore-disk-"));
  const dispose = (): void => {
    try {
      execFileSync("/usr/bin/umount", ["-l", folder], { stdio: "ignore" });
    } finally {
      rmdirSync(folder);
    }
  };
  try {
    execFileSync("/usr/bin/mount", ["-t", "tmpfs", "-o", "size=16m", "tmpfs", folder], { stdio: "ignore" });
  } catch {
    rmdirSync(folder);
    return undefined;
  }
  return { folder, [Symbol.dispose]: dispose };
}
