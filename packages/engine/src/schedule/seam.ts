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

/** Whose request it is, and when it is due: what of a call the order depends on. */
export type Asker = Pick<Call, "tenant" | "deadlineMs" | "priority">;

/** One owner of one loaded graph's instances: admission, queue, batching, running. */
export interface Scheduler {
  readonly name: string;
  /** How many requests of one caller can be under way at the same time to good effect. */
  readonly width: number;
  readonly instances: number;
  /** Who shares runs: what the model says, or `tenant` where it failed the test that `shared` asks for. */
  readonly isolation: BatchIsolation;
  /** False once it is being unloaded. */
  readonly open: boolean;
  /** Grants a place. Throws `queue-full` or `shutting-down`. */
  admit(rows: number, asker: Asker): Ticket;
  /** What work of that asker would meet that comes now. */
  expected(rows: number, asker: Asker): Forecast;
  /** Work of that asker was refused by what was expected, so nothing of it will come. */
  turnedAway(asker: Asker): void;
  /**
   * Waits for an instance, runs, and gives the outputs, which are the caller's. Rejects as soon as the call ends; the
   * instance stays busy until the run does. `evicted` when it was admitted and cannot make its deadline any more, has
   * waited for longer than its queue allows, or holds a place of which another tenant has none. The call must end at its
   * deadline; the scheduler sets no timers for that.
   */
  run(feeds: Tensors, fetches: readonly string[], call: Call, ticket?: Ticket): Promise<RunOutcome>;
  load(): LoadReport;
  /** The runtime, its version and its provider, where the runtime says so. */
  readonly build: string | undefined;
  /** From now on requests of one tenant may share runs of up to so many rows. */
  joinUpTo(rows: number): void;
  /** Shows the inputs of requests until no more are wanted. */
  sample(samples: RowSamples): void;
  /**
   * Runs feeds that measure the graph, one run at a time: when nothing waits, or, where such a run is short, now and then
   * between requests. Rejects with `shutting-down` once it drains.
   */
  tryOut(feeds: Tensors): Promise<TriedRun>;
  /** Refuses new work, finishes what was accepted, and releases the instances. Idempotent. */
  drain(): Promise<void>;
}

/** What a scheduler is made of, besides its instances. */
export interface SchedulerParts {
  /** What is scheduled, for events and messages: model and cuts, no file names. */
  readonly name: string;
  /** Of a whole model, for events. */
  readonly version?: string;
  readonly batching: Batching;
  /** Requests that may wait besides those that run. */
  readonly maxQueued: number;
  /** Share of a tenant against others'. Default: all have 1. */
  readonly weightOf?: (tenant: TenantId) => number;
  /** Shared by all schedulers of a place. */
  readonly cores: Cores;
  readonly clock: Clock;
  readonly observer: Observer;
}
