import { Chain } from "./chain.ts";

/** Counts work that has begun, for code that must wait until all of it has ended. */
export class UnderWay {
  readonly #all = new Chain<Promise<unknown>>();

  get size(): number {
    return this.#all.size;
  }

  /** Counts this work until it ends, whichever way; then calls `ended`. Returns the work. */
  track<T>(work: Promise<T>, ended?: () => void): Promise<T> {
    const link = this.#all.add(work);
    const over = (): void => {
      this.#all.remove(link);
      ended?.();
    };
    work.then(over, over);
    return work;
  }

  /** Resolves when all that is under way now has ended. */
  async over(): Promise<void> {
    const all: Promise<unknown>[] = [];
    for (let link = this.#all.first; link; link = link.after) all.push(link.value);
    await Promise.allSettled(all);
  }

  /** Resolves when nothing is under way, including work that began meanwhile. */
  async none(): Promise<void> {
    while (this.size > 0) await this.over();
  }
}
