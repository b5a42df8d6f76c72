import type { StageTime, Tensor, Tensors } from "@longshore/core";
import { fanOut, joinElements, splitElements } from "@longshore/core/internal";
import type { Scheduler } from "../schedule/index.ts";
import { type EachAction, modelActions } from "./actions.ts";
import { leaseOf, runChain, runModel, type RunContext, type SegmentRun } from "./run-action.ts";
import { runValues } from "./values.ts";

/** The fewest elements of a group: enough to make the hop into a lane pay. */
const leastTogether = 8;
/** Elements of a group, where the widest model runs `width` of them at once. */
export function elementsTogether(width: number): number {
  return Math.max(leastTogether, 2 * width);
}

/** Groups of one request under way: while the models run one, the lane prepares the next. */
const groupsUnderWay = 2;

/**
 * Runs steps over the same elements, one group at a time, and joins their results for the steps after them. However many
 * elements there are, memory holds the values between the steps for two groups only.
 *
 * @returns the time to charge, in milliseconds
 */
export async function runEachAction(
  run: SegmentRun,
  action: EachAction,
  drops: readonly string[],
  { values, note }: RunContext,
): Promise<number> {
  const { clock, call } = run;
  const taken = values.take(action.takes, []);
  values.take([], drops);
  const count = taken.get(action.over)?.spec.shape[0] ?? 0;
  const models = modelActions(action.actions);
  const together = elementsTogether(Math.max(...models.map((one) => leaseOf(run, one).scheduler.width)));
  const groups = Math.max(1, Math.ceil(count / together));
  expect(run, action, count);
  const cut = groups === 1 ? () => taken : cutter(action, taken, together);
  const startedMs = clock.nowMs();
  const times = new Map<string, StageTime>();
  let busyMs = 0;

  const results = await fanOut(groups, groupsUnderWay, call, async (index, own) => {
    using _room = await run.elements.take(Math.min(together, Math.max(1, count - index * together)), own);
    const group = runValues(cut(index));
    const running: RunContext = { values: group, state: new Map(), note: (stage) => add(times, stage) };
    const inside = { ...run, call: own };
    for (const [at, one] of action.actions.entries()) {
      const gone = action.drops[at] ?? [];
      if (one.kind === "chain") busyMs += await runChain(inside, one, gone, running);
      else busyMs += await runModel(inside, one, gone, running, true);
    }
    return new Map(
      action.gives.flatMap((name): [string, Tensor][] => {
        const tensor = group.get(name);
        return tensor ? [[name, tensor]] : [];
      }),
    );
  });

  values.put(joined(action, results));
  for (const one of models) run.elementsSeen(one, count);
  tell(times, clock.nowMs() - startedMs, note);
  return busyMs;
}

/** Reports the number of runs to admission, now that it is known. */
function expect(run: SegmentRun, action: EachAction, count: number): void {
  const runs = new Map<Scheduler, number>();
  for (const model of modelActions(action.actions)) {
    const { scheduler } = leaseOf(run, model);
    runs.set(scheduler, (runs.get(scheduler) ?? 0) + count);
  }
  for (const [scheduler, rows] of runs) run.admission.ticket(scheduler)?.expect(rows);
}

/** Cuts the values that are taken by element into groups; every other value goes to each group whole. */
function cutter({ apart }: EachAction, taken: Tensors, together: number): (group: number) => Tensors {
  const elements = new Map(
    apart.flatMap((name): [string, readonly Tensor[]][] => {
      const tensor = taken.get(name);
      return tensor ? [[name, splitElements(tensor)]] : [];
    }),
  );
  return (group) =>
    new Map(
      [...taken].map(([name, tensor]): [string, Tensor] => {
        const own = elements.get(name)?.slice(group * together, (group + 1) * together);
        if (!own) return [name, tensor];
        const { datatype, shape } = tensor.spec;
        return [name, joinElements(name, own, { datatype, shape: shape.slice(1) })];
      }),
    );
}

function joined({ gives }: EachAction, results: readonly Tensors[]): Tensors {
  const [only] = results;
  if (only && results.length === 1) return only;
  return new Map(
    gives.flatMap((name): [string, Tensor][] => {
      const parts = results.flatMap((result) => result.get(name) ?? []);
      const [first] = parts;
      if (!first) return [];
      const { datatype, shape } = first.spec;
      return [[name, joinElements(name, parts.flatMap(splitElements), { datatype, shape: shape.slice(1) })]];
    }),
  );
}

function add(times: Map<string, StageTime>, stage: StageTime): void {
  const key = `${stage.stage} ${stage.name}`;
  times.set(key, { ...stage, tookMs: (times.get(key)?.tookMs ?? 0) + stage.tookMs });
}

/** Groups overlap, so their times may add up to more than passed; each stage gets its share of what did. */
function tell(times: ReadonlyMap<string, StageTime>, wallMs: number, note: RunContext["note"]): void {
  const total = [...times.values()].reduce((sum, { tookMs }) => sum + tookMs, 0);
  const share = total > wallMs ? wallMs / total : 1;
  let agoMs = Math.min(wallMs, total);
  for (const stage of times.values()) {
    const tookMs = stage.tookMs * share;
    agoMs -= tookMs;
    note({ ...stage, tookMs }, Math.max(0, agoMs));
  }
}
