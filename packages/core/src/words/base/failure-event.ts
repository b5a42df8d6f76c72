import type { Call, TenantId } from "./call.ts";
import type { LongshoreError } from "./error.ts";
import type { LongshoreEvent } from "./events.ts";

/** The failed operation: the call or another word for it, its tenant if there is one, and the model. */
export interface Failed {
  readonly id: Call["id"];
  readonly tenant?: TenantId | undefined;
  readonly model?: string | undefined;
}

/** The event that an observer gets for a failure. */
export function failureEvent(
  { stage, reason, message }: Pick<LongshoreError, "stage" | "reason" | "message">,
  { id: callId, tenant, model }: Failed,
  atMs: number,
): LongshoreEvent {
  return {
    kind: "failure",
    atMs,
    callId,
    stage,
    reason,
    message,
    ...(tenant === undefined ? {} : { tenant }),
    ...(model === undefined ? {} : { model }),
  };
}
