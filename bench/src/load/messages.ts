/** One kind of request that a phase sends, and how often. */
export interface Stream {
  readonly name: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Length of the JSON before the binary tensor, and the size of the whole body. */
  readonly json: string;
  readonly tensorBytes: number;
  /** Instants of arrival in milliseconds from the begin of the phase. */
  readonly arrivals: readonly number[];
  /** An answer after this is worthless; also what the request tells the server. */
  readonly deadlineMs: number;
  /** Bytes that a right answer ends with, as base64. */
  readonly expected: string;
}

/** The messages to the generator. */
export type ToGenerator =
  | { readonly kind: "phase"; readonly port: number; readonly streams: readonly Stream[] }
  | { readonly kind: "end" };

/** The outcome of the requests of a stream, in the order of arrival. Times in milliseconds. */
export interface StreamResult {
  readonly name: string;
  /** 200 and right, -1 for 200 and wrong, 503 refused at admission, 1 admitted and not done, 0 for a broken connection. */
  readonly statuses: readonly number[];
  /** From the planned arrival to the whole reply. */
  readonly latencyMs: readonly number[];
  /** From the first byte sent to the whole reply. */
  readonly serverMs: readonly number[];
  /** The time of the run, if the stream requested `longshore-account: timing` and the server reported it. */
  readonly runMs: readonly (number | null)[];
}

/** The result of a phase. */
export interface PhaseResult {
  readonly streams: readonly StreamResult[];
  readonly tookMs: number;
  /** Of one core. */
  readonly cpuRatio: number;
  /** How late the generator itself sent: the 99th percentile. */
  readonly lagMs: number;
  readonly connections: number;
}

export type FromGenerator =
  | { readonly kind: "ready" }
  | { readonly kind: "result"; readonly result: PhaseResult };
