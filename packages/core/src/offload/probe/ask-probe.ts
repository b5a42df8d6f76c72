import { type Clock, housekeepingCall, LongshoreError } from "../../words/base/index.ts";
import type { LoadReport } from "../../wire/endpoint/index.ts";
import type { EndpointState } from "../endpoints/index.ts";

/**
 * Sends an endpoint a probe of so many bytes, and waits `mostMs` at most; what it says of its load, if anything. Throws `no-answer` with
 * `late` in words after that, and what `control` is aborted with.
 */
export async function askProbe(
  clock: Clock,
  { endpoint }: EndpointState,
  bytes: number,
  control: AbortController,
  { callId, mostMs, late }: { readonly callId: string; readonly mostMs: number; readonly late: string },
): Promise<LoadReport | undefined> {
  const timer = clock.timer(mostMs, () => control.abort(new LongshoreError("no-answer", "transport", late)));
  try {
    const call = { ...housekeepingCall(callId, control.signal), deadlineMs: clock.nowMs() + mostMs };
    return await endpoint.capabilities?.probe?.(bytes, call);
  } finally {
    timer[Symbol.dispose]();
  }
}
