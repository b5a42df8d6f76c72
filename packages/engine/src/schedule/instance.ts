import { type Call, type Clock, LongshoreError } from "@longshore/core";
import { housekeepingCall } from "@longshore/core/internal";
import type { InferenceSession } from "../runtime/index.ts";
import type { ResourceClaim } from "./rate-limiter.ts";

/** Loads one session; the call ends when the scheduler does. */
export type OpenSession = (call: Call) => Promise<InferenceSession>;

/** How long a run took: measured here, and inside the runtime if the runtime measures it. In milliseconds. */
export interface RunDuration {
  readonly tookMs: number;
  readonly ranMs: number;
  /** False if the run was abandoned before it reached the runtime. Its times are then not those of a run. */
  readonly begun: boolean;
}

/** A run under way. */
export interface InstanceRun<T> {
  readonly result: Promise<T>;
  /** Resolves with the times it took once the instance is free again, which may be long after `result` was rejected. */
  readonly ended: Promise<RunDuration>;
}

/**
 * One loaded copy of a graph. It is busy until its run has really ended, even if the result is no longer needed: a run cannot be cancelled,
 * and to pretend otherwise would promise time that is not there.
 */
export class Instance {
  state: "idle" | "busy" | "opening" | "dead" | "released" = "dead";
  #session: InferenceSession | undefined;
  #opening: Promise<void> | undefined;
  #startedMs = 0;
  #expectedMs = 0;
  /** When it was loaded, or when its last run ended. */
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

  /** Takes the shared resources that a run needs, or calls `again` once they are free. */
  claim(again: () => void): boolean {
    return this.#claim?.take(again) ?? true;
  }

  /** Returns what was claimed for a run that did not begin. */
  unclaim(): void {
    this.#claim?.drop();
  }

  /** Returns the shared resources of a run that has ended. */
  giveBack(): void {
    this.#claim?.give();
  }

  /** The execution provider of its session, where the runtime tells. */
  get provider(): string | undefined {
    return this.#session?.provider;
  }

  /** How much longer its run should take. */
  remainingMs(nowMs: number): number {
    return this.state === "busy" ? Math.max(0, this.#startedMs + this.#expectedMs - nowMs) : 0;
  }

  /** For how long it has had nothing to do. */
  restedMs(nowMs: number): number {
    return this.state === "idle" ? nowMs - this.#freeSinceMs : 0;
  }

  run<T>(expectedMs: number, work: (session: InferenceSession) => Promise<T>): InstanceRun<T> {
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

  async #ended(session: InferenceSession, result: Promise<unknown>): Promise<RunDuration> {
    let thrown: unknown;
    try {
      await result;
    } catch (error) {
      thrown = error;
    }
    try {
      await session.idle();
    } catch {
      // The error reaches the caller of the run.
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

/** Reloads crashed instances. Calls `failed` with the reason if no instance is loaded or loading afterwards. */
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
