import { type Call, type Clock, LongshoreError } from "@longshore/core";
import { housekeepingCall } from "@longshore/core/internal";
import type { InferenceSession } from "../runtime/index.ts";
import type { ResourceClaim } from "./rate-limiter.ts";

/** Loads one session; the call ends when the scheduler does. */
export type OpenSession = (call: Call) => Promise<InferenceSession>;

/** What a run took: seen from here, and inside the runtime where that measures it. In milliseconds. */
export interface Took {
  readonly tookMs: number;
  readonly ranMs: number;
  /** False where it was given up before it reached the runtime: the times are none of a run. */
  readonly begun: boolean;
}

/** A run under way. */
export interface Running<T> {
  readonly result: Promise<T>;
  /** Resolves with the times it took once the instance is free again, which may be long after `result` was rejected. */
  readonly ended: Promise<Took>;
}

/**
 * One loaded copy of a graph. It is busy until its run has really ended, also when nobody waits for the result any more:
 * a run cannot be cancelled, and pretending otherwise would promise time that is not there.
 */
export class Instance {
  state: "idle" | "busy" | "opening" | "dead" | "released" = "dead";
  #session: InferenceSession | undefined;
  #opening: Promise<void> | undefined;
  #startedMs = 0;
  #expectedMs = 0;
  /** When it was loaded or its last run ended. */
  #freeSinceMs: number;
  readonly #load: OpenSession;
  readonly #clock: Clock;
  readonly #claim: ResourceClaim | undefined;
  readonly #life = new AbortController();

  constructor(load: OpenSession, clock: Clock, claim?: ResourceClaim) {
    this.#load = load;
    this.#clock = clock;
    this.#claim = claim;
    this.#freeSinceMs = clock.nowMs();
  }

  get build(): string | undefined {
    return this.#session?.build;
  }

  /** Takes what a run needs of shared resources, or remembers to call `again` once it can be had. */
  claim(again: () => void): boolean {
    return this.#claim?.take(again) ?? true;
  }

  /** Gives back what was claimed for a run that did not come about. */
  unclaim(): void {
    this.#claim?.drop();
  }

  /** Gives back what its run took of shared resources, once it has ended. */
  giveBack(): void {
    this.#claim?.give();
  }

  /** How much longer its run should take. */
  remainingMs(nowMs: number): number {
    return this.state === "busy" ? Math.max(0, this.#startedMs + this.#expectedMs - nowMs) : 0;
  }

  /** For how long it has had nothing to do. */
  restedMs(nowMs: number): number {
    return this.state === "idle" ? nowMs - this.#freeSinceMs : 0;
  }

  run<T>(expectedMs: number, work: (session: InferenceSession) => Promise<T>): Running<T> {
    const session = this.#session;
    if (!session || this.state !== "idle") {
      throw new LongshoreError("internal", "queue", `an instance that is ${this.state} was asked to run`);
    }
    this.state = "busy";
    this.#startedMs = this.#clock.nowMs();
    this.#expectedMs = expectedMs;
    const result = work(session);
    return { result, ended: this.#ended(session, result) };
  }

  async #ended(session: InferenceSession, result: Promise<unknown>): Promise<Took> {
    let thrown: unknown;
    try {
      await result;
    } catch (error) {
      thrown = error;
    }
    try {
      await session.idle();
    } catch {
      // What went wrong is told to whoever waits for the result.
    }
    const { ranMs, begun = true } = session;
    if (LongshoreError.is(thrown) && thrown.reason === "runtime-crashed") {
      this.#session = undefined;
      if (this.state === "busy") this.state = "dead";
      await session.release().catch(() => undefined);
    } else if (this.state === "busy") this.state = "idle";
    this.#freeSinceMs = this.#clock.nowMs();
    const tookMs = this.#freeSinceMs - this.#startedMs;
    const inside = thrown === undefined && ranMs !== undefined ? Math.min(ranMs, tookMs) : tookMs;
    return { tookMs, ranMs: inside, begun };
  }

  /** Loads it, at first or again after a crash. Does nothing while it is alive or loading. */
  open(): Promise<void> {
    if (this.state !== "dead") return this.#opening ?? Promise.resolve();
    this.state = "opening";
    this.#opening = this.#openOnce();
    return this.#opening;
  }

  async #openOnce(): Promise<void> {
    try {
      this.#session = await this.#load(housekeepingCall("load", this.#life.signal));
      this.#freeSinceMs = this.#clock.nowMs();
      if (this.state === "opening") this.state = "idle";
    } catch (thrown) {
      if (this.state === "opening") this.state = "dead";
      throw LongshoreError.from(thrown, "execute", "loading a model");
    } finally {
      this.#opening = undefined;
    }
  }

  /** Waits for a load or run under way. Idempotent. */
  async release(): Promise<void> {
    if (this.state === "released") return;
    this.state = "released";
    this.#life.abort(new LongshoreError("shutting-down", "execute", "the model is being unloaded"));
    await this.#opening?.catch(() => undefined);
    await this.#session?.release();
    this.#claim?.[Symbol.dispose]();
  }
}

/** Loads those again that have crashed; `failed` is told why when that leaves none that is loaded or loading. */
export function reopenDead(
  instances: readonly Instance[],
  opened: () => void,
  failed: (thrown: unknown) => void,
): void {
  for (const one of instances) {
    if (one.state !== "dead") continue;
    one.open().then(opened, (thrown: unknown) => {
      if (instances.every(({ state }) => state === "dead")) failed(thrown);
    });
  }
}
