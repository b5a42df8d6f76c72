/** Values by key, as many as fit into the given bytes; the one used least recently goes first. */
export interface AnswerStore<T> {
  readonly bytes: number;
  readonly entries: number;
  /** Also marks it as used. */
  get(key: string): T | undefined;
  /** @returns how many others had to go; -1 when it is larger than the whole store, and was not kept. */
  put(key: string, value: T, bytes: number): number;
  clear(): void;
}

/** An empty store for at most `maxBytes`, as the callers count them. */
export function answerStore<T>(maxBytes: number): AnswerStore<T> {
  // A Map gives its keys in the order of insertion, so a used one is deleted and inserted again.
  const all = new Map<string, { readonly value: T; readonly bytes: number }>();
  let held = 0;
  const remove = (key: string): void => {
    held -= all.get(key)?.bytes ?? 0;
    all.delete(key);
  };
  return {
    get bytes() {
      return held;
    },
    get entries() {
      return all.size;
    },
    get(key) {
      const found = all.get(key);
      if (!found) return undefined;
      all.delete(key);
      all.set(key, found);
      return found.value;
    },
    put(key, value, bytes) {
      if (bytes > maxBytes) return -1;
      remove(key);
      let gone = 0;
      for (const oldest of all.keys()) {
        if (held + bytes <= maxBytes) break;
        remove(oldest);
        gone++;
      }
      all.set(key, { value, bytes });
      held += bytes;
      return gone;
    },
    clear() {
      all.clear();
      held = 0;
    },
  };
}
