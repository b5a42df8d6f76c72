import { type CutId, rightToRun } from "../../../words/model/index.ts";

/**
 * Removes what the sender was not permitted where the request arrived: an endpoint that it is forwarded to grants no more than that. A
 * server without Longshore's extension receives no rights. What is sent there is this endpoint's own request.
 */
export function rightsRemove(
  rights: readonly string[] | undefined,
  from: CutId,
  to: CutId,
  understands: boolean,
): boolean {
  return rights !== undefined && understands && !rights.includes(rightToRun(from, to));
}

/** The sentence for `lost`. */
export function rightsDetail(from: CutId, to: CutId): string {
  return `the sender may not run ${from}..${to} elsewhere: that takes the right ${rightToRun(from, to)}`;
}
