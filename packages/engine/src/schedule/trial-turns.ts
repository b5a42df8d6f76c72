import { type Clock, LongshoreError, type Tensors } from "@longshore/core";
import { housekeepingCall } from "@longshore/core/internal";
import { rowBytesOf, rowsOf } from "../runtime/index.ts";
import type { TriedRun } from "./batch-trial.ts";
import type { CoreClaim, CoreRun } from "./cores.ts";
import type { Instance } from "./instance.ts";
import type { RunTimes } from "./run-times.ts";

/*
 * Before requests of a model share runs, trial runs measure whether that pays (`batch-trial.ts`). They use the same instances and cores as
 * requests, so they wait for a quiet moment, and take a tenth of the time at most where there is none.
 */

/** The resources that trial runs share with the runs of requests. */
interface TrialTurnsParts {
  readonly name: string;
  readonly clock: Clock;
  readonly instances: readonly Instance[];
  readonly cores: CoreClaim;
  /** Learns the times of trial runs, which have sizes that requests did not have yet. */
  readonly times: RunTimes;
  /** Schedules again: an instance may be idle now. */
  readonly again: () => void;
}

interface Trial {
  readonly feeds: Tensors;
  readonly rows: number;
  readonly sinceMs: number;
  resolve(run: TriedRun): void;
  reject(error: LongshoreError): void;
}

/** After a trial run, none follows for this many times its length: at most a tenth of the time of an instance. */
const restFactor = 9;
/** Longer runs than this wait until the instance is idle. */
const shortMs = 2;
/** How often a waiting trial checks for an idle instance. */
const lookMs = 25;
/** After so long without a request, a trial run is unlikely to delay one. */
const calmMs = 250;
/** Never a request's tenant. */
const tenant = "batching";

/** Runs trials of one graph between its requests. */
export class TrialTurns {
  readonly #parts: TrialTurnsParts;
  #trial: Trial | undefined;
  #running = false;
  #ended = false;
  #restUntilMs = -Infinity;
  #disturbedMs = -Infinity;
  #timer: Disposable | undefined;

  constructor(parts: TrialTurnsParts) {
    this.#parts = parts;
  }

  get running(): boolean {
    return this.#running;
  }

  /** Records that a run of requests begins. */
  disturbed(): void {
    if (this.#trial) this.#disturbedMs = this.#parts.clock.nowMs();
  }

  /** Runs the graph once, when there is time. Throws `shutting-down` once the graph is being unloaded. */
  tryOut(feeds: Tensors): Promise<TriedRun> {
    return new Promise((resolve, reject) => {
      if (this.#ended) throw this.#over();
      const sinceMs = this.#parts.clock.nowMs();
      this.#trial = { feeds, rows: rowsOf(feeds) ?? 1, sinceMs, resolve, reject };
      this.#parts.again();
    });
  }

  #over(): LongshoreError {
    return new LongshoreError("shutting-down", "queue", `${this.#parts.name} is being unloaded`);
  }

  /** Refuses further trials. The one under way ends by itself. */
  end(): void {
    this.#ended = true;
    this.#timer?.[Symbol.dispose]();
    this.#trial?.reject(this.#over());
    this.#trial = undefined;
  }

  /** Begins the waiting trial if an instance is idle, and either no request is `waiting` or the run is short. */
  start(waiting: boolean): void {
    const trial = this.#trial;
    if (!trial || this.#running) return;
    const { clock, times, cores, instances, again } = this.#parts;
    const nowMs = clock.nowMs();
    const rowBytes = rowBytesOf(trial.feeds, trial.rows);
    const expectedMs = times.runMs(trial.rows, rowBytes) ?? Infinity;
    const calm = !waiting && nowMs - this.#disturbedMs >= calmMs;
    if ((calm || (expectedMs <= shortMs && nowMs >= this.#restUntilMs)) && cores.waitMs(nowMs) === 0) {
      const on = instances.find((one) => one.state === "idle" && one.claim(again));
      const order = cores.order();
      const due = { tenant, level: 1, delayed: false, deadlineMs: Infinity, order, workMs: 0 };
      const core = on && cores.take(due, Number.isFinite(expectedMs) ? expectedMs : 0, nowMs);
      if (on && core) {
        void this.#run(on, core, trial, rowBytes);
        return;
      }
      on?.unclaim();
    }
    this.#timer ??= clock.timer(lookMs, () => {
      this.#timer = undefined;
      again();
    });
  }

  async #run(on: Instance, core: CoreRun, trial: Trial, rowBytes: number): Promise<void> {
    const { clock, times, again } = this.#parts;
    this.#trial = undefined;
    this.#running = true;
    const { result, ended } = on.run(core.expectedMs, (session) =>
      session.run(trial.feeds, [], housekeepingCall("trial of batching")),
    );
    const [outcome] = await Promise.allSettled([result]);
    const { tookMs, ranMs, begun } = await ended;
    const nowMs = clock.nowMs();
    this.#running = false;
    this.#restUntilMs = nowMs + restFactor * tookMs;
    core.give(nowMs);
    on.giveBack();
    if (outcome.status === "fulfilled") {
      if (begun) times.seen(trial.rows, tookMs, nowMs, rowBytes, ranMs);
      trial.resolve({ outputs: outcome.value, ranMs });
    } else trial.reject(LongshoreError.from(outcome.reason, "execute", `trying ${this.#parts.name}`));
    again();
  }
}
