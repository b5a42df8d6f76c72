/** Serials that only increase, by ID of their subject. An older statement cannot be replayed. */
export interface SeenSerials {
  /** Includes IDs that are gone. */
  readonly all: ReadonlyMap<string, number>;
  /** Records a serial. If there are too many, the oldest of those without a current record are dropped. */
  remember(id: string, serial: number): void;
  /** Why a statement with this serial is refused; undefined if it is accepted. `same`: whether it equals the previous one. */
  against(id: string, serial: number, same: () => boolean): string | undefined;
}

/**
 * Starts empty.
 *
 * @param what Name of the number in messages.
 * @param kept The current records: their serials are never dropped.
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
