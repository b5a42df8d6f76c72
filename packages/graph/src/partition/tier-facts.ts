import type { Dag } from "./dag.ts";
import type { Measure } from "./measure.ts";

/** The costs of a node at a tier. */
export interface TierFacts {
  /** Time of each node here, in milliseconds, at the mean. */
  readonly nodeMs: ArrayLike<number>;
  /** The ratios of times to their mean in equally likely outcomes, ascending; default: always the mean. */
  readonly spread?: readonly number[];
  readonly microsPerSecond?: number;
}

/** The costs of a tensor on a hop, in equally likely outcomes, ascending (slow comes with slow, as in beliefs). */
export interface HopFacts {
  readonly msPerByte: readonly number[];
  /** Round trip, queue and the answer's way back, for any bytes. */
  readonly fixedMs: readonly number[];
  readonly microsPerByte?: number;
}

/** A graph, the tiers it could run on and the hops between them. */
export interface ChainFacts {
  readonly dag: Dag;
  readonly tiers: readonly TierFacts[];
  readonly hops: readonly HopFacts[];
  /** Bytes of each tensor as it would travel. */
  readonly tensorBytes: ArrayLike<number>;
  /** Memory that each node's weights take, in bytes. */
  readonly nodeBytes?: ArrayLike<number>;
  /** Agreement that is left when a tensor travels coded, 0..1 (exclusive 0); agreements multiply. */
  readonly agreementRatio?: ArrayLike<number>;
  /** Power of the device while it runs, while it is on air, and while it waits, in watts. */
  readonly watts?: { readonly active: number; readonly onAir: number; readonly waiting: number };
  /** Energy of a byte over the air, beside the time, in millijoules. */
  readonly millijoulesPerByte?: number;
}

/** Everything that placements of a graph are judged by. */
export interface ChainMeasures {
  readonly meanMs: Measure;
  /** Completion in each of the equally likely outcomes, ascending: also its quantiles, because sums are comonotone. */
  readonly outcomesMs: readonly Measure[];
  readonly deviceMillijoules: Measure;
  readonly costMicros: Measure;
  /** Minus the logarithm of the agreement: a value of at most `-Math.log(ratio)` means an agreement of at least `ratio`. */
  readonly disagreement: Measure;
  /** Busy time of each stage for one request: the device, the first hop, the second tier, and so on, outwards. */
  readonly stagesMs: readonly Measure[];
  /** Memory that the device needs for the weights of what runs there. */
  readonly deviceBytes: Measure;
}

/** The measures of a chain. */
export function chainMeasures(facts: ChainFacts): ChainMeasures {
  const { dag, tiers, hops, tensorBytes } = facts;
  const outcomes = Math.max(...tiers.map((tier) => tier.spread?.length ?? 1), ...hops.map(outcomesOf));
  const nodeMs = (tier: TierFacts, factor: number): Float64Array => scaled(tier.nodeMs, factor);
  const tensorMs = (msPerByte: number): Float64Array => scaled(tensorBytes, msPerByte);
  const none = (length: number): Float64Array => new Float64Array(length);
  const perTier = (of: (tier: TierFacts, index: number) => Float64Array): Float64Array[] => tiers.map(of);
  const perHop = (of: (hop: HopFacts, index: number) => Float64Array): Float64Array[] => hops.map(of);
  const completion = (at: (values: readonly number[]) => number): Measure => ({
    nodes: perTier((tier) => nodeMs(tier, at(tier.spread ?? [1]))),
    tensors: perHop(({ msPerByte }) => tensorMs(at(msPerByte))),
    hops: hops.map(({ fixedMs }) => at(fixedMs)),
  });
  const { active = 0, onAir = 0, waiting = 0 } = facts.watts ?? {};
  const { millijoulesPerByte = 0 } = facts;
  return {
    meanMs: completion(mean),
    outcomesMs: Array.from({ length: outcomes }, (_unused, index) =>
      completion((values) => valueAt(values, index, outcomes)),
    ),
    deviceMillijoules: {
      nodes: perTier((tier, index) =>
        nodeMs(tier, mean(tier.spread ?? [1]) * (index === 0 ? active : waiting)),
      ),
      tensors: perHop(({ msPerByte }, index) =>
        tensorMs(index === 0 ? mean(msPerByte) * onAir + millijoulesPerByte : mean(msPerByte) * waiting),
      ),
      hops: hops.map(({ fixedMs }, index) => mean(fixedMs) * (index === 0 ? onAir : waiting)),
    },
    costMicros: {
      nodes: perTier((tier) => nodeMs(tier, (mean(tier.spread ?? [1]) * (tier.microsPerSecond ?? 0)) / 1000)),
      tensors: perHop(({ microsPerByte = 0 }) => tensorMs(microsPerByte)),
      hops: [],
    },
    disagreement: {
      nodes: [],
      tensors: perHop(() =>
        Float64Array.from({ length: dag.tensors.length }, (_unused, tensor) =>
          Math.max(0, -Math.log(facts.agreementRatio?.[tensor] ?? 1)),
        ),
      ),
      hops: [],
    },
    stagesMs: Array.from({ length: tiers.length + hops.length }, (_unused, stage) => {
      const at = stage >> 1;
      return {
        nodes: perTier((tier, index) =>
          stage % 2 === 0 && index === at ? nodeMs(tier, mean(tier.spread ?? [1])) : none(dag.nodes),
        ),
        tensors: perHop(({ msPerByte }, index) =>
          stage % 2 === 1 && index === at ? tensorMs(mean(msPerByte)) : none(dag.tensors.length),
        ),
        hops: [],
      };
    }),
    deviceBytes: {
      nodes: perTier((_tier, index) => (index === 0 ? scaled(facts.nodeBytes ?? [], 1) : none(dag.nodes))),
      tensors: [],
      hops: [],
    },
  };
}

function outcomesOf({ msPerByte, fixedMs }: HopFacts): number {
  return Math.max(msPerByte.length, fixedMs.length);
}

function scaled(list: ArrayLike<number>, factor: number): Float64Array {
  return Float64Array.from(list, (one) => one * factor);
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
}

/** The value of a list at a position among `count`: a list of one value has it everywhere. */
function valueAt(values: readonly number[], index: number, count: number): number {
  return values[Math.floor(((index + 0.5) / count) * values.length)] ?? 0;
}
