import { type CutId, rightToRun } from "../../../words/model/index.ts";

/**
 * Removes segments that the sender may not run at the endpoint where the request arrived: forwarding grants no further rights. A server
 * without Longshore's extension receives no rights. A request to it is this endpoint's own.
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
