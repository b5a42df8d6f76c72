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
export class LinkState {
  /** Undefined for endpoints in this process. */
  readonly belief: Link | undefined;
  /** Whether the endpoint acknowledges a body while it arrives. If so, missing acknowledgements are evidence. */
  tells = false;
  readonly #changed: () => void;
  #table: LinkTable;
  #heardTable: LinkTable;
  #heardAtMs = -Infinity;
  #touched = false;
  #restartedRatio = 0;
  #urgent = false;

  /** @param changed Called after each computation of the table. */
  constructor(belief: Link | undefined, nowMs: number, changed: () => void) {
    this.belief = belief;
    this.#changed = changed;
    this.#table = belief ? linkTable(belief, nowMs) : noLink;
    this.#heardTable = this.#table;
  }

  /** The belief as a table. Each computation makes a new object. */
  get table(): LinkTable {
    return this.#table;
  }

  /** The last table that was computed after something was received from the endpoint. */
  get heardTable(): LinkTable {
    return this.#heardTable;
  }

  /** Share of the last bodies that were sent with a small window of TCP, on a new connection or after a pause. */
  get restartedRatio(): number {
    return this.#restartedRatio;
  }

  /** A body begins, with a small window or an open one. */
  began(restarted: boolean): void {
    this.#restartedRatio += ((restarted ? 1 : 0) - this.#restartedRatio) / rememberedBodies;
  }

  /** Something was received from the endpoint. */
  heard(nowMs: number): void {
    this.#heardAtMs = nowMs;
  }

  /** Something happened on the link, or time passed: the table is out of date. `atOnce`: for the request that is due. */
  touched(atOnce = false): void {
    this.#touched = true;
    this.#urgent ||= atOnce;
  }

  /** Whether `refresh` would change anything now. */
  stale(nowMs: number): boolean {
    const age = nowMs - this.#table.atMs;
    return (
      this.belief !== undefined && (this.#urgent || age > linkAgeMs || (this.#touched && age > linkRestMs))
    );
  }

  refresh(nowMs: number): void {
    if (!this.belief) return;
    const heard = this.#heardAtMs >= this.#table.atMs;
    this.#table = linkTable(this.belief, nowMs);
    if (heard) this.#heardTable = this.#table;
    this.#touched = false;
    this.#urgent = false;
    this.#changed();
  }
}
