import { type Json, LongshoreError } from "../../words/base/index.ts";
import { exactly, printable, read, type Reader } from "../../wire/protocol/index.ts";
import { canonicalJson, checkSignature, type KeyRing, signatureFrom } from "../signed/index.ts";
import { instant } from "./entry.ts";
import { seenSerials } from "./seen-serials.ts";

/** The operator's statement about an alias of models. Followers parse the alias itself. */
export interface AliasEntry {
  readonly schemaVersion: 1;
  /** Milliseconds since the Unix epoch. The entry holds from the first until just before the second. */
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** Its `name` and `revision` are read here: a revision older than one already seen is refused. */
  readonly alias: Json;
}

const entryFrom: Reader<AliasEntry> = exactly({
  schemaVersion: read.readWord(1),
  notBeforeMs: instant,
  notAfterMs: instant,
  alias: read.anyJson(8),
});

const recordFrom = exactly({
  alias: exactly({ body: entryFrom, signature: read.optional(signatureFrom) }),
});

/** Maximum of aliases. More are refused. */
const maxAliases = 1024;
/** Maximum length of a record, in characters. */
const maxRecordLength = 65_536;
/** Prefix of the IDs of alias records. */
const prefix = "alias ";

/** An accepted alias. */
export interface KeptAlias {
  readonly raw: Json;
  readonly entry: AliasEntry;
  readonly text: string;
  readonly revision: number;
}

/** The operator's accepted aliases, under IDs that no endpoint can have. */
export interface AliasRecords {
  readonly kept: ReadonlyMap<string, KeptAlias>;
  /** All revisions ever seen, by ID. */
  readonly revisions: ReadonlyMap<string, number>;
  /** Returns the ID. Throws `invalid-input`, `not-permitted` or `memory-limit`. */
  take(raw: unknown): Promise<string>;
  drop(id: string): void;
  /** Takes over a revision from before a restart. */
  remember(id: string, revision: number): void;
}

/** The ID that an alias record claims; undefined for any other record. */
export function claimedAlias(record: unknown): string | undefined {
  const signed = typeof record === "object" && record !== null ? read.own(record, "alias") : undefined;
  if (typeof signed !== "object" || signed === null) return undefined;
  const body = read.own(signed, "body");
  const alias = typeof body === "object" && body !== null ? read.own(body, "alias") : undefined;
  const name = typeof alias === "object" && alias !== null ? read.own(alias, "name") : undefined;
  return `${prefix}${typeof name === "string" ? printable(name) : "?"}`;
}

/** Whether an ID belongs to an alias. */
export function isAliasId(id: string): boolean {
  return id.startsWith(prefix);
}

/** Starts empty. Without keys of an operator no alias is accepted, because an alias redirects every request for its name. */
export function aliasRecords(ring: KeyRing | undefined): AliasRecords {
  const kept = new Map<string, KeptAlias>();
  const revisions = seenSerials("revision", kept, 4 * maxAliases);
  const refuse = (id: string, why: string): never => {
    throw new LongshoreError("not-permitted", "identify", `${id} is not believed: ${why}`);
  };
  return {
    kept,
    revisions: revisions.all,
    remember: revisions.remember,
    drop: (id) => void kept.delete(id),
    async take(raw) {
      const { body, signature } = recordFrom(raw, "the record").alias;
      const text = canonicalJson(raw as Json);
      const alias = read.objectAt(body.alias, "the record.alias.body.alias");
      const name = read.readText(128)(read.own(alias, "name"), "the name of the alias");
      const revision = read.readWhole(1)(read.own(alias, "revision"), "the revision of the alias");
      const id = prefix + name;
      if (kept.get(id)?.text === text) return id;
      if (body.notAfterMs <= body.notBeforeMs) refuse(id, "its time ends before it begins");
      if (text.length > maxRecordLength || (!kept.has(id) && kept.size >= maxAliases)) {
        const limits = `${maxAliases} aliases of ${maxRecordLength} characters are kept at most`;
        throw new LongshoreError("memory-limit", "resolve", `${id}: ${limits}`);
      }
      if (!ring) return refuse(id, "there are no keys of the operator here");
      // Entries are plain data.
      await checkSignature(
        "alias entry",
        { body: body as unknown as Json, ...(signature ? { signature } : {}) },
        ring,
      );
      const before = kept.get(id);
      const same = (): boolean => !before || canonicalJson(before.entry.alias) === canonicalJson(body.alias);
      const why = revisions.against(id, revision, same);
      if (why !== undefined) refuse(id, why);
      kept.set(id, { raw: raw as Json, entry: body, text, revision });
      revisions.remember(id, revision);
      return id;
    },
  };
}
