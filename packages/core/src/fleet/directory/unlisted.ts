import { dropOldest, type EndpointId, type LongshoreError } from "../../words/base/index.ts";

/** Records that brought no endpoint into the list as they were last read. */
export interface Unlisted {
  /** Those that are not believed, and why, the latest last. */
  readonly refused: ReadonlyMap<EndpointId, string>;
  /** Takes note of why one could not be listed. What of it is to be told: once for each wrong word, not each time that it is read. */
  note(id: EndpointId, error: LongshoreError): "awaited" | "refused" | undefined;
  forget(id: EndpointId): void;
  /** Forgets all that are not there any more. */
  keep(there: ReadonlySet<EndpointId>): void;
}

/** The most of those that are not believed. Those that are awaited are among the words that are kept. */
const maxRefused = 1024;

/** Starts with none. */
export function unlistedRecords(): Unlisted {
  const refused = new Map<EndpointId, string>();
  /** Believed, and nobody said yet where the endpoint is: it says so when it joins. */
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
      // Only `narrowed` says so, of an entry that is believed and has no address.
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
