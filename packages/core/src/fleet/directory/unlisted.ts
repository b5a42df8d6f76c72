import { dropOldest, type EndpointId, type LongshoreError } from "../../words/base/index.ts";

/** Records that put no endpoint into the list at their last reading. */
export interface Unlisted {
  /** Refused records with the reason, the latest last. */
  readonly refused: ReadonlyMap<EndpointId, string>;
  /** Records why an endpoint could not be listed. Returns the change to report: once for each reason, not for each reading. */
  note(id: EndpointId, error: LongshoreError): "awaited" | "refused" | undefined;
  forget(id: EndpointId): void;
  /** Forgets records that are no longer there. */
  keep(there: ReadonlySet<EndpointId>): void;
}

/** Maximum of refused records. Awaited ones are bounded by the accepted statements. */
const maxRefused = 1024;

/** Starts empty. */
export function unlistedRecords(): Unlisted {
  const refused = new Map<EndpointId, string>();
  /** Accepted entries without an address: the endpoint states it when it joins. */
  const awaited = new Set<EndpointId>();

  function forget(id: EndpointId): void {
    refused.delete(id);
    awaited.delete(id);
  }

  return {
    refused,
    note(id, { reason, message }) {
      const before = refused.get(id);
      refused.delete(id);
      // Only `narrowed` throws this, for an accepted entry without an address.
      if (reason === "invalid-configuration") {
        if (awaited.has(id)) return undefined;
        awaited.add(id);
        return "awaited";
      }
      refused.set(id, message);
      dropOldest(refused, maxRefused);
      return before === message ? undefined : "refused";
    },
    forget,
    keep(there) {
      for (const id of [...refused.keys(), ...awaited]) if (!there.has(id)) forget(id);
    },
  };
}
