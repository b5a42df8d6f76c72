import type { EndpointId } from "./call.ts";
import type { Stage } from "./error.ts";
import type { Reason } from "./reasons.ts";

/**
 * Everything worth knowing that happens, as one closed union. Metrics, traces, logs, learning and the simulator's
 * invariants are all made from it. Events carry ids and plain figures only.
 */
export type LongshoreEvent =
  | {
      readonly kind: "request-accepted";
      readonly atMs: number;
      readonly callId: string;
      readonly model: string;
    }
  | {
      readonly kind: "request-ended";
      readonly atMs: number;
      readonly callId: string;
      readonly model: string;
      readonly tookMs: number;
      readonly outcome: "answered" | Reason;
    }
  | {
      readonly kind: "plan-made";
      readonly atMs: number;
      readonly callId: string;
      readonly model: string;
      readonly candidates: number;
      readonly endpoint: EndpointId;
      readonly cut: string;
      readonly predictedMs: number;
    }
  | {
      readonly kind: "leg-started";
      readonly atMs: number;
      readonly callId: string;
      readonly leg: string;
      readonly endpoint: EndpointId;
      readonly trigger: "begin" | "done" | "failed" | "late" | "unsure";
    }
  | {
      readonly kind: "leg-ended";
      readonly atMs: number;
      readonly callId: string;
      readonly leg: string;
      readonly endpoint: EndpointId;
      readonly tookMs: number;
      readonly outcome: "won" | "lost" | Reason;
    }
  | {
      readonly kind: "bytes-acknowledged";
      readonly atMs: number;
      readonly callId: string;
      readonly endpoint: EndpointId;
      readonly bytes: number;
    }
  | {
      readonly kind: "stage-ended";
      readonly atMs: number;
      readonly callId: string;
      readonly stage: "queue" | "transform" | "run" | "encode" | "decode" | "send" | "wait";
      readonly name: string;
      readonly tookMs: number;
    }
  | {
      readonly kind: "batch-run";
      readonly atMs: number;
      readonly model: string;
      readonly size: number;
      readonly tookMs: number;
    }
  | {
      readonly kind: "model-state";
      readonly atMs: number;
      readonly model: string;
      readonly version: string;
      readonly state: string;
    }
  | {
      readonly kind: "failure";
      readonly atMs: number;
      readonly callId: string;
      readonly stage: Stage;
      readonly reason: Reason;
      readonly message: string;
    };

/** Receives events. Must be quick and must not throw. */
export interface Observer {
  record(event: LongshoreEvent): void;
}

/** Records nothing. */
export const silentObserver: Observer = { record: () => undefined };

/** Passes each event to all of `observers`. */
export function observers(...all: readonly Observer[]): Observer {
  return { record: (event) => all.forEach((one) => one.record(event)) };
}
