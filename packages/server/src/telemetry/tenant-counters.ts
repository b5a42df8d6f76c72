import type { Observer } from "@longshore/core";
import { PassingMap } from "@longshore/core/internal";
import { type Counters, createCounters } from "./counters.ts";

/** Counters of each tenant's own requests: a tenant does not see the load of others. */
export interface TenantCounters {
  readonly observer: Observer;
  /** From zero for a tenant without a request so far. Batches are left out: several tenants may share one. */
  of(tenant: string): Counters;
}

/** The most tenants that are counted separately. */
const maxTenants = 4096;
/** The most requests that are followed at a time. */
const maxOpen = 65_536;

/** Counters by tenant, from the events of a server: which request is whose, its exchange says first. */
export function createTenantCounters(wallMs: () => number): TenantCounters {
  const tenants = new Map<string, Counters>();
  const openCalls = new PassingMap<string, Counters>();
  const of = (tenant: string): Counters => tenants.get(tenant) ?? createCounters(wallMs);
  const kept = (tenant: string): Counters => {
    const counters = of(tenant);
    if (tenants.size < maxTenants) tenants.set(tenant, counters);
    return counters;
  };
  return {
    of,
    observer: {
      record(event) {
        switch (event.kind) {
          case "exchange-began":
            if (openCalls.size < maxOpen) openCalls.set(event.callId, kept(event.tenant));
            return;
          case "exchange-ended":
            openCalls.delete(event.callId);
            return;
          case "batch-started": {
            const first = openCalls.get(event.callIds[0] ?? "");
            if (event.callIds.every((id) => openCalls.get(id) === first)) {
              first?.observer.record(event);
              return;
            }
            // A tenant sees its own part of a batch.
            const whose = new Set(event.callIds.map((id) => openCalls.get(id)));
            for (const counters of whose) {
              const callIds = event.callIds.filter((id) => openCalls.get(id) === counters);
              counters?.observer.record({ ...event, callIds });
            }
            return;
          }
          case "inference-began":
          case "inference-ended":
          case "cache-asked":
            return openCalls.get(event.callId)?.observer.record(event);
          default:
        }
      },
    },
  };
}
