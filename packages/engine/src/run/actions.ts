import type { CutId } from "@longshore/core";
import type { ModelStep, Program, TransformStep } from "../repository/index.ts";

/** Consecutive transforms: one hop into a lane. */
export interface ChainAction {
  readonly kind: "chain";
  readonly steps: readonly TransformStep[];
  readonly takes: readonly string[];
  readonly gives: readonly string[];
}

/** A step's graph, or the part of it between two inner cuts. */
export interface ModelAction {
  readonly kind: "model";
  readonly step: ModelStep;
  readonly from: CutId;
  readonly to: CutId;
  readonly takes: readonly string[];
  readonly gives: readonly string[];
}

/** An action that runs once, for all elements of its inputs. */
export type PlainAction = ChainAction | ModelAction;

/**
 * Consecutive steps over the same elements. They run for a few elements at a time, so that what lies between them exists
 * for those few only: a thousand crops of a page, normalised, are 180 MB, and sixteen of them are 3.
 */
export interface EachAction {
  readonly kind: "each";
  /** The value whose elements are counted. */
  readonly over: string;
  /** Values from before that are taken apart, `over` among them; all others go to each run whole. */
  readonly apart: readonly string[];
  readonly actions: readonly PlainAction[];
  /** For each of them, values made inside that no later action needs. */
  readonly drops: readonly (readonly string[])[];
  readonly takes: readonly string[];
  readonly gives: readonly string[];
}

/** A step that gives several answers: all that follows runs once for each. */
export interface AnswersAction {
  readonly kind: "answers";
  readonly step: TransformStep;
  readonly takes: readonly string[];
  readonly gives: readonly string[];
}

export type Action = PlainAction | EachAction | AnswersAction;

/** A step that runs, wholly or between two positions inside its graph. */
export interface StepPart {
  readonly step: Program["steps"][number];
  readonly from: CutId;
  readonly to: CutId;
  readonly takes: readonly string[];
  readonly makes: readonly string[];
}

/** Every model action, those inside others included. */
export function modelActions(actions: readonly Action[]): readonly ModelAction[] {
  return actions.flatMap((action) => {
    if (action.kind === "each") return modelActions(action.actions);
    return action.kind === "model" ? [action] : [];
  });
}

/** Works out what runs together, and what each action takes from before and gives to those after it. */
export function actionsOf(
  program: Program,
  parts: readonly StepPart[],
  results: readonly string[],
): readonly Action[] {
  const wanted = new Set(results);
  const actions: Action[] = [];
  for (const unit of units(program, parts).toReversed()) {
    const own = unit.over === undefined ? undefined : eachAction(program, unit.parts, unit.over, wanted);
    const [first] = unit.parts;
    const made =
      own ??
      (first?.step.kind === "transform" && first.step.answers
        ? answersAction(first, wanted)
        : plain(unit.parts, wanted));
    if (made) actions.unshift(made);
    for (const value of made?.takes ?? []) wanted.add(value);
  }
  return actions;
}

interface Unit {
  readonly parts: StepPart[];
  readonly over: string | undefined;
}

/** Parts that become one action. */
function units(program: Program, parts: readonly StepPart[]): readonly Unit[] {
  const made: Unit[] = [];
  for (const { parts: same, over } of sameElements(parts)) {
    if (over !== undefined && worthwhile(program, same)) made.push({ parts: same, over });
    else {
      for (const part of same) {
        const last = made.at(-1);
        if (last?.over === undefined && last?.parts.every(chains) && chains(part)) last.parts.push(part);
        else made.push({ parts: [part], over: undefined });
      }
    }
  }
  return made;
}

function chains({ step }: StepPart): boolean {
  return step.kind === "transform" && !step.answers;
}

/**
 * Runs of neighbours over the same elements. Values made for each element have the elements of the values they were made from.
 */
