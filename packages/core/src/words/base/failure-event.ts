import type { Call, TenantId } from "./call.ts";
import type { LongshoreError } from "./error.ts";
import type { LongshoreEvent } from "./events.ts";

/** What failed: the call, or another word for what was done; whose it is, where it is somebody's; what it asks for. */
export interface Failed {
  readonly id: Call["id"];
  readonly tenant?: TenantId | undefined;
  readonly model?: string | undefined;
}

/** What an observer is told of a failure. */
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
