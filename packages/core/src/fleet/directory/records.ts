import { LongshoreError, type EndpointId, type Json, type TrustLevel } from "../../words/base/index.ts";
import type { CodecId } from "../../words/codec/index.ts";
import type { EndpointInfo } from "../../wire/endpoint/index.ts";
import { canonicalJson, checkSignature, type KeyRing, type Signed } from "../signed/index.ts";
import { type DirectoryEntry, type DirectoryRecord, entryJson, recordFrom } from "./entry.ts";
import { narrowed } from "./narrow.ts";
import { seenSerials } from "./seen-serials.ts";

/** Maximum length of one record in canonical JSON, in characters. */
const maxRecordLength = 262_144;

/** Rules for trusting records. */
export interface RecordRules {
  /** The operator's keys. Undefined: signatures prove nothing here. */
  readonly ring?: KeyRing;
  /**
   * Maximum trust of an entry without signature. Default: with keys such an entry is refused; without keys `listed`, as for any configured
   * address.
   */
  readonly unsignedTrust?: TrustLevel;
  /** Codecs of this platform, which Longshore servers accept. */
  readonly codecs: readonly CodecId[];
  /** Maximum of records; more are refused. Default 20,000. */
  readonly maxRecords?: number;
}

/** An accepted record. */
export interface AcceptedRecord {
  readonly record: DirectoryRecord;
  readonly entry: DirectoryEntry;
  readonly info: EndpointInfo;
  /** The original text of the record, to detect a repetition. */
  readonly text: string;
}

/** The accepted records by ID, and all serials ever seen. */
export interface Records {
  readonly kept: ReadonlyMap<EndpointId, AcceptedRecord>;
  /** The operator's accepted entries, including those of endpoints that are not listed because their address is unknown. */
  readonly words: ReadonlyMap<EndpointId, Signed<DirectoryEntry>>;
  /** Serials of signed entries, including those of removed endpoints: they cannot return with an older entry. */
  readonly serials: ReadonlyMap<EndpointId, number>;
  /** Returns the accepted record. Throws `invalid-input`, `not-permitted`, `invalid-configuration` or `memory-limit`. */
  take(raw: unknown): Promise<AcceptedRecord>;
  drop(id: EndpointId): void;
  /** Takes over a serial from before a restart. */
  remember(id: EndpointId, serial: number): void;
}

function refusedEntry(id: EndpointId, why: string): LongshoreError {
  return new LongshoreError("not-permitted", "identify", `the entry of ${id} is not believed: ${why}`);
}

/** Starts without records. */
export function recordsOf({ ring, unsignedTrust, codecs, maxRecords = 20_000 }: RecordRules): Records {
  const kept = new Map<EndpointId, AcceptedRecord>();
  const words = new Map<EndpointId, Signed<DirectoryEntry>>();
  const serials = seenSerials("serial", words, 4 * maxRecords);
  const mostUnsigned = unsignedTrust ?? (ring ? undefined : "listed");

  /** Maximum trust of the entry. Throws if it is not accepted. */
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
      // Recorded in any case, so that an older entry cannot return.
      words.set(id, record.signed);
      if (record.signed.signature && ring) serials.remember(id, serial);
      let info: EndpointInfo;
      try {
        info = narrowed(entry, record.statement, mostTrust, codecs);
      } catch (thrown) {
        // The earlier record is void: the endpoint itself, or its operator, has replaced it.
        kept.delete(id);
        throw thrown;
      }
      // Endpoint information is plain data.
      const same =
        before && canonicalJson(before.info as unknown as Json) === canonicalJson(info as unknown as Json);
      const now: AcceptedRecord = { record, entry, info: same ? before.info : info, text };
      kept.set(id, now);
      return now;
    },
    drop(id) {
      kept.delete(id);
      words.delete(id);
    },
  };
}
