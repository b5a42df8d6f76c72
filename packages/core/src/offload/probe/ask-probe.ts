import { type Clock, housekeepingCall, LongshoreError, withTime } from "../../words/base/index.ts";
import type { LoadReport } from "../../wire/endpoint/index.ts";
import type { EndpointState } from "../endpoints/index.ts";

/**
 * Sends an endpoint a probe of this many bytes and waits at most `mostMs`. Returns its load report, if it sends one. Throws `no-answer`
 * with the text `late` after that, and the reason of `abort` if it fires.
 */
export async function askProbe(
  clock: Clock,
  { endpoint }: EndpointState,
  bytes: number,
  abort: AbortSignal,
  { callId, mostMs, late }: { readonly callId: string; readonly mostMs: number; readonly late: string },
): Promise<LoadReport | undefined> {
  const base = housekeepingCall(callId, abort);
  using own = withTime(base, clock, mostMs, () => new LongshoreError("no-answer", "transport", late));
  return await endpoint.capabilities.probe?.(bytes, own.call);
}
