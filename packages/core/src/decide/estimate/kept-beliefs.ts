/**
 * What is learned is kept over a restart: the rates and round trips of links, how the runs of servers compare with their promises, and how fast
 * this device is. A belief that was kept is a prior: it gives way to what is seen, and the older it is the less it counts. Keys name what
 * a belief is about; the file says nothing of requests.
 */
import { type Clock, LongshoreError } from "../../words/base/index.ts";
import { read, type Reader } from "../../wire/protocol/index.ts";
import type { SpeedMemory } from "./device-speed.ts";
import type { AgedLinkMemory, LinkMemory } from "./link-memory.ts";

/** Beliefs as they are now. */
export interface BeliefsNow {
  /** By id and address of the endpoint. */
  readonly links: ReadonlyMap<string, LinkMemory>;
  /** Run time over promise, by id of the endpoint. */
  readonly servers: ReadonlyMap<string, number>;
  readonly speeds: readonly SpeedMemory[];
}

/** Beliefs of an earlier process, and those that this one will leave to the next. */
export interface BeliefMemory {
  link(key: string): AgedLinkMemory | undefined;
  server(id: string): { readonly ratio: number; readonly ageMs: number } | undefined;
  readonly speeds: readonly (SpeedMemory & { readonly ageMs: number })[];
  /** `now` is asked for what is known whenever it is written down. */
  follow(now: () => Partial<BeliefsNow>): void;
}

/** Plain data, as a file keeps it. */
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

/** Entries of each kind that are kept; those that were seen last. */
const mostKept = 256;
/** What was not seen for so long is dropped, in milliseconds: 30 days. */
const longestMs = 30 * 86_400_000;
/** Clocks of a machine may differ by this between two runs, in milliseconds. */
const skewMs = 60_000;

const mostBits = 1e13;
const positive = (most: number): Reader<number> => read.number(Number.MIN_VALUE, most);
const rates = read.optional(read.list(positive(mostBits), 16));
const name = read.text(1024);
const linkFrom = read.fields({
  upBitsPerSecond: rates,
  downBitsPerSecond: rates,
  roundTripMs: read.optional(positive(1e7)),
  seenMs: read.number(0),
});
const stateFrom = read.fields({
  schemaVersion: read.word(1),
  links: read.dictionary(linkFrom, mostKept),
  servers: read.dictionary(read.fields({ ratio: positive(1e4), seenMs: read.number(0) }), mostKept),
  speeds: read.list(
    read.fields({ reference: name, kin: name, ratio: positive(1e6), seenMs: read.number(0) }),
    mostKept,
  ),
});

/**
 * Reads what was kept. Throws `invalid-configuration` for anything else than this version writes, and for beliefs that were written later than
 * `wallMs`: the clock was set back, or the file is of another machine.
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

/** Nothing is known. */
export const noBeliefs: BeliefState = { schemaVersion: 1, links: {}, servers: {}, speeds: [] };

/** Beliefs that begin at what was kept. */
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

  /** What is to be kept now; what was not seen since stays as it was. `others` is what another process has written meanwhile. */
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
