import { type Call, type Cut, type CutId, endCut, LongshoreError, startCut } from "@longshore/core";
import { type ModelSource, type ModelStep, type Program, someNames } from "../repository/index.ts";

/**
 * A position in a program. `step` counts the steps that are wholly before it; with `inner` it lies inside the graph of that
 * step. `rank` orders positions.
 */
export interface Position {
  readonly id: CutId;
  readonly step: number;
  readonly inner?: Cut;
  readonly rank: number;
}

/** Cuts inside the graphs of steps, read once for each file. */
export interface InnerCuts {
  of(step: ModelStep, call: Call): Promise<readonly Cut[]>;
}

/** Remembers the cuts of at most `most` files. */
export function innerCuts(source: ModelSource, most = 64): InnerCuts {
  const known = new Map<string, Promise<readonly Cut[]>>();
  return {
    of(step, call) {
      const { file } = step.graph;
      const found = known.get(file.digest);
      if (found) return found;
      const read = source.cuts(file, call);
      known.set(file.digest, read);
      read.catch(() => known.delete(file.digest));
      const [oldest] = known.keys();
      if (known.size > most && oldest !== undefined) known.delete(oldest);
      return read;
    },
  };
}

/**
 * Whether a step's graph may be cut. Not when it runs for each element, and not when it keeps state: half a step's state
 * here and half there would be two sequences.
 */
function hasInnerCuts(step: Program["steps"][number] | undefined): step is ModelStep {
  return step?.kind === "model" && step.forEach === undefined && step.graph.states.length === 0;
}

/** All legal positions, in order. */
export async function positions(
  program: Program,
  inner: InnerCuts,
  call: Call,
): Promise<readonly Position[]> {
  const all: Position[] = [startPosition];
  for (const [index, step] of program.steps.entries()) {
    if (hasInnerCuts(step)) {
      const cuts = await inner.of(step, call);
      for (const [order, cut] of cuts.entries())
        all.push(innerPosition(program, step, index, cut, order, cuts.length));
    }
    if (!program.bare) all.push(afterStep(step.id, index));
  }
  return [...all, endPosition(program)];
}

/** The position that a cut id names. Throws `unknown-cut` that lists those there are. */
export async function positionOf(
  program: Program,
  id: CutId,
  inner: InnerCuts,
  call: Call,
): Promise<Position> {
  if (id === startCut) return startPosition;
  if (id === endCut) return endPosition(program);
  const index = program.steps.findIndex((step) => step.id === id);
  if (index >= 0 && !program.bare) return afterStep(id, index);
  const dot = id.lastIndexOf(".");
  const at = program.bare ? 0 : program.steps.findIndex((step) => step.id === id.slice(0, Math.max(0, dot)));
  const step = program.steps[at];
  if (hasInnerCuts(step)) {
    const cuts = await inner.of(step, call);
    const order = cuts.findIndex((cut) => cut.id === (program.bare ? id : id.slice(dot + 1)));
    const cut = cuts[order];
    if (cut) return innerPosition(program, step, at, cut, order, cuts.length);
  }
  const known = await positions(program, inner, call);
  throw new LongshoreError(
    "unknown-cut",
    "resolve",
    `there is no cut ${JSON.stringify(id.slice(0, 80))}; legal here: ${someNames(
      known.map((one) => one.id),
      40,
    )}`,
  );
}

const startPosition: Position = { id: startCut, step: 0, rank: 0 };

function endPosition(program: Program): Position {
  return { id: endCut, step: program.steps.length, rank: program.steps.length + 0.5 };
}

/** Those around steps whose models only other endpoints have, in order: where such a pipeline has to be cut. */
export function aroundElsewhere(program: Program): readonly Position[] {
  const ranks = new Set([0, program.steps.length + 0.5]);
  for (const [at, { kind }] of program.steps.entries()) {
    if (kind === "elsewhere") for (const rank of [at, at + 1]) ranks.add(rank);
  }
  return [...ranks]
    .sort((one, other) => one - other)
    .map((rank) => {
      const step = program.steps[rank - 1];
      return rank === 0 ? startPosition : step ? afterStep(step.id, rank - 1) : endPosition(program);
    });
}

function afterStep(id: string, index: number): Position {
  return { id, step: index + 1, rank: index + 1 };
}

function innerPosition(
  program: Program,
  step: ModelStep,
  index: number,
  cut: Cut,
  order: number,
  count: number,
): Position {
  const id = program.bare ? cut.id : `${step.id}.${cut.id}`;
  return { id, step: index, inner: cut, rank: index + (order + 1) / (count + 1) };
}
