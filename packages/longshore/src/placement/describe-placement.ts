import {
  type ChainMeasures,
  type CutTable,
  hasNode,
  measured,
  type SplitAnswer,
  type SplitGraph,
} from "@longshore/graph";
import { quantile } from "./goals.ts";

/** The part that runs at an endpoint. */
interface Stage {
  readonly endpoint: string;
  readonly nodes: number;
  readonly ms: number;
}

/** The tensors sent from one endpoint to the next. */
interface Passage {
  readonly from: string;
  readonly to: string;
  /** The cut's name for `--cut`, where the model's table of cuts holds it. */
  readonly cut: string | null;
  readonly tensors: readonly { readonly name: string; readonly bytes: number }[];
  readonly bytes: number;
  readonly ms: number;
  /** Round trip, software and the answer's way back. */
  readonly answerMs: number;
}

/** A placement in figures. */
export interface PlacementFigures {
  readonly stages: readonly Stage[];
  readonly passages: readonly Passage[];
  readonly meanMs: number;
  readonly p95Ms: number;
  readonly deviceMillijoules: number;
  readonly costMicros: number;
  readonly busiestMs: number;
  readonly deviceBytes: number;
}

/** Describes a placement. */
export function placementFigures(
  answer: SplitAnswer,
  split: SplitGraph,
  table: CutTable,
  measures: ChainMeasures,
  tensorBytes: Float64Array,
  ids: readonly string[],
): PlacementFigures {
  const { dag, names } = split;
  const { placement, reach } = answer;
  const of = (measure: ChainMeasures["meanMs"]): number => measured(dag, placement, reach, measure);
  const late = quantile(measures.outcomesMs, 0.95, dag, ids.length);
  const busyMs = measures.stagesMs.map(of);
  return {
    stages: ids.slice(0, reach + 1).map((endpoint, tier) => ({
      endpoint,
      nodes: placement.filter((one) => one === tier).length,
      ms: busyMs[2 * tier] ?? 0,
    })),
    passages: ids.slice(0, reach).map((from, hop) => {
      const tensors = dag.tensors.flatMap(({ producer, consumers, kept }, index) => {
        const made = producer < 0 ? 0 : (placement[producer] ?? 0);
        const to = Math.max(made, kept ? reach : 0, ...consumers.map((node) => placement[node] ?? 0));
        return made <= hop && hop < to ? [{ name: names[index] ?? "", bytes: tensorBytes[index] ?? 0 }] : [];
      });
      return {
        from,
        to: ids[hop + 1] ?? "",
        cut: cutAt(answer, hop, dag.nodes, table),
        tensors,
        bytes: tensors.reduce((sum, { bytes }) => sum + bytes, 0),
        ms: busyMs[2 * hop + 1] ?? 0,
        answerMs: measures.meanMs.hops[hop] ?? 0,
      };
    }),
    meanMs: of(measures.meanMs),
    p95Ms: late ? of(late) : 0,
    deviceMillijoules: of(measures.deviceMillijoules),
    costMicros: of(measures.costMicros),
    busiestMs: Math.max(...busyMs),
    deviceBytes: of(measures.deviceBytes),
  };
}

/** Name of the cut after a hop's tier; `start` and `end` where nothing, or everything, lies before it. */
function cutAt({ placement }: SplitAnswer, hop: number, nodes: number, table: CutTable): string | null {
  const before = placement.filter((tier) => tier <= hop).length;
  if (before === 0) return "start";
  if (before === nodes) return "end";
  const at = table.sets.findIndex((set) =>
    placement.every((tier, node) => tier <= hop === hasNode(set, node)),
  );
  return at < 0 ? null : `c${at + 1}`;
}
