import { sortedQuantile } from "@longshore/lab";
import type { ObservedExchange } from "./exchange-watch.ts";

/** One inference that passed. Times in milliseconds. */
export interface ObservedRow {
  readonly atMs: number;
  readonly client: string;
  /** From the last byte of the request to the first of the answer: the server's wait and run. */
  readonly serverMs: number;
  /** From the first byte of the request to the last of the answer. */
  readonly tookMs: number;
  readonly requestBytes: number;
  readonly replyBytes: number;
  /** No other inference was at the server meanwhile. */
  readonly alone: boolean;
}

/** The observed requests of one model. */
export interface ObservedModel {
  readonly model: string;
  readonly requests: number;
  readonly failed: number;
  /** The latest that were answered, in the order of their ends. */
  readonly rows: readonly ObservedRow[];
}

/** Figures of a model, for people and scripts. Times in milliseconds. */
export interface FiguresOfModel {
  readonly model: string;
  readonly requests: number;
  readonly failed: number;
  readonly clients: number;
  readonly requestsPerSecond: number;
  readonly requestBytes: number;
  readonly replyBytes: number;
  readonly tookP50Ms: number;
  readonly tookP95Ms: number;
  /** Mean number at the server at once: the time that all of them spent there, over the time that passed. */
  readonly meanInFlight: number;
  /** The server's time for one, and its source. */
  readonly runMs: number;
  readonly runFrom: "requests that met no other" | "the quickest quarter";
}

/** Takes exchanges in. */
export interface Observed {
  /** An inference is on its way. */
  began(path: string): void;
  ended(exchange: ObservedExchange): void;
  /** No answer came. */
  broke(path: string, nowMs: number): void;
  models(): readonly ObservedModel[];
  /** All other requests: health, metadata, unreadable ones. */
  readonly others: number;
  /** Inferences of models that never answered one: all of them failed. */
  readonly unanswered: number;
}

/** The most rows. A new row replaces the oldest. */
const maxRows = 10_000;
/** The most models. A new model replaces one that never answered, or else is counted with the others. */
const maxModels = 256;
/** So many requests that met no other tell what a run takes. */
const leastAlone = 5;

/** Where inferences go, and the name of the model. */
const inferences: readonly RegExp[] = [
  /\/v2\/models\/([^/?]{1,512})(?:\/versions\/[^/?]+)?\/(?:infer|generate)(?:\?|$)/,
  // TensorFlow Serving, and KServe's first protocol.
  /\/v1\/models\/([^/:?]{1,512})(?:\/(?:versions|labels)\/[^/:?]+)?:(?:predict|classify|regress)(?:\?|$)/,
  // TorchServe.
  /^\/predictions\/([^/?]{1,512})(?:\/[^/?]+)?(?:\?|$)/,
  // Servers of one model that has no name there: LitServe, and containers as SageMaker wants them.
  /^\/(predict|invocations)(?:\?|$)/,
];

/** The model that a path runs; undefined of other paths. */
function modelOf(path: string): string | undefined {
  const found = inferences.reduce<string | undefined>((name, one) => name ?? one.exec(path)?.[1], undefined);
  if (found === undefined) return undefined;
  try {
    return decodeURIComponent(found);
  } catch {
    // An impossible name.
    return undefined;
  }
}

interface Kept {
  requests: number;
  failed: number;
  rows: ObservedRow[];
}

/** Starts with nothing seen. */
export function observed(): Observed {
  const kept = new Map<string, Kept>();
  let others = 0;
  /** Failed inferences of models that are not kept any more. */
  let forgotten = 0;
  let inFlight = 0;
  /** When two inferences were last at the server at once; Infinity while they are. */
  let metAtMs = -Infinity;
  const left = (nowMs: number): void => {
    inFlight = Math.max(0, inFlight - 1);
    if (inFlight <= 1 && metAtMs === Infinity) metAtMs = nowMs;
  };

  const of = (model: string): Kept | undefined => {
    const found = kept.get(model);
    if (found) return found;
    if (kept.size >= maxModels) {
      // A client can send names that no model has.
      const never = [...kept].find(([, { rows }]) => rows.length === 0);
      if (!never) return undefined;
      forgotten += never[1].failed;
      kept.delete(never[0]);
    }
    const made: Kept = { requests: 0, failed: 0, rows: [] };
    kept.set(model, made);
    return made;
  };

  return {
    get others() {
      return others;
    },
    get unanswered() {
      return [...kept.values()].reduce(
        (sum, { failed, rows }) => sum + (rows.length === 0 ? failed : 0),
        forgotten,
      );
    },
    models: () => Array.from(kept, ([model, one]) => ({ model, ...one })),
    began(path) {
      if (modelOf(path) === undefined) return;
      inFlight++;
      if (inFlight > 1) metAtMs = Infinity;
    },
    ended(exchange) {
      const { path, status, atMs, sentMs, answeredMs, endedMs, client, requestBytes, replyBytes } = exchange;
      const model = modelOf(path);
      if (model !== undefined) left(endedMs);
      const one = model === undefined ? undefined : of(model);
      if (!one) {
        others++;
        return;
      }
      one.requests++;
      if (status !== 200) {
        one.failed++;
        return;
      }
      const alone = inFlight === 0 && metAtMs < atMs;
      const serverMs = answeredMs - sentMs;
      one.rows.push({ atMs, client, serverMs, tookMs: endedMs - atMs, requestBytes, replyBytes, alone });
      if (one.rows.length > maxRows) one.rows.shift();
    },
    broke(path, nowMs) {
      const model = modelOf(path);
      if (model === undefined) return;
      left(nowMs);
      const one = of(model);
      if (!one) {
        others++;
        return;
      }
      one.requests++;
      one.failed++;
    },
  };
}

function sorted(rows: readonly ObservedRow[], of: (row: ObservedRow) => number): readonly number[] {
  return rows.map(of).sort((a, b) => a - b);
}

/** The figures of a model with at least one answer; undefined for others. */
export function figuresOf({ model, requests, failed, rows }: ObservedModel): FiguresOfModel | undefined {
  const [first] = rows;
  if (!first) return undefined;
  const fromMs = Math.min(...rows.slice(0, 100).map(({ atMs }) => atMs));
  const untilMs = rows.reduce((latest, { atMs, tookMs }) => Math.max(latest, atMs + tookMs), fromMs);
  const lastedMs = Math.max(1, untilMs - fromMs);
  const alone = rows.filter((row) => row.alone);
  const quiet = alone.length >= leastAlone;
  const took = sorted(rows, ({ tookMs }) => tookMs);
  return {
    model,
    requests,
    failed,
    clients: new Set(rows.map(({ client }) => client)).size,
    requestsPerSecond: (rows.length * 1000) / lastedMs,
    requestBytes: sortedQuantile(
      sorted(rows, (row) => row.requestBytes),
      0.5,
    ),
    replyBytes: sortedQuantile(
      sorted(rows, (row) => row.replyBytes),
      0.5,
    ),
    tookP50Ms: sortedQuantile(took, 0.5),
    tookP95Ms: sortedQuantile(took, 0.95),
    meanInFlight: rows.reduce((sum, { serverMs }) => sum + serverMs, 0) / lastedMs,
    runMs: quiet
      ? sortedQuantile(
          sorted(alone, ({ serverMs }) => serverMs),
          0.5,
        )
      : sortedQuantile(
          sorted(rows, ({ serverMs }) => serverMs),
          0.25,
        ),
    runFrom: quiet ? "requests that met no other" : "the quickest quarter",
  };
}
