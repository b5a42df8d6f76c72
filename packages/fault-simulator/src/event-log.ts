import { createHash } from "node:crypto";
import type { Clock } from "@longshore/core";

/** The events of a world, a line each. Two runs of one seed write the same bytes. */
export interface EventLog {
  write(text: string): void;
  readonly lines: readonly string[];
  /** SHA-256 of all lines, as hexadecimal digits. */
  digest(): string;
}

/** Starts empty. Each line begins with the virtual time in milliseconds. */
export function eventLog(clock: Pick<Clock, "nowMs">): EventLog {
  const lines: string[] = [];
  return {
    lines,
    write: (text) => void lines.push(`${clock.nowMs().toFixed(3)} ${text}`),
    digest: () => createHash("sha256").update(lines.join("\n")).digest("hex"),
  };
}
