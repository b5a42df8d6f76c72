import { LongshoreError } from "@longshore/core";

/** A terminal that a command draws on and takes keys from. */
export interface Terminal {
  size(): { readonly columns: number; readonly rows: number };
  write(text: string): void;
  /** Calls `listener` for each key, without echo, until it is disposed of. Ctrl-C is a key then (`\u0003`). */
  onKey(listener: (key: string) => void): Disposable;
  onResize(listener: () => void): Disposable;
}

/** Where a command reads from and writes to, so that tests can run it in process. */
export interface CommandIo {
  /** Results: the output that a script reads. */
  out(text: string): void;
  /** Progress, notes and errors: the output that a person reads. */
  note(text: string): void;
  /**
   * The same for the log and events that a server writes for as long as it runs: lines are left out when their reader is too
   * late. Default: all are written.
   */
  readonly running?: Pick<CommandIo, "out" | "note">;
  /** Overwrites the current line on a terminal; elsewhere it prints nothing. */
  progress(text: string): void;
  /** Standard output if it is a terminal. Default: none. */
  readonly terminal?: Terminal;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Fires on SIGINT and SIGTERM. */
  readonly stop: AbortSignal;
  /** Calls `listener` on SIGHUP, which then does not end the process, until it is disposed of. Default: nothing comes. */
  onReload?(listener: () => void): Disposable;
  /** Ends the process at once, even if work runs in it. Default: the caller of the command ends it. */
  end?(): void;
}

/** When the command is to stop. */
export function stopped({ stop }: CommandIo): Promise<void> {
  return new Promise((resolve) => {
    if (stop.aborted) resolve();
    else stop.addEventListener("abort", () => resolve(), { once: true });
  });
}

/** Notes of a server as lines of its log, which holds nothing but JSON. */
export function logged(io: CommandIo): (text: string) => void {
  return (message) =>
    io.note(JSON.stringify({ time: new Date().toISOString(), level: "warning", event: "note", message }));
}

/** How a command ended: 0 done, 1 the work failed or the answer is no, 2 wrong usage or input. */
export type ExitCode = 0 | 1 | 2;

/** Reasons that are the caller's to mend: exit code 2. */
const usageReasons = new Set([
  "invalid-input",
  "invalid-media",
  "body-mismatch",
  "unknown-model",
  "unknown-version",
  "unknown-variant",
  "unknown-cut",
  "invalid-model",
  "invalid-configuration",
  "port-taken",
]);

/** Says what failed in words, or as JSON, and picks the exit code. */
export function reportFailure(error: unknown, json: boolean, io: CommandIo): ExitCode {
  // Which files a command uses is said by its options.
  const known =
    error instanceof Error && "code" in error && "path" in error
      ? new LongshoreError("invalid-input", "resolve", error.message, { cause: error })
      : LongshoreError.from(error, "execute", "the command");
  if (json) {
    io.out(
      JSON.stringify({
        error: { reason: known.reason, code: known.code, stage: known.stage, message: known.message },
      }),
    );
  } else {
    io.note(`error (${known.reason}): ${known.message}`);
  }
  return usageReasons.has(known.reason) ? 2 : 1;
}

/** A number of milliseconds for people: `84 ms`, `1.2 s`. */
export function milliseconds(value: number): string {
  if (!Number.isFinite(value)) return "-";
  if (value < 10) return `${value.toFixed(2)} ms`;
  return value < 1000 ? `${value.toFixed(0)} ms` : `${(value / 1000).toFixed(value < 10_000 ? 2 : 1)} s`;
}

/** A number of bytes for people: `96 kB`. */
export function byteCount(value: number): string {
  if (!Number.isFinite(value)) return "-";
  if (value < 1000) return `${value.toFixed(0)} B`;
  return value < 1e6
    ? `${(value / 1000).toFixed(value < 10_000 ? 1 : 0)} kB`
    : `${(value / 1e6).toFixed(1)} MB`;
}

/** Columns aligned by width; numbers to the right when every cell of a column (but the head) begins with a digit or a sign. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((cell, column) =>
    Math.max(cell.length, ...rows.map((row) => (row[column] ?? "").length)),
  );
  const right = head.map(
    (_, column) => rows.length > 0 && rows.every((row) => /^[-+]?[\d.]|^-$|^$/.test(row[column] ?? "")),
  );
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, column) =>
        right[column] ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0),
      )
      .join("  ")
      .trimEnd();
  return [line(head), line(widths.map((width) => "-".repeat(width))), ...rows.map(line)].join("\n");
}
