/** So many keys that have gone stay in the table at least before it is made again. */
const leastGone = 48;

/**
 * A map whose keys come and go all the time. Its content lies in a `Map` that is replaced now and then: a map with many
 * deletions keeps the deleted entries in memory (see `Chain`).
 */
export class PassingMap<K, V extends object | number | string> {
  #table = new Map<K, V | undefined>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  has(key: K): boolean {
    return this.#table.get(key) !== undefined;
  }

  get(key: K): V | undefined {
    return this.#table.get(key);
  }

  set(key: K, value: V): void {
    if (!this.has(key)) this.#size++;
    this.#table.set(key, value);
  }

  /** False where it was not there. */
  delete(key: K): boolean {
    if (!this.has(key)) return false;
    this.#table.set(key, undefined);
    this.#size--;
    if (this.#table.size - this.#size > leastGone + 3 * this.#size) {
      const table = new Map<K, V | undefined>();
      for (const [kept, value] of this.#table) if (value !== undefined) table.set(kept, value);
      this.#table = table;
    }
    return true;
  }

  /**
   * The entries in the order in which they came. A key that has gone and come again has its first position until the map is
   * replaced.
   */
  *entries(): IterableIterator<[K, V]> {
    for (const [key, value] of this.#table) if (value !== undefined) yield [key, value];
  }
}
