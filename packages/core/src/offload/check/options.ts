import type { GoldenInputs } from "./golden.ts";

/** How answers of other endpoints are checked. */
export interface CheckOptions {
  /** Share of requests that are also run at a second endpoint; default 0.01. 0 leaves it at golden inputs. */
  readonly sampleRatio?: number;
  /** Second runs that may follow one another when an endpoint is suspected; default 8. */
  readonly burst?: number;
  /** Requests with more input are not run twice, in bytes; default 8 MiB: a copy is kept while the check runs. */
  readonly maxBytes?: number;
  /** Loads the golden inputs of a version, if it has any. Called once for each version in use. */
  readonly golden?: (model: string, version: string) => Promise<GoldenInputs | undefined>;
  /** Interval between golden inputs for an endpoint, in milliseconds; default 600,000. */
  readonly goldenEveryMs?: number;
  /** How long an endpoint may take over one, in milliseconds; default 10,000. */
  readonly patienceMs?: number;
  /** Right answers in a row that end a quarantine; default 3 of golden inputs and 10 of other endpoints' requests. */
  readonly readmitAfter?: number;
  /** Pause before a quarantined endpoint gets the next request, in milliseconds, doubled after each wrong answer; default 5,000. */
  readonly firstPauseMs?: number;
  /** The longest such pause, in milliseconds; default 300,000. */
  readonly longestPauseMs?: number;
}
