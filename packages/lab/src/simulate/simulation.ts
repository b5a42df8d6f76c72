import type { Inputs, Limits, Random } from "@longshore/core";
import type { SimulatedModel, StageSums, WorldDevice, WorldEndpoint } from "../world/index.ts";

/** An endpoint of a simulation: one at the end of a link, which other callers may keep busy. */
export interface SimulationEndpoint extends WorldEndpoint {
  /** Share of its instances that requests of other callers occupy, which come over links of their own; default 0. */
  readonly crowdRatio?: number;
}

/** One replay: a model, a device, endpoints with links, and requests. Plain data except for the traces. */
export interface Simulation {
  readonly model: SimulatedModel;
  /** Inputs of every request; see `typicalInputs`. */
  readonly inputs: Inputs;
  readonly device: WorldDevice;
  readonly endpoints: readonly SimulationEndpoint[];
  /** Instants of the requests, in milliseconds from the beginning, in order. */
  readonly arrivalsMs: readonly number[];
  readonly limits: Limits;
  readonly seed: number;
  /** The first requests are replayed but not counted: nothing is known of the world then. */
  readonly notCounted: number;
}

/** The outcome of one request. Times in milliseconds since the beginning. */
export interface SimulatedRow {
  readonly index: number;
  readonly atMs: number;
  /** `answered`, or the reason of the failure. */
  readonly outcome: string;
  /** Endpoint whose leg gave the answer. */
  readonly where: string;
  /** The plan that the answer came by, in the words of `planName`. */
  readonly plan: string;
  /** The other endpoint that had a part in that plan; empty when there was none. */
  readonly away: string;
  readonly because: string;
  readonly tookMs: number;
  /**
   * The accounts of the endpoints that had a part in the answer, by stages: sums, which may overlap in time. Legs that a
   * gateway forwarded are left out.
   */
  readonly stagesMs: StageSums;
  /** Null where nothing was predicted. */
  readonly predictedMs: number | null;
  readonly sentBytes: number;
  readonly receivedBytes: number;
  /** Of the device, estimated. */
  readonly millijoules: number;
  readonly costMicros: number;
  /** Legs that ran in vain. */
  readonly lostLegs: number;
}

/** How a way to decide did over the counted requests. */
export interface WayFigures {
  readonly counted: number;
  /** Failed, or not there by the deadline. */
  readonly missed: number;
  /** Times; a request that missed its deadline counts as the deadline, one that failed without any is left out. */
  readonly meanMs: number;
  readonly p50Ms: number;
  readonly p95Ms: number;
  readonly p99Ms: number;
  readonly meanMillijoules: number;
  readonly meanSentBytes: number;
  readonly meanCostMicros: number;
  /** Share of the answers that another endpoint had a part in, and of the requests of which a leg ran in vain. */
  readonly awayRatio: number;
  readonly extraRatio: number;
  /** The objective's value over all; the mean of times for `accuracy` and `throughput`. */
  readonly objective: number;
  /** That over the oracle's; 1 if both are 0, null if only the oracle's is. */
  readonly vsOracle: number | null;
}

/** A way to decide: ours, one plan for all requests, or the oracle. */
export interface SimulatedWay {
  readonly name: string;
  readonly kind: "longshore" | "oracle" | "device" | "endpoint" | "fixed";
  /** The plan that never changes. */
  readonly plan: string | undefined;
  readonly figures: WayFigures;
  readonly rows: readonly SimulatedRow[];
}

/** How a shared endpoint is kept busy. */
export interface CrowdOptions {
  readonly endpoint: string;
  /** As the endpoint's own, so that the same run takes as long. */
  readonly speed: number;
  readonly instances: number;
  readonly busyRatio: number;
  readonly untilMs: number;
  readonly random: Random;
}
