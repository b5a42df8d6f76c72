import { dropOldest } from "../../words/base/index.ts";
import { meanOf } from "../../words/estimate/index.ts";
import type { Plan } from "../../decide/plan/index.ts";
import type { Backlog } from "./backlog.ts";

/** A part is loaded if its saving in this many frames, at the recent rate, exceeds the load time: some twenty seconds of video. */
const paidWithin = 500;
/** Weight of each frame in the usual saving of a part. */
const usualWeight = 1 / 32;
/** Number of models remembered, and of parts of each. The oldest is dropped. */
const mostKnown = 256;

/** Usual saving of a part, up to the last frame that would have been faster with it. */
interface Saving {
  readonly ms: number;
  readonly frame: number;
}

/**
 * Whether loading a part of a model pays for a stream.
 *
 * The obvious rule loads whatever the best plan of a frame needs. But the best plan changes with each wait and each slow run, by far less
 * than the load costs a core that all frames share. A stream would load one cut after another forever. So the rule counts the recent
 * savings of a part, including frames that do as well without it.
 */
export interface Payback {
  /** Records that a frame of a model is planned. */
  passed(model: string): void;
  /**
   * The latest frame would take `savedMs` less with a part that takes `loadMs` to load. Returns the reason why the part is not loaded yet,
   * or undefined if it is worth loading.
   */
  notYet(model: string, part: string, savedMs: number, loadMs: number): string | undefined;
}

/** The frames of a model, and the missed savings of each part. */
interface Book {
  frames: number;
  readonly savings: Map<string, Saving>;
}

/** Starts without missed savings. */
export function payback(): Payback {
  const books = new Map<string, Book>();
  const bookOf = (model: string): Book => {
    const book = books.get(model) ?? { frames: 0, savings: new Map<string, Saving>() };
    books.set(model, book);
    dropOldest(books, mostKnown);
    return book;
  };
  return {
    passed: (model) => void bookOf(model).frames++,
    notYet(model, part, savedMs, loadMs) {
      const { frames, savings } = bookOf(model);
      const { ms, frame } = savings.get(part) ?? { ms: 0, frame: frames };
      const usualMs = ms * (1 - usualWeight) ** (frames - frame) + Math.max(0, savedMs) * usualWeight;
      savings.delete(part);
      if (usualMs * paidWithin >= loadMs) return undefined;
      savings.set(part, { ms: usualMs, frame: frames });
      dropOldest(savings, mostKnown);
      return `${part} would save ${usualMs.toFixed(1)} ms a frame and is not worth loading for about ${Math.round(loadMs)} ms`;
    },
  };
}

/**
 * Time gained by one plan over another that also qualifies, in milliseconds; Infinity if the objective is not time. `traffic` is given if
 * other frames under way count.
 */
export function savedMs(traffic: Backlog | undefined, best: Plan, other: Plan, nowMs: number): number {
  if (traffic) return traffic.growsMs(other, nowMs) - traffic.growsMs(best, nowMs);
  if (best.objective !== "latency") return Infinity;
  return meanOf(other.predicted.completionMs) - meanOf(best.predicted.completionMs);
}
