/** Bytes that TCP sends on a new connection before the first acknowledgement: ten segments of 1460 bytes (RFC 6928). */
const firstWindowBytes: number = 10 * 1460;

/** TCP's shortest time without an acknowledgement after which it begins again (Linux; RFC 6298 has a second). */
const leastTimeoutMs = 200;

/**
 * The first window of a connection that has sent nothing for `idleMs`: TCP halves it once in each time-out until it is the window of a new
 * connection (RFC 2861, as Linux does it). `openBytes` is the window that fills the link.
 */
function windowAfterIdle(openBytes: number, roundTripMs: number, idleMs: number): number {
  const halvings = Math.floor(idleMs / (leastTimeoutMs + roundTripMs));
  return Math.max(firstWindowBytes, openBytes / 2 ** halvings);
}

/**
 * How much longer a body takes on a connection that has sent nothing for a while than on one whose window is open: TCP sends ten segments,
 * and twice as much in each next round trip, until that fills the link. The sender is idle for the rest of each of these round trips.
 * `windowIdleMs`: since when the connection has sent nothing; default Infinity, as for a new one.
 */
export function tcpSlowStartMs(
  bytes: number,
  roundTripMs: number,
  bytesPerMs: number,
  windowIdleMs: number = Infinity,
): number {
  if (!(roundTripMs > 0) || !(bytesPerMs > 0)) return 0;
  let idleMs = 0;
  let windowBytes = windowAfterIdle(bytesPerMs * roundTripMs, roundTripMs, windowIdleMs);
  for (let sent = windowBytes; sent < bytes; sent += windowBytes) {
    const sendingMs = windowBytes / bytesPerMs;
    if (sendingMs >= roundTripMs) break;
    idleMs += roundTripMs - sendingMs;
    windowBytes *= 2;
  }
  return idleMs;
}
