/** A body below this is tiny: its time tells of the delay, not of the rate. One congestion window, about. */
export const tinyBytes = 8192;

/** One packet: a smaller step says no more, and in larger ones a steady link looks like one that comes in lumps. */
const leastStep = 1460;

/** A head precedes the bytes of a probe and takes about this much of its first packet. */
export const probeHeadBytes = 400;

/** Acknowledgements that a long body requests. */
const steps = 64;

/**
 * Bytes between two acknowledgements that a body of this length requests: a share of it, from one packet to 64 kB. A thin link
 * passes 64 kB in a second; in lumps of that size a slow link looks like a fast one that stalls. A tiny body requests none.
 */
export function acknowledgeStep(bodyBytes: number): number {
  if (bodyBytes <= tinyBytes) return tinyBytes;
  return Math.min(65_536, Math.max(leastStep, Math.ceil(bodyBytes / steps)));
}

/**
 * The same of a train that only measures the link: each packet tells, also the first, which the head shares, and those of a tiny one, up
 * to the last, which the reply tells of.
 */
export function probeStep(bytes: number): number {
  return Math.max(leastStep - probeHeadBytes, Math.ceil(bytes / steps));
}
