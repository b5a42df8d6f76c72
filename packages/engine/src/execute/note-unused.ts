import type { Clock, Observer } from "@longshore/core";
import type { LoadedVersion } from "../repository/index.ts";

/** Tells the operator what the configuration of a version says without effect here, once it is served. */
export function noteUnused(
  { description, unused }: LoadedVersion,
  { observer, clock }: { readonly observer: Observer; readonly clock: Clock },
): void {
  if (unused.length === 0) return;
  const { name: model, version } = description;
  const settings = unused.join(", ");
  observer.record({ kind: "settings-unused", atMs: clock.nowMs(), model, version, settings });
}
