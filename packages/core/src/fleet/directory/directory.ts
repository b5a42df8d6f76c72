import {
  type Clock,
  type EndpointId,
  type Json,
  LongshoreError,
  type Observer,
} from "../../words/base/index.ts";
import type { EndpointInfo } from "../../wire/endpoint/index.ts";
import { read } from "../../wire/protocol/index.ts";
import type { Signed } from "../signed/index.ts";
import { aliasRecords, claimedAlias, isAliasId, type KeptAlias } from "./alias-records.ts";
import { claimedId, type DirectoryEntry } from "./entry.ts";
import { type AcceptedRecord, type RecordRules, recordsOf } from "./records.ts";
import type { Directory, DirectorySnapshot } from "./seam.ts";
import type { DirectoryMemory, RecordSink, RecordSource } from "./source.ts";
import { unlistedRecords } from "./unlisted.ts";

/*
 * A directory must not be a single point of failure. The obvious answer, one query per request, makes it one. So endpoints are read ahead
 * of time and kept here (and on disk, if the caller gives a memory). If the source is gone, only the age changes. Invariants: the entries
 * always match some state that the source once reported and that was accepted record by record; one bad record does not affect the others;
 * an endpoint is never listed outside of its entry's time; nothing is listed that was not confirmed for `maxAgeMs`.
 */

/** Parts of a directory. */
export interface DirectoryParts extends RecordRules {
  readonly source: RecordSource;
  readonly clock: Clock;
  readonly observer: Observer;
  /** Default: a restart begins empty. */
  readonly memory?: DirectoryMemory;
  /** How long the last known state is used without its source, in milliseconds. Default a day. */
  readonly maxAgeMs?: number;
}

/** A directory that continues with its last known state. */
export interface KeptDirectory extends Directory, AsyncDisposable {
  /** Resolves after the first read of the source, or after it failed and the stored state was loaded. Never rejects. */
  readonly ready: Promise<void>;
  aliases(): readonly Json[];
  /** The operator's current entry of an endpoint, even if the endpoint is not listed because its address is unknown. Undefined: none. */
  wordOn(id: EndpointId): Signed<DirectoryEntry> | undefined;
}

/** A day: longer than any unnoticed outage. */
const dayMs = 86_400_000;
/** Delay before changes are stored together, in milliseconds. */
const saveDelayMs = 1000;
/** A stored state that is older, in milliseconds, may lack endpoints: it is stored more often, unless the disk is full. */
const completeMs = 120_000;
/** Interval at which the age is stored without changes, in milliseconds. */
const saveEveryMs = 60_000;
/** Longest time between two checks of entries that start or end, in milliseconds: the wall clock may jump. */
const lookEveryMs = 60_000;
/** Maximum number of consecutive changes shown together: each update reads all entries. */
const mostTogether = 256;

const savedState = read.fields({
  schemaVersion: read.readWord(1),
  confirmedWallMs: read.readNumber(0),
  records: read.list((value) => value, 100_000),
  serials: read.dictionary(read.readWhole(1), 500_000),
});

/** The ID that a record claims. */
const idIn = (raw: unknown): EndpointId => claimedAlias(raw) ?? claimedId(raw);

/** Whether a stored record is of an endpoint that had joined. */
const isMember = (raw: unknown): boolean => typeof raw === "object" && raw !== null && "statement" in raw;

/** The listed records: accepted, and within their time. */
type Shown = ReadonlyMap<EndpointId, AcceptedRecord>;

