/**
 * Calls a function once, however often it is disposed. A class, because every request takes several: a literal
 * with a computed `[Symbol.dispose]` sends JavaScript engines down a slow path each time that it is evaluated.
 */
export class Once implements Disposable {
  #end: (() => void) | undefined;

  constructor(end: () => void) {
    this.#end = end;
  }

  [Symbol.dispose](): void {
    const end = this.#end;
    this.#end = undefined;
    end?.();
  }
}
