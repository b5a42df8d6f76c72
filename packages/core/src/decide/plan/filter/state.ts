import type { EndpointId } from "../../../words/base/index.ts";
import type { EndpointInfo } from "../../../wire/endpoint/index.ts";
import type { PlannedSequence } from "../request.ts";

/**
 * Removes endpoints where a sequence cannot continue: those without state, and from the second step on those that neither hold the state
 * nor can take the copy from here.
 */
export function stateRemoves(
  sequence: PlannedSequence | undefined,
  endpoint: EndpointId,
  keeps: EndpointInfo["state"],
): boolean {
  if (!sequence) return false;
  if (sequence.resident === endpoint) return false;
  if (keeps === "none") return true;
  if (sequence.step === 0) return false;
  return !(sequence.carried && keeps === "movable");
}

/** The sentence for `lost`. */
export function stateDetail(sequence: PlannedSequence | undefined, keeps: EndpointInfo["state"]): string {
  if (keeps === "none") return "it keeps no state of sequences";
  return sequence?.carried === true
    ? "it cannot take state that was made elsewhere"
    : `the state is at ${sequence?.resident ?? "no endpoint that answers"} and cannot be moved`;
}
