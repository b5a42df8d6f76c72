import { LongshoreError, type Reason, type Stage } from "@longshore/core";

/** `EFBIG`: the process, or the file system, may not have a file of this size. */
const full: ReadonlySet<string> = new Set(["ENOSPC", "EDQUOT", "EFBIG"]);
const failed: ReadonlySet<string> = new Set(["EROFS", "EACCES", "EPERM", "EIO"]);

/** The platform's code of an error, such as `ENOSPC`; empty where it has none. */
function systemCode(thrown: unknown): string {
  return thrown instanceof Error && !LongshoreError.is(thrown) && "code" in thrown ? String(thrown.code) : "";
}

/**
 * Whether an error says that something could not be written to the disk.
 *
 * @example
 * ```ts
 * import { isOfDisk } from "@longshore/nodejs";
 *
 * console.log(isOfDisk({ reason: "disk-full" }), isOfDisk({ reason: "unreachable" })); // true false
 * ```
 */
export function isOfDisk({ reason }: Pick<LongshoreError, "reason">): boolean {
  return reason === "disk-full" || reason === "disk-failed";
}

/**
 * Converts a disk error: `disk-full` if the disk is full, `disk-failed` if it cannot be written. Any other value is returned
 * unchanged.
 *
 * @param what Name for the message of the thing that could not be written; never a path.
 *
 * @example
 * ```ts
 * import { diskError } from "@longshore/nodejs";
 *
 * const full = Object.assign(new Error("no space left on device"), { code: "ENOSPC" });
 * console.log(`${diskError(full, "the cache of packages")}`); // LongshoreError: the cache of packages cannot be written: the disk is full (ENOSPC)
 * ```
 */
export function diskError(thrown: unknown, what: string, stage: Stage = "resolve"): unknown {
  const code = systemCode(thrown);
  const reason: Reason | undefined = full.has(code)
    ? "disk-full"
    : failed.has(code)
      ? "disk-failed"
      : undefined;
  if (!reason) return thrown;
  const why = reason === "disk-full" ? `the disk is full (${code})` : code;
  return new LongshoreError(reason, stage, `${what} cannot be written: ${why}`, { cause: thrown });
}
