import { runCurve, type RunCurve } from "./run-curve.ts";

/**
 * What one loaded graph's runs have taken, by the size of a row and by the number of rows that shared a run. Batching is
 * decided from these figures and never from the belief that it helps: on a processor a convolutional network is slower per
 * row in a batch, while a small perceptron gains several times.
 *
 * `rowBytes` tells shapes apart: bytes of one row's inputs. Undefined: the kind that was seen last.
 */
export interface RunTimes {
  seen(rows: number, tookMs: number, nowMs: number, rowBytes?: number): void;
  /** Expected time of a run of so many rows; undefined until a run was seen. */
  runMs(rows: number, rowBytes?: number): number | undefined;
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

/** Times of one graph; nothing is known at first. */
export function runTimes(): RunTimes {
  const curves = new Map<number, RunCurve>();
  let lastKind = 0;
  let lastSeenMs = -Infinity;
  let runs = 0;

  function curveFor(kind: number): RunCurve {
    const known = curves.get(kind);
    if (known) return known;
    const [oldest] = curves.keys();
    if (curves.size >= mostKinds && oldest !== undefined) curves.delete(oldest);
    const made = runCurve();
    curves.set(kind, made);
    return made;
  }

  /** The curve of a kind, or of the nearest one with the factor by which it is larger. */
  function nearest(
    rowBytes: number | undefined,
  ): { readonly curve: RunCurve; readonly factor: number } | undefined {
    const kind = rowBytes === undefined ? lastKind : kindOf(rowBytes);
    const own = curves.get(kind);
    if (own) return { curve: own, factor: 1 };
    let best: number | undefined;
    for (const other of curves.keys()) {
      if (best === undefined || Math.abs(other - kind) < Math.abs(best - kind)) best = other;
    }
    const curve = best === undefined ? undefined : curves.get(best);
    return curve && { curve, factor: 2 ** ((kind - (best ?? kind)) / 2) };
  }

  return {
    seen(rows, tookMs, nowMs, rowBytes = 0) {
      lastKind = kindOf(rowBytes);
      lastSeenMs = nowMs;
      runs++;
      curveFor(lastKind).seen(rows, tookMs);
    },
    runMs(rows, rowBytes) {
      const found = nearest(rowBytes);
      const ms = found?.curve.runMs(rows);
      return ms === undefined ? undefined : ms * (found?.factor ?? 1);
    },
    fastestMs(rows, nowMs, rowBytes) {
      if (nowMs - lastSeenMs > staleMs) return undefined;
      const curve = curves.get(rowBytes === undefined ? lastKind : kindOf(rowBytes));
      return curve?.fastestMs(rows, enough);
    },
    worthwhileRows(rows, rowBytes) {
      if (rows <= 1) return 1;
      const curve = curves.get(rowBytes === undefined ? lastKind : kindOf(rowBytes));
      return curve?.worthwhileRows(rows, enough) ?? rows;
    },
    joinedRows(rows, rowBytes) {
      return rows <= 1 ? 1 : (nearest(rowBytes)?.curve.joinedRows(rows, enough) ?? 1);
    },
    pays: (rows, more, rowBytes) => nearest(rowBytes)?.curve.pays(rows, more, enough) ?? true,
    known: (nowMs) => runs >= enough && nowMs - lastSeenMs <= staleMs,
  };
}
