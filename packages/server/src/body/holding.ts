/** The slot and memory that a request holds until it ends, in any module. Disposes in reverse order, once. */
export class Holding implements Disposable {
  #held: Disposable[] = [];

  keep<T extends Disposable | undefined>(one: T): T {
    if (one) this.#held.push(one);
    return one;
  }

  /** Everything held so far, which the receiver must dispose of from now on. */
  handOver(): Disposable {
    const given = new Holding();
    given.#held = this.#held;
    this.#held = [];
    return given;
  }

  [Symbol.dispose](): void {
    for (let last = this.#held.pop(); last; last = this.#held.pop()) last[Symbol.dispose]();
  }
}
