/** Numbers that only go up, by the id of who is told of: what was said before cannot come back. */
export interface SeenSerials {
  /** Those of ids that are gone included. */
  readonly all: ReadonlyMap<string, number>;
  /** Takes over one that was seen. When there are too many, the oldest of those that are not kept go. */
  remember(id: string, serial: number): void;
  /** Why a word with this number is not believed; undefined where it is. `same`: it says what the one before said. */
  against(id: string, serial: number, same: () => boolean): string | undefined;
}

/**
 * Starts without any.
 *
 * @param what What the number is called, for people.
 * @param kept What is believed now: its numbers are never forgotten.
 */
export function seenSerials(
  what: "serial" | "revision",
  kept: ReadonlyMap<string, unknown>,
  most: number,
): SeenSerials {
  const all = new Map<string, number>();
  return {
    all,
    remember(id, serial) {
      all.delete(id);
      all.set(id, serial);
      if (all.size <= most) return;
      for (const oldest of all.keys()) {
        if (all.size <= most) break;
        if (!kept.has(oldest)) all.delete(oldest);
      }
    },
    against(id, serial, same) {
      const newest = all.get(id) ?? 0;
      if (serial < newest) return `${what} ${serial} is older than ${newest}, which was seen`;
      if (serial > newest || same()) return undefined;
      return `it differs from the one before and has the same ${what} ${serial}`;
    },
  };
}
