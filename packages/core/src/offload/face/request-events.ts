import { LongshoreError, type Reason } from "../../words/base/index.ts";
import type { Loop } from "../race/index.ts";

/** Records the start of one request and, once, its end. */
export interface RequestEvents {
  /** The request has a call with that ID. */
  accepted(callId: string): void;
  /** Returns the time since the request was made, in milliseconds. Only the first end is recorded. */
  ended(outcome: "answered" | Reason): number;
  /** Records the failure and returns it as a `LongshoreError`. */
  failed(thrown: unknown): LongshoreError;
}

/** Starts the clock of one request for `model`. */
export function requestEvents({ clock, parts }: Loop, model: string): RequestEvents {
  const startedMs = clock.nowMs();
  let callId = "";
  let isOver = false;
  const ended: RequestEvents["ended"] = (outcome) => {
    const nowMs = clock.nowMs();
    const tookMs = nowMs - startedMs;
    if (!isOver)
      parts.observer.record({ kind: "request-ended", atMs: nowMs, callId, model, tookMs, outcome });
    isOver = true;
    return tookMs;
  };
  return {
    accepted(id) {
      callId = id;
      parts.observer.record({ kind: "request-accepted", atMs: startedMs, callId, model });
    },
    ended,
    failed(thrown) {
      const error = LongshoreError.from(thrown, "plan", `inference of ${model}`);
      ended(error.reason);
      return error;
    },
  };
}
