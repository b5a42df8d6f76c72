/** The messages between a gateway that leases limits and the server that has them, and what a gateway does without a reply. */
import type { Meter } from "./limits.ts";

/** A gateway's request for a lease to the server that has the allowances. */
export interface LeaseRequest {
  readonly schemaVersion: 1;
  /** ID of the gateway that sends the request, so that gateways take turns. */
  readonly holder: string;
  readonly tenant: string;
  readonly meter: Meter;
  /** The least amount that waiting requests need. Of `concurrency`: the requests that are under way or wait, so that a repeated message changes nothing. */
  readonly needed: number;
  /** The amount needed soon, `needed` included. */
  readonly wanted: number;
  /** The amount used beyond earlier leases. */
  readonly owed: number;
}

/** The reply to a request for a lease. */
export interface LeaseReply {
  readonly schemaVersion: 1;
  /** Null: there is no limit. Of `concurrency`: as many requests as may be under way there. */
  readonly granted: number | null;
  readonly retryAfterMs?: number;
  readonly why?: string;
}

/** For how long a gateway sends no request after the directory server did not answer. */
export const pauseMs = 1000;
/** For how long a gateway takes it that there is no limit, after it was told so. */
export const unlimitedMs = 1000;
/** Why a request is refused while the rest of an allowance is unknown. */
export const awayWords = "a limit that several gateways share, and the gateway that keeps it does not answer";
