import type { Connecting } from "./transport.ts";

/** A shorter pause closes no window of TCP, in milliseconds: its shortest time-out. */
const leastIdleMs = 200;

/** The wait of a request on an open connection that sent nothing for so long; undefined after a short pause. */
export function afterPause(idleMs: number): Connecting | undefined {
  return idleMs > leastIdleMs ? { roundTrips: 0, idleMs } : undefined;
}

/** The wait of a request that makes a connection to `url`: round trips for a name, TCP and TLS, or the time that earlier connections took. */
export function newConnection({ protocol, hostname }: URL, tookMs: number | undefined): Connecting {
  const named = !/^\[|^[\d.]+$/.test(hostname);
  const roundTrips = 1 + (protocol === "https:" ? 2 : 0) + (named ? 1 : 0);
  return tookMs === undefined ? { roundTrips } : { roundTrips, tookMs };
}
