import { LongshoreError, type EndpointId, type Json, type TrustLevel } from "../../words/base/index.ts";
import type { CodecId } from "../../words/codec/index.ts";
import type { EndpointInfo } from "../../wire/endpoint/index.ts";
import { canonicalJson, checkSignature, type KeyRing, type Signed } from "../signed/index.ts";
import { type DirectoryEntry, type DirectoryRecord, entryJson, recordFrom } from "./entry.ts";
import { narrowed } from "./narrow.ts";
import { seenSerials } from "./seen-serials.ts";

/** The most characters of one record in canonical JSON. */
const maxRecordLength = 262_144;

/** How records are believed. */
export interface RecordRules {
  /** The operator's keys. Undefined: nothing is proved by signatures here. */
  readonly ring?: KeyRing;
  /**
   * What an entry without signature may claim at most. Default: nothing, since it is refused, where there are keys; else
   * `listed`, as for any address that somebody wrote down.
   */
  readonly unsignedTrust?: TrustLevel;
  /** Codecs of this platform, which our own servers take. */
  readonly codecs: readonly CodecId[];
  /** Records that are kept; more are refused. Default 20,000. */
  readonly maxRecords?: number;
}

/** A record that is believed. */
export interface Kept {
  readonly record: DirectoryRecord;
  readonly entry: DirectoryEntry;
  readonly info: EndpointInfo;
  /** The record as it came, to tell a new one from the same again. */
  readonly text: string;
}

/** The records that are believed, by id, and the serials that were ever seen. */
export interface Records {
  readonly kept: ReadonlyMap<EndpointId, Kept>;
  /** The operator's words that are believed, those included about endpoints that are not kept, since nobody says where they are. */
  readonly words: ReadonlyMap<EndpointId, Signed<DirectoryEntry>>;
  /** Serials of signed entries, those of endpoints that are gone included: they cannot come back with an older entry. */
  readonly serials: ReadonlyMap<EndpointId, number>;
  /** The record in `kept`. Throws `invalid-input`, `not-permitted`, `invalid-configuration` or `memory-limit`. */
  take(raw: unknown): Promise<Kept>;
  drop(id: EndpointId): void;
  /** Takes over a serial that was seen before a restart. */
  remember(id: EndpointId, serial: number): void;
}

function refusedEntry(id: EndpointId, why: string): LongshoreError {
  return new LongshoreError("not-permitted", "identify", `the entry of ${id} is not believed: ${why}`);
}

/** Starts without records. */
export function recordsOf({ ring, unsignedTrust, codecs, maxRecords = 20_000 }: RecordRules): Records {
  const kept = new Map<EndpointId, Kept>();
  const words = new Map<EndpointId, Signed<DirectoryEntry>>();
  const serials = seenSerials("serial", words, 4 * maxRecords);
  const mostUnsigned = unsignedTrust ?? (ring ? undefined : "listed");

  /** What the entry may claim at most. Throws when it is not believed. */
  async function proved({ signed }: DirectoryRecord): Promise<TrustLevel> {
    const { body } = signed;
    const { id, serial } = body;
    if (!ring || !signed.signature) {
      if (mostUnsigned === undefined) throw refusedEntry(id, "it is not signed");
      if (ring && serials.all.has(id)) throw refusedEntry(id, "it is not signed, and one before was");
      return mostUnsigned;
    }
    await checkSignature("directory entry", { body: entryJson(body), signature: signed.signature }, ring);
    const before = words.get(id);
    const same = (): boolean =>
      before === undefined || canonicalJson(entryJson(before.body)) === canonicalJson(entryJson(body));
    const why = serials.against(id, serial, same);
    if (why !== undefined) throw refusedEntry(id, why);
    return "vouched";
  }

  return {
    kept,
    words,
    serials: serials.all,
    remember: serials.remember,
    async take(raw) {
      const record = recordFrom(raw, "the record");
      const { id, serial } = record.signed.body;
      const text = canonicalJson(raw as Json);
      const before = kept.get(id);
      if (before?.text === text) return before;
      if (text.length > maxRecordLength) {
        throw new LongshoreError(
          "memory-limit",
          "resolve",
          `the record of ${id} is longer than ${maxRecordLength} characters`,
        );
      }
      if (!words.has(id) && words.size >= maxRecords) {
        throw new LongshoreError(
          "memory-limit",
          "resolve",
          `${id} is one more than the ${maxRecords} endpoints that are kept`,
        );
      }
      const mostTrust = await proved(record);
      const entry = record.signed.body;
      // Whatever becomes of the endpoint: an older word cannot come back.
      words.set(id, record.signed);
      if (record.signed.signature && ring) serials.remember(id, serial);
      let info: EndpointInfo;
      try {
        info = narrowed(entry, record.statement, mostTrust, codecs);
      } catch (thrown) {
        // Whatever was known before does not hold any more: the endpoint itself, or its operator, says otherwise.
        kept.delete(id);
        throw thrown;
      }
      // Endpoint information is plain data.
      const same =
        before && canonicalJson(before.info as unknown as Json) === canonicalJson(info as unknown as Json);
      const now: Kept = { record, entry, info: same ? before.info : info, text };
      kept.set(id, now);
      return now;
    },
    drop(id) {
      kept.delete(id);
      words.delete(id);
    },
  };
}
