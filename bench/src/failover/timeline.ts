import { readFileSync, statSync } from "node:fs";
import type { LongshoreEvent, Observer } from "@longshore/core";

/** The work for one request, in lines that begin with the milliseconds since it came. */
export interface Timeline {
  readonly tookMs: number;
  readonly lines: readonly string[];
}

/** A source of the waiting times of its latest request. */
export interface Latest {
  /** Entries from now on count. */
  begin(): void;
  /** Of those since then; undefined where there were none. */
  latest(): Timeline | undefined;
}

const model = "mean";

type About<Kind extends LongshoreEvent["kind"]> = Omit<
  LongshoreEvent & { readonly kind: Kind },
  "kind" | "atMs" | "callId"
>;

const round = (ms: number): string => `${Math.round(ms)}`;
const began = ({ leg, endpoint, trigger, expectedMs }: About<"leg-started">): string =>
  `${leg} begins at ${endpoint} (${trigger}), ${round(expectedMs)} ms are expected`;
const late = ({ leg, endpoint, because, tookMs, begun }: About<"leg-late">): string =>
  `${leg} at ${endpoint} is ${because} after ${round(tookMs)} ms: ${begun ? "another endpoint gets the request" : "no other endpoint can get the request"}`;
const ended = ({ leg, endpoint, outcome, tookMs }: About<"leg-ended">): string =>
  `${leg} at ${endpoint} ends after ${round(tookMs)} ms: ${outcome}`;

type Steps = (readonly [atMs: number, what: string])[];

const timeline = (tookMs: number, beganMs: number, steps: Steps): Timeline => ({
  tookMs,
  lines: steps.map(([atMs, what]) => `${round(atMs - beganMs).padStart(5)} ${what}`),
});

/** Of a library in this process, from its events. */
export function latestSeen(): Latest & Observer {
  const under = new Map<string, Steps>();
  let worst: Timeline | undefined;
  return {
    record(event) {
      if (event.kind === "request-accepted") {
        if (event.model === model) under.set(event.callId, []);
      } else if (event.kind === "leg-started") under.get(event.callId)?.push([event.atMs, began(event)]);
      else if (event.kind === "leg-late") under.get(event.callId)?.push([event.atMs, late(event)]);
      else if (event.kind === "leg-ended") under.get(event.callId)?.push([event.atMs, ended(event)]);
      else if (event.kind === "request-ended") {
        const { callId, tookMs, atMs } = event;
        const steps = under.get(callId);
        if (steps && tookMs > (worst?.tookMs ?? 0)) worst = timeline(tookMs, atMs - tookMs, steps);
        under.delete(callId);
      }
    },
    begin() {
      worst = undefined;
      under.clear();
    },
    latest: () => worst,
  };
}

/** A line of a log, as far as it is read here. */
interface Line extends About<"leg-started">, About<"leg-late">, About<"leg-ended"> {
  readonly time: string;
  readonly event: string;
  readonly request?: string;
  readonly model?: string;
}

function lineOf(text: string): Line | undefined {
  try {
    return JSON.parse(text) as Line;
  } catch {
    // A full disk cut it short.
    return undefined;
  }
}

/** Of a gateway in another process, from the verbose lines of its log. */
export function latestLogged(path: string): Latest {
  let from = 0;
  return {
    begin: () => void (from = statSync(path).size),
    latest() {
      const lines = readFileSync(path).subarray(from).toString().split("\n");
      const under = new Map<string, Steps>();
      let worst: Timeline | undefined;
      for (const text of lines) {
        const line = lineOf(text);
        if (!line) continue;
        const { event, request = "", tookMs } = line;
        const atMs = Date.parse(line.time);
        const add = (what: string): void => {
          const steps = under.get(request) ?? [];
          under.set(request, steps);
          steps.push([atMs, what]);
        };
        if (event === "leg") add(began(line));
        else if (event === "leg late") add(late(line));
        else if (event === "leg ended") add(ended(line));
        else if (event === "inference") {
          if (line.model === model && tookMs > (worst?.tookMs ?? 0)) {
            worst = timeline(tookMs, atMs - tookMs, under.get(request) ?? []);
          }
          under.delete(request);
        }
      }
      return worst;
    },
  };
}
