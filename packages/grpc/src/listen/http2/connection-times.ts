import type { Patience } from "../../frame/index.ts";
import { codes } from "./frame-words.ts";

/** Time limits that all connections of a listener share. */
export interface ConnectionTimeLimits {
  /** For what has to be complete soon once it has begun: the opening of a connection, a frame, a block of headers. */
  readonly opening: Patience;
  /** For connections without calls. */
  readonly idling: Patience;
}

/** A connection, as its time limits see it. */
export interface Timed {
  /** A frame or a block of headers has begun and not ended. */
  readonly partial: boolean;
  /** Another value tells that what is partial now is not what was partial before, or that data went on. */
  readonly progress: number;
  /** The server does not read, so the client cannot go on. */
  readonly heldBack: boolean;
  /** Ends the connection with one of HTTP/2's codes. */
  broken(code: number): void;
  /** Ends the connection with the last of its calls. */
  close(): void;
}

/**
 * The time limits of one connection. A connection that waits for its client is in one of three states, and each has a limit:
 * it has not opened (preface and settings), something has begun and not ended, or there are no calls. Frames other than those
 * of calls, such as PING, do not make a connection busy.
 */
export class ConnectionTimes {
  readonly #timed: Timed;
  readonly #limits: ConnectionTimeLimits;
  #open = false;
  #incomplete: Disposable | undefined;
  #idle: Disposable | undefined;

  constructor(timed: Timed, limits: ConnectionTimeLimits) {
    this.#timed = timed;
    this.#limits = limits;
    this.#incomplete = limits.opening.wait(() => timed.broken(codes.enhanceYourCalm));
  }

  /** The preface and the settings of the client are here. */
  opened(): void {
    this.#open = true;
    this.#incomplete?.[Symbol.dispose]();
    this.#incomplete = undefined;
    this.idle();
  }

  /** Something has come. Data has the time again for each piece: the time of a whole message is limited elsewhere. */
  look(): void {
    if (!this.#open || this.#incomplete || !this.#timed.partial) return;
    const { progress } = this.#timed;
    this.#incomplete = this.#limits.opening.wait(() => {
      this.#incomplete = undefined;
      const { partial, heldBack } = this.#timed;
      if (partial && this.#timed.progress === progress && !heldBack)
        this.#timed.broken(codes.enhanceYourCalm);
      else this.look();
    });
  }

  /** There are no calls. */
  idle(): void {
    this.#idle?.[Symbol.dispose]();
    if (this.#open) this.#idle = this.#limits.idling.wait(() => this.#timed.close());
  }

  /** There is a call. */
  busy(): void {
    this.#idle?.[Symbol.dispose]();
  }

  /** The connection has ended. */
  stop(): void {
    this.#open = false;
    this.#incomplete?.[Symbol.dispose]();
    this.#idle?.[Symbol.dispose]();
  }
}
