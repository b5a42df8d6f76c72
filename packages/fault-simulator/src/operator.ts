import { createHmac } from "node:crypto";
import type { DirectoryEntry, KeyRing, Signed } from "@longshore/core";
import { entryJson, sign, type Signer } from "@longshore/core/internal";
import type { ServerSpec } from "./world-spec.ts";

/**
 * The operator of a world, who signs the entries of its servers. Signatures are keyed hashes, made at once: Ed25519 of the
 * platform runs on threads, whose order does not replay.
 */
export interface SimulatedOperator {
  /** The keys that are believed everywhere now. */
  readonly ring: KeyRing;
  /** The entry of a server, as it is signed now. */
  entryOf(server: ServerSpec): Promise<Signed<DirectoryEntry>>;
  /** Nobody believes the key any more that entries are signed with. */
  swapKey(): void;
  /** Entries are signed with the key that is believed. */
  signAnew(): void;
  /** The entry of a server ends at a time of day; Infinity: in the year 9999. It has a later serial than the one before. */
  endAt(server: string, wallMs: number): void;
}

const forever = 253_402_300_799_999;

/** A signer whose key is its name. */
function signerOf(key: string): Signer {
  return { key, sign: (message) => Promise.resolve(createHmac("sha512", key).update(message).digest()) };
}

/** An operator with one key. */
export function simulatedOperator(): SimulatedOperator {
  let believed = 1;
  let signing = 1;
  const keyOf = (number: number): string => `operator-key-${number}`;
  const entries = new Map<string, { readonly serial: number; readonly notAfterMs: number }>();
  return {
    ring: {
      get keys() {
        return [keyOf(believed)];
      },
      verify: async (key, message, signature) => {
        const wanted = await signerOf(key).sign(message);
        return Buffer.compare(wanted, signature) === 0;
      },
    },
    async entryOf({ name, tier, zone, trust }) {
      const { serial, notAfterMs } = entries.get(name) ?? { serial: 1, notAfterMs: forever };
      const body: DirectoryEntry = {
        schemaVersion: 1,
        id: name,
        // A new key signs all entries again.
        serial: serial + 1000 * signing,
        notBeforeMs: 0,
        notAfterMs,
        tier,
        zone,
        trust,
      };
      return { ...(await sign("directory entry", entryJson(body), signerOf(keyOf(signing)))), body };
    },
    swapKey: () => void (believed += 1),
    signAnew: () => void (signing = believed),
    endAt(server, wallMs) {
      const serial = (entries.get(server)?.serial ?? 1) + 1;
      entries.set(server, { serial, notAfterMs: Math.min(forever, Math.round(wallMs)) });
    },
  };
}
