import { runCurve, type RunCurve } from "./run-curve.ts";

/**
 * Times of the runs of one loaded graph, by bytes per row and number of rows: as seen by the scheduler, and inside the runtime. Batching
 * follows these measurements, never the assumption that it helps: on a processor a convolutional network is slower per row in a batch,
 * while a small perceptron gains several times.
 *
 * `rowBytes` tells shapes apart: bytes of one row's inputs. Undefined means the shape seen last.
 */
export interface RunTimes {
  /**
   * Records a run. `tookMs` lasts from sending it until its end was noticed, `ranMs` is the part inside the runtime (default: the same).
   * The first includes other work of the sending thread, such as the answers of a large batch. Forecasts need the first; whether batching
   * pays shows in the second.
   */
  seen(rows: number, tookMs: number, nowMs: number, rowBytes?: number, ranMs?: number): void;
  /** Expected time of a run of this many rows; undefined before the first run. */
  runMs(rows: number, rowBytes?: number): number | undefined;
  /** The same, of the part inside the runtime. */
  ranMs(rows: number, rowBytes?: number): number | undefined;
  /**
   * The fastest recent run of this many rows, once there are several and one is recent. A request that even this run makes late is
   * hopeless. Older figures prove nothing, because machines change.
   */
  fastestMs(rows: number, nowMs: number, rowBytes?: number): number | undefined;
  /**
   * The most rows, up to `rows`, that should share a run: the smallest size whose time per row is close to the least. Slower sizes are
   * tried again from time to time, because machines change.
   */
  worthwhileRows(rows: number, rowBytes?: number): number;
  /** The same for forecasts: without the trials. */
  joinedRows(rows: number, rowBytes?: number): number;
  /** Whether `more` rows together take less time per row than `rows`, or this is unknown. */
  pays(rows: number, more: number, rowBytes?: number): boolean;
  /** Whether figures are recent, and from enough runs to refuse work by. */
  known(nowMs: number): boolean;
}

/** Shapes whose times are kept. The least recently used one is dropped. */
const mostKinds = 24;
/** Runs needed before a figure is used. */
const enough = 3;
/** Without a run for this long, run times refuse nothing, in milliseconds. */
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