function sameElements(parts: readonly StepPart[]): readonly Unit[] {
  const origins = new Map<string, string>();
  const runs: Unit[] = [];
  for (const part of parts) {
    const { forEach } = part.step;
    const over = forEach === undefined ? undefined : (origins.get(forEach) ?? forEach);
    if (over !== undefined) for (const value of part.makes) origins.set(value, over);
    const last = runs.at(-1);
    if (last && over !== undefined && last.over === over) last.parts.push(part);
    else runs.push({ parts: [part], over });
  }
  return runs;
}

/** Values from before that the parts take apart; undefined when one of them is also wanted whole. */
function takenApart(program: Program, parts: readonly StepPart[]): readonly string[] | undefined {
  const inside = new Set(parts.flatMap(({ makes }) => makes));
  const apart = new Set<string>();
  const whole = new Set<string>();
  for (const { step } of parts) {
    for (const value of Object.values(step.inputs)) {
      if (inside.has(value)) continue;
      const ragged = program.values.get(value)?.spec.ragged === true;
      (ragged || value === step.forEach ? apart : whole).add(value);
    }
  }
  return [...apart].some((value) => whole.has(value)) ? undefined : [...apart];
}

/** Only what lies between two steps is saved, and only a model takes long enough for things to pile up before it. */
function worthwhile(program: Program, parts: readonly StepPart[]): boolean {
  if (parts.length < 2 || !parts.some(({ step }) => step.kind === "model")) return false;
  return takenApart(program, parts) !== undefined;
}

function outsideOf(parts: readonly StepPart[], made: ReadonlySet<string>): readonly string[] {
  return [...new Set(parts.flatMap(({ takes }) => takes.filter((value) => !made.has(value))))];
}

function plain(parts: readonly StepPart[], wanted: ReadonlySet<string>): PlainAction | undefined {
  const made = new Set(parts.flatMap(({ makes }) => makes));
  const takes = outsideOf(parts, made);
  const gives = [...made].filter((value) => wanted.has(value));
  const [first] = parts;
  if (first?.step.kind === "model") {
    return { kind: "model", step: first.step, from: first.from, to: first.to, takes, gives };
  }
  const steps = parts.flatMap(({ step }) => (step.kind === "transform" ? [step] : []));
  return { kind: "chain", steps, takes, gives };
}

function answersAction(
  { step, takes, makes }: StepPart,
  wanted: ReadonlySet<string>,
): AnswersAction | undefined {
  if (step.kind !== "transform") return undefined;
  return { kind: "answers", step, takes, gives: makes.filter((value) => wanted.has(value)) };
}

function eachAction(
  program: Program,
  parts: readonly StepPart[],
  over: string,
  wanted: ReadonlySet<string>,
): EachAction {
  const made = new Set(parts.flatMap(({ makes }) => makes));
  const gives = [...made].filter((value) => wanted.has(value));
  const inner = new Set(gives);
  const actions: PlainAction[] = [];
  const groups: StepPart[][] = [];
  for (const part of parts) {
    const last = groups.at(-1);
    if (last?.every(chains) && chains(part)) last.push(part);
    else groups.push([part]);
  }
  for (const group of groups.toReversed()) {
    const action = plain(group, inner);
    if (!action) continue;
    actions.unshift(action);
    for (const value of action.takes) inner.add(value);
  }
  return {
    kind: "each",
    // It has as many elements as the value that all of them go back to, which may be gone by now.
    over: parts[0]?.step.forEach ?? over,
    apart: takenApart(program, parts) ?? [],
    actions,
    drops: dropsOf(actions, new Set([...gives, ...outsideOf(parts, made)])),
    takes: outsideOf(parts, made),
    gives,
  };
}

/** A value goes after the last action that takes it, unless it is kept. */
export function dropsOf(
  actions: readonly Pick<Action, "takes">[],
  keep: ReadonlySet<string>,
): readonly (readonly string[])[] {
  const last = new Map<string, number>();
  for (const [index, { takes }] of actions.entries()) for (const value of takes) last.set(value, index);
  return actions.map((_, index) =>
    [...last].flatMap(([value, at]) => (at === index && !keep.has(value) ? [value] : [])),
  );
}
