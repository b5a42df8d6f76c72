import { remote } from "./choices.ts";
import type { ReplayPolicy } from "./policy.ts";

/** Send first; run here when there is no answer after `timeoutMs`, as client SDKs with an order of endpoints do. */
export function orderedFallback(timeoutMs = 10_000): ReplayPolicy {
  return { name: "ordered fallback", arrived: () => remote(timeoutMs) };
}
