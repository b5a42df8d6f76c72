/**
 * Keeps learned beliefs over a restart: rates and round trips of links, run times of servers relative to their predictions, and the speed
 * of this device. A kept belief is a prior. New evidence replaces it, and its weight falls with age. Keys name the subject of a belief. The
 * file contains nothing about requests.
 */
import { type Clock, LongshoreError } from "../../words/base/index.ts";
import { read, type Reader } from "../../wire/protocol/index.ts";
import type { SpeedMemory } from "./device-speed.ts";
import type { AgedLinkMemory, LinkMemory } from "./link-memory.ts";

/** The current beliefs. */
export interface BeliefsNow {
  /** Keyed by ID and address of the endpoint. */
  readonly links: ReadonlyMap<string, LinkMemory>;
  /** Run time over predicted time, keyed by ID of the endpoint. */
  readonly servers: ReadonlyMap<string, number>;
  readonly speeds: readonly SpeedMemory[];
}

/** Beliefs of an earlier process, and those that this process leaves to the next. */
export interface BeliefMemory {
  link(key: string): AgedLinkMemory | undefined;
  server(id: string): { readonly ratio: number; readonly ageMs: number } | undefined;
  readonly speeds: readonly (SpeedMemory & { readonly ageMs: number })[];
  /** Registers the function that returns the current beliefs. It is called for each write. */
  follow(now: () => Partial<BeliefsNow>): void;
}

/** The plain data of the file. */
export interface BeliefState {
  readonly schemaVersion: 1;
  readonly links: Readonly<Record<string, LinkMemory & Seen>>;
  readonly servers: Readonly<Record<string, { readonly ratio: number } & Seen>>;
  readonly speeds: readonly (SpeedMemory & Seen)[];
}

interface Seen {
  /** Wall clock. */
  readonly seenMs: number;
}

/** Entries kept of each kind. The least recently seen are dropped first. */
const mostKept = 256;
/** Entries not seen for this long are dropped, in milliseconds: 30 days. */
const longestMs = 30 * 86_400_000;
/** Allowed clock difference of a machine between two runs, in milliseconds. */
const skewMs = 60_000;

const mostBits = 1e13;
const positive = (most: number): Reader<number> => read.readNumber(Number.MIN_VALUE, most);
const rates = read.optional(read.list(positive(mostBits), 16));
const name = read.readText(1024);
const linkFrom = read.fields({
  upBitsPerSecond: rates,
  downBitsPerSecond: rates,
  roundTripMs: read.optional(positive(1e7)),
  seenMs: read.readNumber(0),
});
const stateFrom = read.fields({
  schemaVersion: read.readWord(1),
  links: read.dictionary(linkFrom, mostKept),
  servers: read.dictionary(read.fields({ ratio: positive(1e4), seenMs: read.readNumber(0) }), mostKept),
  speeds: read.list(
    read.fields({ reference: name, kin: name, ratio: positive(1e6), seenMs: read.readNumber(0) }),
    mostKept,
  ),
});

/**
 * Parses kept beliefs. Throws `invalid-configuration` for any other format or version, and for beliefs written later than `wallMs`: the
 * clock was set back, or the file comes from another machine.
 */
export function beliefsFrom(value: unknown, wallMs: number): BeliefState {
  let state: BeliefState;
  try {
    state = stateFrom(value, "the beliefs");
  } catch (thrown) {
    const error = LongshoreError.from(thrown, "decode", "reading kept beliefs");
    throw new LongshoreError("invalid-configuration", "resolve", error.message, { cause: thrown });
  }
  const seen = [...Object.values(state.links), ...Object.values(state.servers), ...state.speeds];
  const latestMs = seen.reduce((latest, { seenMs }) => Math.max(latest, seenMs), 0);
  if (latestMs > wallMs + skewMs) {
    const why = `the beliefs are from the future (${new Date(Math.min(latestMs, 8.64e15)).toISOString()})`;
    throw new LongshoreError("invalid-configuration", "resolve", why);
  }
  return state;
}

/** No beliefs. */
export const noBeliefs: BeliefState = { schemaVersion: 1, links: {}, servers: {}, speeds: [] };

/** Beliefs that start from kept ones. */
export class KeptBeliefs implements BeliefMemory {
  readonly speeds: BeliefMemory["speeds"];
  readonly #clock: Clock;
  readonly #before: BeliefState;
  readonly #sources: (() => Partial<BeliefsNow>)[] = [];

  constructor(clock: Clock, before: BeliefState = noBeliefs) {
    this.#clock = clock;
    this.#before = before;
    this.speeds = before.speeds.map((one) => ({ ...one, ageMs: this.#ageMs(one) }));
  }

  link(key: string): AgedLinkMemory | undefined {
    const { links } = this.#before;
    const memory = Object.hasOwn(links, key) ? links[key] : undefined;
    return memory && { memory, ageMs: this.#ageMs(memory) };
  }

  server(id: string): { readonly ratio: number; readonly ageMs: number } | undefined {
    const { servers } = this.#before;
    const one = Object.hasOwn(servers, id) ? servers[id] : undefined;
    return one && { ratio: one.ratio, ageMs: this.#ageMs(one) };
  }

  follow(now: () => Partial<BeliefsNow>): void {
    this.#sources.push(now);
  }

  /**
   * The state to write now. Entries not seen since the start stay unchanged. `others` is the state another process has written meanwhile.
   */
  state(others: BeliefState = noBeliefs): BeliefState {
    const seenMs = Math.max(0, this.#clock.wallMs());
    const links = new Map<string, BeliefState["links"][string]>();
    const servers = new Map<string, BeliefState["servers"][string]>();
    const speeds = new Map<string, BeliefState["speeds"][number]>();
    for (const state of [this.#before, others]) {
      for (const [key, one] of Object.entries(state.links)) keepNewer(links, key, one);
      for (const [key, one] of Object.entries(state.servers)) keepNewer(servers, key, one);
      for (const one of state.speeds) keepNewer(speeds, `${one.reference} ${one.kin}`, one);
    }
    for (const source of this.#sources) {
      const now = source();
      for (const [key, one] of now.links ?? []) links.set(key, { ...one, seenMs });
      for (const [key, ratio] of now.servers ?? []) servers.set(key, { ratio, seenMs });
      for (const one of now.speeds ?? []) speeds.set(`${one.reference} ${one.kin}`, { ...one, seenMs });
    }
    return {
      schemaVersion: 1,
      links: Object.fromEntries(latest(links, seenMs)),
      servers: Object.fromEntries(latest(servers, seenMs)),
      speeds: latest(speeds, seenMs).map(([, one]) => one),
    };
  }

  #ageMs({ seenMs }: Seen): number {
    return Math.max(0, this.#clock.wallMs() - seenMs);
  }
}

function keepNewer<T extends Seen>(into: Map<string, T>, key: string, one: T): void {
  const before = into.get(key);
  if (!before || before.seenMs < one.seenMs) into.set(key, one);
}

function latest<T extends Seen>(
  all: ReadonlyMap<string, T>,
  nowMs: number,
): readonly (readonly [string, T])[] {
  return [...all]
    .filter(([key, { seenMs }]) => nowMs - seenMs <= longestMs && key.length <= 1024)
    .sort(([, one], [, other]) => other.seenMs - one.seenMs)
    .slice(0, mostKept);
}
