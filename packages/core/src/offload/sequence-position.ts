import type { EndpointInfo, SequencePosition } from "../endpoint/index.ts";
import type { Leg } from "../plan/index.ts";
import type { JobSequence } from "./job.ts";

/**
 * What a leg tells its place of the sequence: the copy of the state where the plan says that it is carried, and the wish
 * to get it back only from places that let it go.
 */
export function sequencePosition(
  sequence: JobSequence | undefined,
  leg: Leg,
  keeps: EndpointInfo["state"],
): { readonly sequence?: SequencePosition } {
  if (!sequence) return {};
  const { id, step, end, state, seal, wantState } = sequence;
  return {
    sequence: {
      id,
      step,
      end,
      wantState: wantState && keeps === "movable",
      ...(leg.state === "carried" && state ? { state, ...(seal === undefined ? {} : { seal }) } : {}),
    },
  };
}
