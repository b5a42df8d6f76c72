import { local, remote } from "./choices.ts";
import type { ReplayPolicy } from "./policy.ts";

/** Everything on the device. */
export function allLocal(): ReplayPolicy {
  return { name: "all local", arrived: () => local };
}

/** Everything is sent, and waited for. */
export function allRemote(): ReplayPolicy {
  return { name: "all remote", arrived: () => remote() };
}
