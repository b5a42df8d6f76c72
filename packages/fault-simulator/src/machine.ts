import type { Clock, Random } from "@longshore/core";
import type { VirtualClock } from "@longshore/lab";
import { randomFor } from "./seeds.ts";

/** The state of a simulated process. */
export type MachineState = "running" | "frozen" | "dead";

/**
 * One life of a simulated process: a clock of its own over the time of the world. A restart is another machine of the same
 * name. No work of a dead machine runs again; work that is due while it is frozen runs when it thaws.
 */
export interface Machine {
  readonly name: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly state: MachineState;
  /** Timers that were set and neither fired nor cancelled. */
  readonly armed: number;
  /** Runs `work` for this machine: at once, after the thaw, or never. */
  deliver(work: () => void): void;
  freeze(): void;
  thaw(): void;
  kill(): void;
  /** Moves the machine's idea of the time of day. */
  jumpWall(byMs: number): void;
  /** Called once when the machine dies; at once where it is dead. Dispose to forget. */
  onDeath(told: () => void): Disposable;
}

/** A timer of a machine. A class, because a world makes thousands. */
class MachineTimer implements Disposable {
  /** The timer of the world that it waits for. */
  within: Disposable | undefined;
  readonly #armed: Set<MachineTimer>;
  readonly #fire: () => void;

  constructor(armed: Set<MachineTimer>, fire: () => void) {
    this.#armed = armed;
    this.#fire = fire;
  }

  /** Does its work, unless it was disposed or has done it. */
  fire(): void {
    if (this.#armed.delete(this)) this.#fire();
  }

  [Symbol.dispose](): void {
    if (this.#armed.delete(this)) this.within?.[Symbol.dispose]();
  }
}

/** A machine that starts now. `life` counts its starts, so that each life draws again. */
export function machine(world: VirtualClock, seed: number, name: string, life: number): Machine {
  let state: MachineState = "running";
  let wallOffsetMs = 0;
  const timers = new Set<MachineTimer>();
  const waiting: (() => void)[] = [];
  const mourners = new Set<() => void>();

  function deliver(work: () => void): void {
    if (state === "running") work();
    else if (state === "frozen") waiting.push(work);
  }

  return {
    name,
    random: randomFor(seed, `${name} ${life}`),
    clock: {
      nowMs: () => world.nowMs(),
      wallMs: () => world.wallMs() + wallOffsetMs,
      timer(delayMs, fire) {
        const timer = new MachineTimer(timers, fire);
        timer.within = world.timer(delayMs, () => {
          if (state === "running") timer.fire();
          else deliver(() => timer.fire());
        });
        timers.add(timer);
        return timer;
      },
    },
    get state() {
      return state;
    },
    get armed() {
      return timers.size;
    },
    deliver,
    freeze() {
      if (state === "running") state = "frozen";
    },
    thaw() {
      if (state !== "frozen") return;
      state = "running";
      // One after another, with all that follows from each before the next, as events come from an operating system.
      for (const work of waiting.splice(0)) world.timer(0, () => deliver(work));
    },
    kill() {
      if (state === "dead") return;
      state = "dead";
      for (const timer of timers) timer[Symbol.dispose]();
      timers.clear();
      waiting.length = 0;
      for (const told of mourners) told();
      mourners.clear();
    },
    jumpWall(byMs) {
      wallOffsetMs += byMs;
    },
    onDeath(told) {
      if (state === "dead") told();
      else mourners.add(told);
      return { [Symbol.dispose]: () => void mourners.delete(told) };
    },
  };
}
