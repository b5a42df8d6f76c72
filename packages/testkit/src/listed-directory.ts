import type { Directory, DirectorySnapshot, EndpointInfo } from "@longshore/core";

/** A directory that lists what a test says. */
export interface ListedDirectory extends Directory {
  /** From now on these alone. */
  list(...now: readonly EndpointInfo[]): void;
}

/** @param standing How fresh its entries are; by default news. */
export function listedDirectory(
  first: readonly EndpointInfo[],
  standing: Omit<DirectorySnapshot, "entries"> = { ageMs: 0 },
): ListedDirectory {
  let entries = first;
  const watchers = new Set<() => void>();
  return {
    snapshot: () => ({ ...standing, entries }),
    watch(changed) {
      watchers.add(changed);
      return { [Symbol.dispose]: () => void watchers.delete(changed) };
    },
    list(...now) {
      entries = now;
      for (const changed of watchers) changed();
    },
  };
}
