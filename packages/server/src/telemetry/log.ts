import type { Clock } from "@longshore/core";

/** How bad, or how detailed, a line is. */
export type LogLevel = "error" | "warning" | "info" | "verbose";

/** The settings of the log, in the terms of Triton's logging extension. */
export interface LogSettings {
  readonly error: boolean;
  readonly warning: boolean;
  readonly info: boolean;
  /** 0 writes no verbose lines; from 1 on what happens inside each request is written, too. */
  readonly verboseLevel: number;
}

/** The fields of a line besides time and level. Never inputs, outputs or credentials. */
export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>;

/** A line before it is text, for exporters. */
export interface LogRecord {
  /** Milliseconds since the Unix epoch. */
  readonly wallMs: number;
  readonly level: LogLevel;
  readonly event: string;
  /** Texts are cut as in lines. */
  readonly fields: LogFields;
}

/** Structured logs: one JSON object a line. Levels can be changed while the server runs. */
export interface Log {
  settings(): LogSettings;
  change(change: Partial<LogSettings>): void;
  /** Whether a line of that level would be written: to save the work of making it. */
  writes(level: LogLevel): boolean;
  line(level: LogLevel, event: string, fields: LogFields): void;
}

/** The settings under which everything up to a level is written. */
export function settingsFor(level: LogLevel | "none"): LogSettings {
  const rank = ["none", "error", "warning", "info", "verbose"].indexOf(level);
  return { error: rank >= 1, warning: rank >= 2, info: rank >= 3, verboseLevel: rank >= 4 ? 1 : 0 };
}

/** The longest text in a line: messages quote what callers sent. */
const maxText = 2000;

/**
 * @param write Takes one line, without its line end. It is called while requests are served, so it must not wait.
 * @param level What is written at first. Default `info`.
 * @param take Takes the same lines as records and returns at once. Default: none does.
 */
export function createLog(
  clock: Clock,
  write: (line: string) => void,
  level: LogLevel | "none" = "info",
  take?: (record: LogRecord) => void,
): Log {
  let settings = settingsFor(level);
  const writes = (wanted: LogLevel): boolean =>
    wanted === "verbose" ? settings.verboseLevel > 0 : settings[wanted];
  return {
    settings: () => settings,
    change(change) {
      settings = { ...settings, ...change };
    },
    writes,
    line(wanted, event, fields) {
      if (!writes(wanted)) return;
      const wallMs = clock.wallMs();
      const cut: Record<string, string | number | boolean> = {};
      for (const [key, value] of Object.entries(fields)) {
        if (value !== undefined) cut[key] = typeof value === "string" ? value.slice(0, maxText) : value;
      }
      write(JSON.stringify({ time: new Date(wallMs).toISOString(), level: wanted, event, ...cut }));
      take?.({ wallMs, level: wanted, event, fields: cut });
    },
  };
}
