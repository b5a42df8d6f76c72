/** The position of a value in a chain. */
export interface Chained<T> {
  readonly value: T;
  /** The one that came after it; undefined for the last one, and for one that was taken out. */
  readonly after: Chained<T> | undefined;
}

interface OwnChained<T> extends Chained<T> {
  before: OwnChained<T> | undefined;
  after: OwnChained<T> | undefined;
  chain: Chain<T> | undefined;
}

/**
 * Values that come and go all the time, in the order in which they came. A `Set` allocates a new table every few changes, and a
 * dead table in old memory keeps all later ones and their content alive: objects of one request would then outlive it until a
 * full collection. Here nothing is left of what has gone.
 */
export class Chain<T> {
  #first: OwnChained<T> | undefined;
  #last: OwnChained<T> | undefined;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get first(): Chained<T> | undefined {
    return this.#first;
  }

  /** Puts a value at the end. */
  add(value: T): Chained<T> {
    const before = this.#last;
    const link: OwnChained<T> = { value, before, after: undefined, chain: this };
    if (before) before.after = link;
    else this.#first = link;
    this.#last = link;
    this.#size++;
    return link;
  }

  /** Takes a value out; false where it is not there any more. */
  remove(link: Chained<T>): boolean {
    const own = link as OwnChained<T>;
    if (own.chain !== this) return false;
    const { before, after } = own;
    if (before) before.after = after;
    else this.#first = after;
    if (after) after.before = before;
    else this.#last = before;
    // Nor does what was taken out keep others alive.
    own.before = own.after = own.chain = undefined;
    this.#size--;
    return true;
  }
}
