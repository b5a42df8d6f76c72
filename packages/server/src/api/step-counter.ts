import { LongshoreError, type SequenceParameters } from "@longshore/core";

/**
 * Counts the steps of sequences for clients that do not (Triton's know only start and end). Clients that count are
 * believed here: the endpoint refuses a wrong step.
 */
export interface StepCounter {
  /**
   * The step of a request. `key` binds it to tenant, model and version. Throws `sequence-unknown` for one that was never
   * started here, or so long ago that it was forgotten.
   */
  stepOf(key: string, position: SequenceParameters): number;
}

/** @param most Sequences that are remembered; the one that was used least recently goes first. Default 65,536. */
export function createStepCounter(most = 65_536): StepCounter {
  const next = new Map<string, number>();
  return {
    stepOf(key, { id, start, end, step }) {
      if (step !== undefined) return step;
      const own = `${key}/${id}`;
      const counted = start ? 0 : next.get(own);
      if (counted === undefined) {
        throw new LongshoreError(
          "sequence-unknown",
          "admission",
          "the sequence was not started here, or long ago",
        );
      }
      next.delete(own);
      if (!end) next.set(own, counted + 1);
      for (const oldest of next.keys()) {
        if (next.size <= most) break;
        next.delete(oldest);
      }
      return counted;
    },
  };
}
