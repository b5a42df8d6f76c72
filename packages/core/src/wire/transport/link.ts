import type { Estimate } from "../../words/estimate/index.ts";

/** Which way bytes travel, seen from this endpoint. */
export type Direction = "up" | "down";

/**
 * The beliefs about the network between this endpoint and another. They are learned only from the bytes that this client sent,
 * the peer's acknowledgements, and probes it paid for; time in which nothing was under way teaches nothing.
 */
export interface Link {
  /**
   * Time from handing over `bytes` until the peer has them (or we have them), backlog included, one-way delay included.
   */
  transferMs(bytes: number, direction: Direction, nowMs: number): Estimate;
  /** Time for the smallest request and reply there and back. */
  roundTripMs(nowMs: number): Estimate;
  /**
   * Size in bytes of the probe train that would be worth sending now, or 0. With `dueInMs`, the time until a decision will need
   * the belief, a train is worth its bytes when it is back just before; without it, when the link was not used for a while. The
   * caller must send the train, which counts as sent, and call `sendStarted` as for any other body. `revived`: the link was
   * silent and has just responded again, so that a train is worth its bytes at once. Absent where probing makes no sense.
   */
  probeBytes?(direction: Direction, nowMs: number, dueInMs?: number, revived?: boolean): number;
}

/** The facts that a Link learns from. All instants are on the local Clock. */
export interface LinkLearner extends Link {
  /**
   * A body of `bytes` was handed to the transport. Returns its handle for the notes that follow. `progress` says whether
   * acknowledgements will come while it is under way (default): with "none", silence says nothing.
   */
  sendStarted(
    bytes: number,
    direction: Direction,
    nowMs: number,
    progress?: "acknowledged" | "none",
  ): TransferNote;
  /**
   * From a tiny request until its reply began it took this long, besides `otherMs` (default 0) of the server's work. The bytes
   * of it end a silence; they say nothing about the rate.
   */
  roundTripSeen(tookMs: number, nowMs: number, otherMs?: number): void;
  probeBytes(direction: Direction, nowMs: number, dueInMs?: number, revived?: boolean): number;
}

/** Notes on one transfer under way. */
export interface TransferNote {
  /** The peer acknowledged (or we received) that many bytes so far, in all. */
  progressed(totalBytes: number, nowMs: number): void;
  /**
   * The transfer ended: complete, or given up (bytes under way may still clog the link). `otherMs` is the part of the time that
   * went to the peer's work instead of the link; it matters only if no acknowledgements came. Default 0.
   */
  ended(nowMs: number, complete: boolean, otherMs?: number): void;
  /**
   * The peer refused or closed the connection without a byte of reply. That says nothing of the link's rate, and what was under way is gone with
   * the connection. Default: as `ended`, not complete.
   */
  broke?(nowMs: number): void;
  /** Time from `nowMs` until the peer has the rest of this body: the bytes before it in the link and its own. */
  remainingMs(nowMs: number): Estimate;
  /** Nothing but what was reported has been acknowledged until `nowMs`: silence is evidence, too. `remainingMs` implies it. Default: not noted. */
  quiet?(nowMs: number): void;
}
