import type { Settled } from "./settled.ts";

/** The current settings of a running server. */
export interface LiveSettings {
  now(): Settled;
  /** Calls `listener` after each change. */
  follow(listener: (settled: Settled) => void): void;
}
