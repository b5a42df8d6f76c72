import type { EndpointState } from "./endpoint-state.ts";

/** The tables of the links to the endpoints that decisions consider. */
export interface LinkTables {
  /** Whether `refreshOne` would change anything. */
  stale(nowMs: number): boolean;
  /**
   * Computes the table of one link that needs it. Returns whether more need it. Each takes a few milliseconds, so they are computed one at
   * a time and rarely while a request waits.
   */
  refreshOne(nowMs: number): boolean;
}

/** The links of the endpoints that `tables` consider. */
export function linkTables(tables: { readonly looked: Iterable<EndpointState> }): LinkTables {
  return {
    stale(nowMs) {
      for (const { link } of tables.looked) if (link.stale(nowMs)) return true;
      return false;
    },
    refreshOne(nowMs) {
      let stalest: EndpointState | undefined;
      let stale = 0;
      for (const endpointState of tables.looked) {
        if (!endpointState.link.stale(nowMs)) continue;
        stale++;
        if (!stalest || endpointState.link.table.atMs < stalest.link.table.atMs) stalest = endpointState;
      }
      if (!stalest) return false;
      stalest.link.refresh(nowMs);
      return stale > 1;
    },
  };
}
