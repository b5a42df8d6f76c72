import { type Call, type Clock, LongshoreError, withTime } from "../../words/base/index.ts";
import type { LoadReport } from "../endpoint/index.ts";
import { readBody } from "../body/index.ts";
import { emptyBody } from "../body/index.ts";
import { type Transport } from "../transport/index.ts";
import { type ModelFigures, serverFigures } from "../protocol/index.ts";
import { type OwnRequests, serverLoad } from "./server-load.ts";

/** Tells how busy a server is whose replies do not say. */
export interface LoadSource {
  /** A poll is useful no sooner than this many milliseconds after the last one. */
  readonly everyMs: number;
  /**
   * The server's load now; undefined if it reports none, cannot be polled, or was polled just now. Never rejects: a server that
   * reports no load is used nevertheless.
   */
  read(own: OwnRequests, call: Call): Promise<LoadReport | undefined>;
  /** The server's counts of requests so far from another source, by `<model>/<version>`. */
  counted(models: ReadonlyMap<string, ModelFigures>): void;
  /** The time of a run of the model there, in milliseconds; undefined before the first report. */
  runMs(model: string, version: string): number | undefined;
  close(): Promise<void>;
}

/** A page of metrics in Prometheus' text form. */
export interface MetricsPage {
  /** Owned: closed with the source. */
  readonly transport: Transport;
  /** Such as `/metrics`. */
  readonly path: string;
}

/** The parts of a source of loads. */
export interface LoadSourceParts {
  readonly clock: Clock;
  /** Where the metrics may be: the first that says something known is kept to. */
  readonly pages: readonly MetricsPage[];
  /** Default 1,000: a queue that others make lasts that long, and a server counts its models for each reading. */
  readonly everyMs?: number;
  /** A server that takes longer has better things to do. Default 500. */
  readonly timeoutMs?: number;
}

/** If no page has figures, they are polled again after this time, in milliseconds. */
const silentRestMs = 60_000;
/** A page of some thousand models has a few megabytes. */
const maxPageBytes = 8 * 2 ** 20;

/** The least that can be said of a server that has not answered for so long. */
function busyFor(own: OwnRequests, queueMs: number, atMs: number): LoadReport {
  return { atMs, cpuRatio: 1, inFlight: own.underWay + 1, queueMs };
}

/** Reads a server's metrics: at most once in `everyMs`, one reading at a time. */
export function metricsLoad(parts: LoadSourceParts): LoadSource {
  const { clock, everyMs = 1000, timeoutMs = 500 } = parts;
  const load = serverLoad();
  let kept: MetricsPage | undefined;
  let nextMs = -Infinity;
  let reading = false;
  let quickestMs = Infinity;

  /** The text of the page; undefined if there is none. */
  async function text(
    page: MetricsPage,
    call: Call,
  ): Promise<{ readonly text: string } | "late" | undefined> {
    const { transport, path } = page;
    let late = false;
    using own = withTime(call, clock, timeoutMs, () => {
      late = true;
      return new LongshoreError("no-answer", "transport", "the metrics took too long");
    });
    try {
      const request = { method: "GET", path, headers: { accept: "text/plain" }, body: emptyBody } as const;
      const { status, body } = await transport.send(request, own.call);
      const bytes = await readBody(body, { maxBytes: maxPageBytes });
      return status === 200 ? { text: new TextDecoder().decode(bytes) } : undefined;
    } catch {
      // Whether the server is there at all is for its requests to find out.
      return late ? "late" : undefined;
    }
  }

  return {
    everyMs,
    runMs: load.runMs,
    counted: load.counted,
    async read(own, call) {
      if (reading || clock.nowMs() < nextMs) return undefined;
      reading = true;
      const startedMs = clock.nowMs();
      try {
        for (const page of kept ? [kept] : parts.pages) {
          const told = await text(page, call);
          const figures = typeof told === "object" ? serverFigures(told.text) : undefined;
          const nowMs = clock.nowMs();
          if (!figures) {
            // It reported before, and does not answer in time now: at least this much work is before it.
            if (kept && told === "late") return busyFor(own, nowMs - startedMs, nowMs);
            continue;
          }
          kept = page;
          quickestMs = Math.min(quickestMs, nowMs - startedMs);
          return load.seen(figures, own, nowMs, nowMs - startedMs - quickestMs);
        }
        return undefined;
      } finally {
        reading = false;
        nextMs = clock.nowMs() + (kept ? everyMs : silentRestMs);
      }
    },
    async close() {
      await Promise.all(parts.pages.map(({ transport }) => transport.close()));
    },
  };
}
