import { runCurve, type RunCurve } from "./run-curve.ts";

/**
 * What one loaded graph's runs have taken, as the scheduler sees it and where they ran, by the size of a row and by the number of rows that shared a run. Batching is
 * decided from these figures and never from the belief that it helps: on a processor a convolutional network is slower per
 * row in a batch, while a small perceptron gains several times.
 *
 * `rowBytes` tells shapes apart: bytes of one row's inputs. Undefined: the kind that was seen last.
 */
export interface RunTimes {
  /**
   * `tookMs` from sending a run off until its end was noticed, `ranMs` of it inside the runtime. The first grows with
   * whatever else the sending thread has to do, the answers of a large batch included: forecasts need it, but whether
   * batching pays can only be told by the second. Default: the same.
   */
  seen(rows: number, tookMs: number, nowMs: number, rowBytes?: number, ranMs?: number): void;
  /** Expected time of a run of so many rows; undefined until a run was seen. */
  runMs(rows: number, rowBytes?: number): number | undefined;
  /** The same, of the part inside the runtime. */
  ranMs(rows: number, rowBytes?: number): number | undefined;
  /**
   * The fastest of the recent runs of so many rows, once there are several and one was a moment ago: what even this cannot
   * make is hopeless. Older figures are no proof, because machines change.
   */
  fastestMs(rows: number, nowMs: number, rowBytes?: number): number | undefined;
  /**
   * The most rows, up to `rows`, that should share a run: the fewest whose time for each row is next to the least. Sizes
   * that take longer are tried again now and then, because machines change.
   */
  worthwhileRows(rows: number, rowBytes?: number): number;
  /** The same for forecasts: without the trials. */
  joinedRows(rows: number, rowBytes?: number): number;
  /** Whether `more` rows together take less time for each than `rows` do, or nobody knows. */
  pays(rows: number, more: number, rowBytes?: number): boolean;
  /** Whether figures are from a moment ago, and of enough runs to refuse work by. */
  known(nowMs: number): boolean;
}

/** Kinds of shapes whose times are remembered; the one that was used longest ago goes. */
const mostKinds = 24;
/** Runs after which a figure is believed. */
const enough = 3;
/** After so long without a run, nothing is refused for what runs took. */
const staleMs = 1000;

/** Sizes within a factor of about 1.4 are one kind. */
function kindOf(rowBytes: number): number {
  return Math.round(2 * Math.log2(Math.max(1, rowBytes)));
}

/** Runs of one kind, as they were seen from here and inside the runtime. */
interface Curves {
  readonly took: RunCurve;
  readonly ran: RunCurve;
}

/** Times of one graph; nothing is known at first. */
export function runTimes(): RunTimes {
  const all = new Map<number, Curves>();
  let lastKind = 0;
  let lastSeenMs = -Infinity;
  let runs = 0;

  function curvesFor(kind: number): Curves {
    const known = all.get(kind);
    if (known) return known;
    const [oldest] = all.keys();
    if (all.size >= mostKinds && oldest !== undefined) all.delete(oldest);
    const made = { took: runCurve(), ran: runCurve() };
    all.set(kind, made);
    return made;
  }

  const own = (rowBytes: number | undefined): Curves | undefined =>
    all.get(rowBytes === undefined ? lastKind : kindOf(rowBytes));

  /** The curves of a kind, or of the nearest one with the factor by which it is larger. */
  function nearest(
    rowBytes: number | undefined,
  ): { readonly curves: Curves; readonly factor: number } | undefined {
    const kind = rowBytes === undefined ? lastKind : kindOf(rowBytes);
    const same = all.get(kind);
    if (same) return { curves: same, factor: 1 };
    let best: number | undefined;
    for (const other of all.keys()) {
      if (best === undefined || Math.abs(other - kind) < Math.abs(best - kind)) best = other;
    }
    const curves = best === undefined ? undefined : all.get(best);
    return curves && { curves, factor: 2 ** ((kind - (best ?? kind)) / 2) };
  }

  function expected(of: keyof Curves, rows: number, rowBytes: number | undefined): number | undefined {
    const found = nearest(rowBytes);
    const ms = found?.curves[of].runMs(rows);
    return ms === undefined ? undefined : ms * (found?.factor ?? 1);
  }

  return {
    seen(rows, tookMs, nowMs, rowBytes = 0, ranMs = tookMs) {
      lastKind = kindOf(rowBytes);
      lastSeenMs = nowMs;
      runs++;
      const { took, ran } = curvesFor(lastKind);
      took.seen(rows, tookMs);
      ran.seen(rows, ranMs);
    },
    runMs: (rows, rowBytes) => expected("took", rows, rowBytes),
    ranMs: (rows, rowBytes) => expected("ran", rows, rowBytes),
    fastestMs: (rows, nowMs, rowBytes) =>
      nowMs - lastSeenMs > staleMs ? undefined : own(rowBytes)?.took.fastestMs(rows, enough),
    worthwhileRows: (rows, rowBytes) =>
      rows <= 1 ? 1 : (own(rowBytes)?.ran.worthwhileRows(rows, enough) ?? rows),
    joinedRows: (rows, rowBytes) =>
      rows <= 1 ? 1 : (nearest(rowBytes)?.curves.ran.joinedRows(rows, enough) ?? 1),
    pays: (rows, more, rowBytes) => nearest(rowBytes)?.curves.ran.pays(rows, more, enough) ?? true,
    known: (nowMs) => runs >= enough && nowMs - lastSeenMs <= staleMs,
  };
}
