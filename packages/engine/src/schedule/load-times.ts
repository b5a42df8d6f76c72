/** How long graphs took to load here, and how long others are expected to take. */
export interface LoadTimes {
  /** A graph, or a part of it, was loaded in so many milliseconds, fetching included. */
  took(key: string, fileBytes: number, tookMs: number): void;
  /** Expected time to load it, in milliseconds; `lacksBytes` of its file have to be fetched first. */
  expectedMs(key: string, fileBytes: number, lacksBytes: number): number;
}

/** Graphs whose times are remembered; the oldest goes. */
const mostGraphs = 512;
/** The fixed time of a load, in milliseconds: opening a session, and its first allocations. */
const leastMs = 50;
/** Bytes of a file that are loaded in a millisecond, until something was loaded here: 50 MB/s, for which a model of 38 MB takes 0.8 s. */
const usualBytesPerMs = 50_000;
/** Bytes that are fetched in a millisecond: 20 Mbit/s. */
const fetchedBytesPerMs = 2500;
/** Weight of the last load in the time that is expected of the next. */
const newest = 0.5;

/** Starts with assumed speeds. A graph that was loaded before is expected to take as long again, another one as long as its bytes take here. */
export function loadTimes(): LoadTimes {
  const byKey = new Map<string, number>();
  const seen = { bytes: 0, ms: 0 };
  return {
    took(key, fileBytes, tookMs) {
      const before = byKey.get(key);
      byKey.delete(key);
      byKey.set(key, before === undefined ? tookMs : before + newest * (tookMs - before));
      const [oldest] = byKey.keys();
      if (byKey.size > mostGraphs && oldest !== undefined) byKey.delete(oldest);
      seen.bytes += fileBytes;
      seen.ms += Math.max(0, tookMs - leastMs);
    },
    expectedMs(key, fileBytes, lacksBytes) {
      const fetchMs = (Number.isFinite(lacksBytes) ? lacksBytes : fileBytes) / fetchedBytesPerMs;
      const known = byKey.get(key);
      if (known !== undefined) return Math.max(known, fetchMs);
      const bytesPerMs = (seen.bytes + usualBytesPerMs) / (seen.ms + 1);
      return leastMs + fileBytes / bytesPerMs + fetchMs;
    },
  };
}

/** The rest of a load that has been under way for `passedMs`: at least a quarter of that, if it takes longer than expected. */
export function leftMs(expectedMs: number, passedMs: number): number {
  return Math.max(expectedMs - passedMs, passedMs / 4);
}
