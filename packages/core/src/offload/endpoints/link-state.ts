import type { Link } from "../../wire/transport/index.ts";
import { linkTable, type LinkTable, linkTableOf } from "../../decide/table/index.ts";

/** Links of endpoints in this process cost nothing. */
const noLink: LinkTable = linkTableOf(() => 0);
/** Age at which the table of a link's belief is computed again, in milliseconds. */
const linkAgeMs = 1000;
/** Computing a link's belief takes milliseconds: it is not done more often than this, whatever happens on the link. */
const linkRestMs = 100;

/** Bodies over which the share is averaged that began with a small window. */
const rememberedBodies = 5;

/** The link to an endpoint, and the belief about it as a table. */
export interface LinkState {
  /** Undefined for endpoints in this process. */
  readonly belief: Link | undefined;
  /** Whether the endpoint acknowledges a body while it arrives. If so, missing acknowledgements are evidence. */
  tells: boolean;
  /** The belief as a table. Each computation makes a new object. */
  readonly table: LinkTable;
  /** The last table that was computed after something was received from the endpoint. */
  readonly heardTable: LinkTable;
  /** Share of the last bodies that were sent with a small window of TCP, on a new connection or after a pause. */
  readonly restartedRatio: number;
  /** A body begins, with a small window or an open one. */
  began(restarted: boolean): void;
  /** Something was received from the endpoint. */
  heard(nowMs: number): void;
  /** Something happened on the link, or time passed: the table is out of date. `atOnce`: for the request that is due. */
  touched(atOnce?: boolean): void;
  /** Whether `refresh` would change anything now. */
  stale(nowMs: number): boolean;
  refresh(nowMs: number): void;
}

/** Starts with the table as of now. @param changed Called after each computation of the table. */
export function linkState(belief: Link | undefined, nowMs: number, changed: () => void): LinkState {
  return new BelievedLink(belief, nowMs, changed);
}

class BelievedLink implements LinkState {
  readonly belief: Link | undefined;
  tells = false;
  table: LinkTable;
  heardTable: LinkTable;
  restartedRatio = 0;
  readonly #changed: () => void;
  #heardAtMs = -Infinity;
  #touched = false;
  #urgent = false;

  constructor(belief: Link | undefined, nowMs: number, changed: () => void) {
    this.belief = belief;
    this.#changed = changed;
    this.table = belief ? linkTable(belief, nowMs) : noLink;
    this.heardTable = this.table;
  }

  began(restarted: boolean): void {
    this.restartedRatio += ((restarted ? 1 : 0) - this.restartedRatio) / rememberedBodies;
  }

  heard(nowMs: number): void {
    this.#heardAtMs = nowMs;
  }

  touched(atOnce = false): void {
    this.#touched = true;
    this.#urgent ||= atOnce;
  }

  stale(nowMs: number): boolean {
    const age = nowMs - this.table.atMs;
    return (
      this.belief !== undefined && (this.#urgent || age > linkAgeMs || (this.#touched && age > linkRestMs))
    );
  }

  refresh(nowMs: number): void {
    if (!this.belief) return;
    const heard = this.#heardAtMs >= this.table.atMs;
    this.table = linkTable(this.belief, nowMs);
    if (heard) this.heardTable = this.table;
    this.#touched = false;
    this.#urgent = false;
    this.#changed();
  }
}