/** Opens a directory over a source. Dispose to stop. */
export function createDirectory(parts: DirectoryParts): KeptDirectory {
  const { source, clock, observer, memory, maxAgeMs = dayMs } = parts;
  const records = recordsOf(parts);
  const named = aliasRecords(parts.ring);
  const watchers = new Set<() => void>();
  const unlisted = unlistedRecords();
  /** Entries and aliases past their end, with a text for display: the operator has to sign them again. */
  let ended: ReadonlyMap<EndpointId, string> = new Map();
  let confirmedAtMs = -Infinity;
  let problem: string | undefined;
  let tooOld = false;
  /** The source has answered. */
  let wasRead = false;
  /** The state of the source. */
  let startsAnew = false;
  /** False if the stored state could not be read: it may hold serials that another version understands, so it is not replaced. */
  let stores = memory !== undefined;
  /** The stored state lists every endpoint that was there. */
  let remembered = false;
  let shown: Shown = new Map();
  let entries: readonly EndpointInfo[] = [];
  let refused: DirectorySnapshot["refused"];
  let aliases: ReadonlyMap<string, KeptAlias> = new Map();
  let looking: Disposable | undefined;
  let saving: Disposable | undefined;
  let savedAtMs = -Infinity;
  let saved: Promise<void> = Promise.resolve();
  let closed = false;
  /** Number of changes from the source not yet read, followed by the changes read but not yet shown. */
  let waiting = 0;
  let due:
    | { readonly behindMs: number; readonly gone: string | undefined; readonly words: number }
    | undefined;
  let open: () => void = () => undefined;
  const ready = new Promise<void>((resolve) => {
    open = resolve;
  });

  const ageMs = (): number => Math.max(0, clock.nowMs() - confirmedAtMs);

  function changed(
    id: EndpointId,
    change: "added" | "changed" | "removed" | "awaited" | "refused",
    serial: number,
    behindMs: number,
    because: string,
  ): void {
    observer.record({
      kind: "directory-changed",
      atMs: clock.nowMs(),
      directory: source.name,
      endpoint: id,
      change,
      serial,
      behindMs,
      because,
    });
  }

  function state(word: "in touch" | "out of touch" | "too old" | "not kept", because: string): void {
    observer.record({
      kind: "directory-state",
      atMs: clock.nowMs(),
      directory: source.name,
      state: word,
      ageMs: ageMs(),
      entries: entries.length,
      because,
    });
  }

  /** The records within their time now, and the next time at which that changes. */
  function inTime(): {
    readonly now: Shown;
    readonly names: ReadonlyMap<string, KeptAlias>;
    readonly over: ReadonlyMap<EndpointId, string>;
    readonly nextMs: number;
  } {
    const wallMs = clock.wallMs();
    const over = new Map<EndpointId, string>();
    const now = new Map<EndpointId, AcceptedRecord>();
    const leftMs = maxAgeMs - ageMs();
    tooOld = records.kept.size + named.kept.size > 0 && leftMs <= 0;
    let nextMs = Math.min(lookEveryMs, leftMs > 0 ? leftMs : Infinity);
    const holds = (
      id: EndpointId,
      { entry: { notBeforeMs, notAfterMs } }: AcceptedRecord | KeptAlias,
    ): boolean => {
      if (wallMs >= notAfterMs) over.set(id, `its time was over at ${new Date(notAfterMs).toISOString()}`);
      const edgeMs = wallMs < notBeforeMs ? notBeforeMs - wallMs : notAfterMs - wallMs;
      if (edgeMs > 0) nextMs = Math.min(nextMs, edgeMs);
      return !tooOld && wallMs >= notBeforeMs && wallMs < notAfterMs;
    };
    for (const [id, one] of records.kept) if (holds(id, one)) now.set(id, one);
    const names = new Map([...named.kept].filter(([id, one]) => holds(id, one)));
    return { now, names, over, nextMs };
  }

  /** The same for aliases. Returns whether anything changed. */
  function showAliases(names: ReadonlyMap<string, KeptAlias>, behindMs: number): boolean {
    let differs = false;
    for (const [id, one] of names) {
      const before = aliases.get(id);
      if (before === one) continue;
      differs = true;
      changed(id, before ? "changed" : "added", one.revision, behindMs, "the operator's entry holds");
    }
    for (const [id, { revision }] of aliases) {
      if (names.has(id)) continue;
      differs = true;
      const because = named.kept.has(id) ? "its entry is out of its time" : "it is not listed any more";
      changed(id, "removed", revision, behindMs, because);
    }
    aliases = names;
    return differs;
  }

  /** Shows the current records, and notifies watchers of a change. */
  function show(behindMs: number): void {
    if (closed) return;
    const wasTooOld = tooOld;
    const { now, names, over, nextMs } = inTime();
    for (const [id, because] of over) {
      // Expired records are reported as removed.
      if (!ended.has(id) && !shown.has(id) && !aliases.has(id)) changed(id, "refused", 0, behindMs, because);
    }
    ended = over;
    const wrong = new Map([...over, ...unlisted.refused]);
    const latest = [...wrong].at(-1);
    refused = latest && { count: wrong.size, because: `${latest[0]}: ${latest[1]}` };
    let differs = showAliases(names, behindMs);
    for (const [id, { entry, info }] of now) {
      const before = shown.get(id);
      if (before?.info === info) continue;
      differs = true;
      const because = before ? "its entry or its own word changed" : "its entry holds";
      changed(id, before ? "changed" : "added", entry.serial, behindMs, because);
    }
    for (const [id, { entry }] of shown) {
      if (now.has(id)) continue;
      differs = true;
      const because = tooOld
        ? "nothing was heard of it for too long"
        : records.kept.has(id)
          ? "its entry is out of its time"
          : "it is not listed any more";
      changed(id, "removed", entry.serial, behindMs, because);
    }
    shown = now;
    if (differs) entries = Array.from(now.values(), ({ info }) => info);
    if (tooOld && !wasTooOld)
      state("too old", `${source.name} was not in touch for ${Math.round(ageMs() / 1000)} s`);
    looking?.[Symbol.dispose]();
    looking = clock.timer(Math.max(1, nextMs), () => show(0));
    if (!differs) return;
    saveSoon();
    for (const watcher of watchers) watcher();
  }

  function saveSoon(): void {
    if (!memory || closed) return;
    // A member that is not stored yet is missed after a crash.
    saving ??= clock.timer(source.isOrigin ? 0 : saveDelayMs, () => {
      saved = saved.then(() => {
        saving = undefined;
        return save();
      });
    });
  }

  async function save(): Promise<void> {
    if (!memory || !stores || confirmedAtMs === -Infinity) return;
    savedAtMs = clock.nowMs();
    try {
      await memory.save({
        schemaVersion: 1,
        confirmedWallMs: Math.max(0, clock.wallMs() - ageMs()),
        // Records are plain data that came from JSON.
        records: [
          ...Array.from(
            records.words,
            ([id, signed]) => (records.kept.get(id)?.record ?? { signed }) as unknown as Json,
          ),
          ...Array.from(named.kept.values(), ({ raw }) => raw),
        ],
        serials: Object.fromEntries([...records.serials, ...named.revisions]),
      });
    } catch (thrown) {
      // A full disk loses the state for a restart and nothing now.
      state("not kept", LongshoreError.from(thrown, "resolve", "keeping the directory").message);
    }
  }

  async function take(raw: unknown, behindMs: number): Promise<EndpointId | undefined> {
    const id = idIn(raw);
    try {
      const taken = isAliasId(id) ? await named.take(raw) : (await records.take(raw)).info.id;
      unlisted.forget(taken);
      return taken;
    } catch (thrown) {
      const error = LongshoreError.from(thrown, "identify", "reading a record");
      const change = unlisted.note(id, error);
      // An awaited endpoint has an accepted entry.
      const serial = change === "awaited" ? (records.words.get(id)?.body.serial ?? 0) : 0;
      if (change) changed(id, change, serial, behindMs, error.message);
      return undefined;
    }
  }

  const settling = (): boolean => startsAnew || !wasRead;

  /** Runs `change`, and notifies watchers if the directory has settled by it. */
  function settle(change: () => void): void {
    const before = settling();
    change();
    if (before && !settling()) for (const watcher of watchers) watcher();
  }

  /** The source answered. Its changes are shown once no further one is waiting. */
  function touched(behindMs: number): void {
    confirmedAtMs = clock.nowMs();
    due = {
      behindMs: Math.max(behindMs, due?.behindMs ?? 0),
      gone: due?.gone ?? problem,
      words: 1 + (due?.words ?? 0),
    };
    problem = undefined;
  }

  function showDue(now = waiting === 0): void {
    if (!due || (!now && due.words < mostTogether)) return;
    const { behindMs, gone } = due;
    due = undefined;
    show(behindMs);
    settle(() => (wasRead = true));
    if (gone !== undefined) state("in touch", `after ${Math.round(behindMs / 1000)} s: ${gone}`);
    if (clock.nowMs() - savedAtMs >= saveEveryMs) saveSoon();
    open();
  }

  /** Age of the changes: 0 while the source answers. */
  const behind = (): number => (problem === undefined || confirmedAtMs === -Infinity ? 0 : ageMs());

  /** Changes from the source, in order: signatures are checked off the event loop. */
  let last: Promise<void> = restore();
  const then = (work: () => void | Promise<void>): void => {
    waiting++;
    last = last.then(async () => {
      waiting--;
      if (closed) return;
      await work();
      showDue();
    });
  };

  const sink: RecordSink = {
    all: (raws) =>
      then(async () => {
        const behindMs = behind();
        const there = new Set<EndpointId>();
        for (const raw of raws) {
          // A refused record does not remove the accepted one before it.
          there.add((await take(raw, behindMs)) ?? idIn(raw));
        }
        for (const id of records.words.keys()) if (!there.has(id)) records.drop(id);
        for (const id of named.kept.keys()) if (!there.has(id)) named.drop(id);
        unlisted.keep(there);
        touched(behindMs);
      }),
    put: (raw) =>
      then(async () => {
        const behindMs = behind();
        await take(raw, behindMs);
        touched(behindMs);
      }),
    drop: (id) =>
      then(() => {
        if (isAliasId(id)) named.drop(id);
        else records.drop(id);
        unlisted.forget(id);
        touched(behind());
      }),
    confirmed: () => then(() => touched(behind())),
    settling: (isSettling) => then(() => settle(() => (startsAnew = isSettling))),
    failed: (error) =>
      then(() => {
        showDue(true);
        const first = problem === undefined;
        problem = error.message;
        if (first) state("out of touch", error.message);
        open();
      }),
  };

  async function restore(): Promise<void> {
    if (!memory) return;
    try {
      const found = await memory.load();
      if (found === undefined) return;
      const state = savedState(found, "the kept state");
      for (const [id, serial] of Object.entries(state.serials)) {
        if (isAliasId(id)) named.remember(id, serial);
        else records.remember(id, serial);
      }
      let complete = source.isOrigin === true;
      for (const raw of state.records) {
        const taken = await take(raw, 0);
        // An entry without a statement is of an endpoint that was not there.
        if (taken === undefined && isMember(raw)) complete = false;
      }
      confirmedAtMs = clock.nowMs() - Math.max(0, clock.wallMs() - state.confirmedWallMs);
      problem = `${source.name} was not read yet`;
      show(behind());
      remembered = complete && ageMs() <= completeMs && [...records.kept.keys()].every((id) => shown.has(id));
      open();
    } catch (thrown) {
      stores = false;
      const { message } = LongshoreError.from(thrown, "resolve", "reading the kept directory");
      state("not kept", `${message}; it stays as it is, and nothing is kept until it is removed`);
    }
  }

  const following = source.follow(sink);
  return {
    ready,
    snapshot(): DirectorySnapshot {
      return {
        entries,
        ageMs: ageMs(),
        ...(settling() ? { settling: true, ...(remembered ? { remembered: true as const } : {}) } : {}),
        ...(problem === undefined ? {} : { problem }),
        ...(refused ? { refused } : {}),
      };
    },
    aliases: () => Array.from(aliases.values(), ({ entry }) => entry.alias),
    aliasRecords: () => Array.from(aliases.values(), ({ raw }) => raw),
    wordOn(id) {
      const signed = records.words.get(id);
      const wallMs = clock.wallMs();
      const holds = signed && wallMs >= signed.body.notBeforeMs && wallMs < signed.body.notAfterMs;
      return holds && ageMs() < maxAgeMs ? signed : undefined;
    },
    watch(changed) {
      const one = (): void => changed();
      watchers.add(one);
      return { [Symbol.dispose]: () => void watchers.delete(one) };
    },
    async [Symbol.asyncDispose]() {
      if (closed) return;
      await following[Symbol.asyncDispose]();
      await last;
      closed = true;
      open();
      looking?.[Symbol.dispose]();
      saving?.[Symbol.dispose]();
      await saved;
      // Stores the confirmations since the last write.
      await save();
      watchers.clear();
    },
  };
}
