/**
 * What one loaded graph's runs have taken, by the number of rows that shared a run. Batching is decided from these
 * figures and never from the belief that it helps: on a processor a convolutional network is slower per row in a batch,
 * while a small perceptron gains several times.
 */
export interface RunTimes {
  seen(rows: number, tookMs: number): void;
  /** Expected time of a run of so many rows; undefined until a run was seen. */
  runMs(rows: number): number | undefined;
  /** The fastest run seen of so many rows; undefined until one was. What even this cannot make is hopeless. */
  fastestMs(rows: number): number | undefined;
  /** Recent time for each row, as runs really were joined. */
  rowMs(): number | undefined;
  /**
   * The most rows, up to `rows`, that should share a run. Sizes that were measured to take longer per row than single
   * runs are left out, but tried again now and then, because machines change.
   */
  worthwhileRows(rows: number): number;
}

interface Bucket {
  count: number;
  rowMs: number;
  fastestRowMs: number;
  refused: number;
}

/** Weight of the newest run. */
const learning = 0.2;
/** Runs of a size before it is judged. */
const enough = 3;
/** How many times a size is passed over before it is tried again. */
const patience = 128;

/** Rows up to 1, 2, 4, 8, ... fall into buckets 0, 1, 2, 3, ... */
function bucketOf(rows: number): number {
  return rows <= 1 ? 0 : Math.ceil(Math.log2(rows));
}

export function runTimes(): RunTimes {
  const buckets = new Map<number, Bucket>();
  let recentRowMs: number | undefined;

  function nearest(rows: number): Bucket | undefined {
    const wanted = bucketOf(rows);
    let found: Bucket | undefined;
    let distance = Infinity;
    for (const [index, bucket] of buckets) {
      if (Math.abs(index - wanted) < distance) {
        distance = Math.abs(index - wanted);
        found = bucket;
      }
    }
    return found;
  }

  function worthwhile(rows: number): boolean {
    const single = buckets.get(0);
    const bucket = buckets.get(bucketOf(rows));
    if (!single || !bucket || single.count < enough || bucket.count < enough) return true;
    if (bucket.rowMs <= single.rowMs) return true;
    bucket.refused = (bucket.refused + 1) % patience;
    return bucket.refused === 0;
  }

  return {
    seen(rows, tookMs) {
      const rowMs = tookMs / Math.max(1, rows);
      const index = bucketOf(rows);
      const bucket = buckets.get(index);
      if (bucket) {
        bucket.count++;
        bucket.rowMs += (rowMs - bucket.rowMs) * learning;
        bucket.fastestRowMs = Math.min(bucket.fastestRowMs, rowMs);
      } else buckets.set(index, { count: 1, rowMs, fastestRowMs: rowMs, refused: 0 });
      recentRowMs = recentRowMs === undefined ? rowMs : recentRowMs + (rowMs - recentRowMs) * learning;
    },
    runMs(rows) {
      const bucket = nearest(rows);
      return bucket && bucket.rowMs * Math.max(1, rows);
    },
    fastestMs(rows) {
      const bucket = buckets.get(bucketOf(rows));
      return bucket && bucket.fastestRowMs * Math.max(1, rows);
    },
    rowMs: () => recentRowMs,
    worthwhileRows(rows) {
      let size = rows;
      while (size > 1 && !worthwhile(size)) size = 2 ** (bucketOf(size) - 1);
      return Math.max(1, size);
    },
  };
}
