import type {
  BatchIsolation,
  Batching,
  Call,
  Clock,
  LoadReport,
  Observer,
  TenantId,
  Tensors,
} from "@longshore/core";
import type { TriedRun } from "./batch-trial.ts";
import type { Cores } from "./cores.ts";
import type { Forecast } from "./forecast.ts";
import type { RowSamples } from "./row-samples.ts";
import type { Ticket } from "./tickets.ts";
import type { RunOutcome } from "./waiting.ts";

/** The fields of a call that the order of service depends on. */
export type Requester = Pick<Call, "tenant" | "deadlineMs" | "priority">;

/** One owner of one loaded graph's instances: admission, queue, batching, running. */
export interface Scheduler {
  readonly name: string;
  /** Number of requests of one caller that it can use at the same time. */
  readonly width: number;
  readonly instances: number;
  /** Which requests may share a run: as the model says, or `tenant` if the graph failed the test that `shared` requires. */
  readonly isolation: BatchIsolation;
  /** Execution providers of its instances, with `+` between several. Undefined where the runtime does not tell. */
  readonly provider: string | undefined;
  /** False once it is being unloaded. */
  readonly open: boolean;
  /** Grants a queue position. Throws `queue-full` or `shutting-down`. */
  admit(rows: number, asker: Requester): Ticket;
  /** The forecast for work of that tenant that arrives now. */
  expected(rows: number, asker: Requester): Forecast;
  /** Reports that work of this tenant was refused by its forecast, so it will not come. */
  turnedAway(asker: Requester): void;
  /**
   * Waits for an instance, runs, and returns the outputs, which belong to the caller. Rejects when the call ends; the instance stays busy
   * until the run ends. Rejects with `evicted` if an admitted request can no longer meet its deadline, has waited longer than its queue
   * allows, or holds a position that a tenant without one needs. The caller ends the call at its deadline; the scheduler sets no timer for
   * that.
   */
  run(feeds: Tensors, fetches: readonly string[], call: Call, ticket?: Ticket): Promise<RunOutcome>;
  load(): LoadReport;
  /** The runtime, its version and its provider, where the runtime says so. */
  readonly build: string | undefined;
  /** From now on requests of one tenant may share runs of up to this many rows. */
  joinUpTo(rows: number): void;
  /** Shows the inputs of requests until no more are wanted. */
  sample(samples: RowSamples): void;
  /**
   * Runs feeds that measure the graph, one run at a time: when nothing waits, or, where such a run is short, now and then
   * between requests. Rejects with `shutting-down` once it drains.
   */
  tryOut(feeds: Tensors): Promise<TriedRun>;
  /** Refuses new work, finishes accepted work, and releases the instances. Idempotent. */
  drain(): Promise<void>;
}

/** Inputs of a scheduler, besides its instances. */
export interface SchedulerParts {
  /** Name of what is scheduled, for events and messages: model and cuts, no file names. */
  readonly name: string;
  /** Version of a whole model, for events. Absent for a part of one. */
  readonly version?: string;
  readonly batching: Batching;
  /** The most requests that may wait, without those that run. */
  readonly maxQueued: number;
  /** Share of a tenant relative to others. Default: 1 for all. */
  readonly weightOf?: (tenant: TenantId) => number;
  /** Shared by all schedulers of an engine. */
  readonly cores: Cores;
  readonly clock: Clock;
  readonly observer: Observer;
}
