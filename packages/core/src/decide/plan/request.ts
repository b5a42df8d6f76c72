import type { DataClass, EndpointId, Rules, TenantId } from "../../words/base/index.ts";
import type { CutId, Features } from "../../words/model/index.ts";
import type { PlanLimits, Stages } from "../goal/index.ts";

/** Where the state of a sequence is. */
export interface PlannedSequence {
  readonly step: number;
  /** Endpoint that holds the state after the previous step; undefined at the first step, or when it is lost. */
  readonly resident: EndpointId | undefined;
  /** A copy of the state after the previous step is held here and can travel. */
  readonly carried: boolean;
}

/** The load of requests under way, for the objective `throughput`. */
export interface Traffic {
  /** Work ahead of a request by way of an endpoint (undefined: that stays here), in milliseconds. */
  ahead(endpoint: EndpointId | undefined): Stages;
  /** Requests that an endpoint runs at once, 1 or more. */
  width(endpoint: EndpointId): number;
  /** Time that this device is kept busy for each millisecond of work here, 1 or more. */
  load(): number;
}

/** The part of a variant between two cuts. */
export interface Part {
  readonly variant: string;
  readonly from: CutId;
  readonly to: CutId;
}

/** Waits of a request before its first run of a part somewhere, in milliseconds. */
export interface FirstWaits {
  /** Until the part is fetched and loaded at an endpoint (undefined: here); 0 if it is. */
  loadMs(endpoint: EndpointId | undefined, part: Part): number;
  /** For a connection to the endpoint. */
  connection(endpoint: EndpointId): ConnectionWaits;
}

/** Waits of a request for its connection, in milliseconds. */
export interface ConnectionWaits {
  /** Until a connection is made; 0 if one is open. */
  readonly connectMs: number;
  /** Longer on an open connection because it sent nothing for a while; see `Connecting.idleMs`. */
  readonly slowStartMs: number;
}

/** One question to the planner. */
export interface PlanRequest {
  readonly model: string;
  readonly version?: string;
  /** The cut whose crossing is held here: `start`, or a later one if the plan is made on the way. */
  readonly from: CutId;
  readonly to: CutId;
  /** Variant of a crossing that was made on the way. Other variants are excluded. */
  readonly variant?: string | undefined;
  readonly features: Features;
  /** Replaces features that are not known yet, such as the usual number of items. */
  readonly usual?: Partial<Features> | undefined;
  /** Bytes of the crossing that is held, sent raw. */
  readonly inputBytes: number;
  readonly limits: PlanLimits;
  readonly rules: Rules;
  /** The model's own class, when the caller named another: an endpoint must be allowed both. */
  readonly modelClass?: DataClass | undefined;
  readonly tenant: TenantId;
  /** Rights of the sender at other endpoints; undefined: all. */
  readonly rights?: readonly string[] | undefined;
  /** Instant on the Clock; Infinity for none. */
  readonly deadlineMs: number;
  /** Endpoints that it has been through. */
  readonly path: readonly EndpointId[];
  /** Endpoints that failed for this very request. */
  readonly exclude: ReadonlySet<EndpointId>;
  /** If no candidate is believed to end before the deadline, choose the one that ends first. Default false. */
  readonly evenLate?: boolean | undefined;
  readonly sequence?: PlannedSequence | undefined;
  readonly traffic?: Traffic | undefined;
  /**
   * Whether an endpoint (undefined: this one) could start a part at once. Parts that would have to be loaded first are left out. Undefined:
   * loading does not matter.
   */
  readonly ready?: ((endpoint: EndpointId | undefined, part: Part) => boolean) | undefined;
  /** The loads and connections that come first. Default: none. */
  readonly first?: FirstWaits | undefined;
  /** Whether the explanation is not needed: the plan then has none, and `lost` only those elsewhere that lost by score. Default false. */
  readonly unexplained?: boolean | undefined;
  /** One endpoint runs all of it. Default false. */
  readonly whole?: boolean | undefined;
  /**
   * Endpoints with scores within this share of the best are drawn at random, so that many clients with the same view do not all choose one
   * endpoint. Default 0.01.
   */
  readonly tieRatio?: number | undefined;
  /** Whether the plan also lists endpoints for a sender that retries by itself (`Plan.alternatives`). Default false. */
  readonly listed?: boolean | undefined;
}
