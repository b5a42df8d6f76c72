/** Bytes that TCP sends on a new connection before the first acknowledgement: ten segments of 1460 bytes (RFC 6928). */
const firstWindowBytes: number = 10 * 1460;

/**
 * How much longer a body takes on a connection that has sent nothing for a while than on one whose window is open: TCP sends ten segments,
 * and twice as much in each next round trip, until that fills the link. The sender is idle for the rest of each of these round trips.
 */
export function tcpSlowStartMs(bytes: number, roundTripMs: number, bytesPerMs: number): number {
  if (!(roundTripMs > 0) || !(bytesPerMs > 0)) return 0;
  let idleMs = 0;
  let windowBytes = firstWindowBytes;
  for (let sent = windowBytes; sent < bytes; sent += windowBytes) {
    const sendingMs = windowBytes / bytesPerMs;
    if (sendingMs >= roundTripMs) break;
    idleMs += roundTripMs - sendingMs;
    windowBytes *= 2;
  }
  return idleMs;
}
