/** The runs that the steps of a request come to: which follow each other, and which go on side by side. */
import type { StepWork } from "./service.ts";

/** One run of a step. */
export interface StepRun {
  readonly graph: string | undefined;
  /** 0..1 of the work of the request. */
  readonly ratio: number;
  /** Whether its step begins with it, for these elements. */
  readonly first: boolean;
}

/** A sequence of parts: each part has groups that run side by side, of runs that follow each other. */
export type StepParts = readonly (readonly (readonly StepRun[])[])[];

/** Groups of elements of a request that an engine works on side by side. */
export const groupsUnderWay = 2;

/** The parts of a request. */
export function stepPartsOf(steps: readonly StepWork[]): StepParts {
  const parts: StepWork[][] = [];
  for (const step of steps) {
    const last = parts.at(-1)?.[0];
    const joins = step.together !== undefined && step.together === last?.together && step.runs === last.runs;
    if (joins) parts.at(-1)?.push(step);
    else parts.push([step]);
  }
  return parts.map(groupsOf);
}

function groupsOf(part: readonly StepWork[]): StepParts[number] {
  const { runs = 1, together = runs } = part[0] ?? {};
  return Array.from({ length: Math.ceil(runs / together) }, (_, index) => {
    const elements = Math.min(together, runs - index * together);
    return part.flatMap((step) => {
      // A thread takes the transforms of all elements of a group at once.
      const count = step.graph === undefined ? 1 : elements;
      const ratio = (step.ratio * elements) / runs / count;
      return Array.from({ length: count }, (_, at) => ({ graph: step.graph, ratio, first: at === 0 }));
    });
  });
}

/**
 * The time of a request alone on the endpoint, over its work: less than 1 if groups run side by side, each graph for one of
 * them at a time.
 */
export function aloneRatio(parts: StepParts, cores: number): number {
  const freeAt = new Map<string | undefined, number>();
  let passed = 0;
  for (const groups of parts) {
    const left = [...groups];
    const underWay = left.splice(0, groupsUnderWay).map((group) => ({ at: passed, runs: [...group] }));
    for (;;) {
      const next = underWay.toSorted((a, b) => a.at - b.at)[0];
      if (!next) break;
      const run = next.runs.shift();
      if (run) {
        next.at = Math.max(next.at, freeAt.get(run.graph) ?? 0) + run.ratio;
        freeAt.set(run.graph, next.at);
        passed = Math.max(passed, next.at);
        continue;
      }
      const group = left.shift();
      if (group) next.runs = [...group];
      else underWay.splice(underWay.indexOf(next), 1);
    }
  }
  return Math.max(passed, 1 / cores);
}
