import { type Call, type Clock, LongshoreError } from "@longshore/core";
import { sleep } from "@longshore/core/internal";

/** How long requests wait for a first server. */
export interface HoldOptions {
  /** The longest wait, in milliseconds; a request never waits beyond its deadline. */
  readonly mostMs: number;
  /** The most requests that wait at a time; further ones are refused at once. Default 1,024. */
  readonly most?: number;
}

/** Between two looks for a server, in milliseconds. */
const againMs = 250;
const defaultMost = 1024;
/** No server has the model yet, or those that have it are starting. */
const passing: ReadonlySet<string> = new Set(["no-endpoint", "starting"]);

/**
 * Whether a model cannot be found now, and may be found when a server has come. A request that has waited also waits for a server that has come
 * and does not answer yet.
 */
export function isAwaited(thrown: unknown, waited: boolean): boolean {
  if (!LongshoreError.is(thrown) || thrown.stage !== "resolve") return false;
  return passing.has(thrown.reason) || (waited && thrown.reason === "unreachable");
}

/**
 * Lets requests with a deadline wait for the first server of their model, before their bodies are read: scale from zero. Requests without a
 * deadline are refused at once, so that their senders decide how long to retry.
 */
export class RequestHold {
  readonly #clock: Clock;
  readonly #mostMs: number;
  readonly #most: number;
  readonly #draining: () => boolean;
  #waiting = 0;

  constructor(clock: Clock, { mostMs, most = defaultMost }: HoldOptions, draining: () => boolean) {
    this.#clock = clock;
    this.#draining = draining;
    this.#mostMs = mostMs;
    this.#most = most;
  }

  /** Waits until another look is worth it. Throws `thrown` when the request should not wait any longer. */
  async again(call: Call, sinceMs: number, thrown: unknown): Promise<void> {
    const untilMs =
      call.deadlineMs === Infinity ? sinceMs : Math.min(call.deadlineMs, sinceMs + this.#mostMs);
    const leftMs = untilMs - this.#clock.nowMs();
    if (leftMs < againMs || this.#waiting >= this.#most || call.abort.aborted || this.#draining())
      throw thrown;
    this.#waiting++;
    try {
      await sleep(this.#clock, againMs);
    } finally {
      this.#waiting--;
    }
  }
}
