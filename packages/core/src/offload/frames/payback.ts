import { dropOldest } from "../../words/base/index.ts";
import { meanOf } from "../../words/estimate/index.ts";
import type { Plan } from "../../decide/plan/index.ts";
import type { Backlog } from "./backlog.ts";

/** A part is loaded when it saves what loading takes within so many frames, as far as those of late tell: some twenty seconds of video. */
const paidWithin = 500;
/** Each frame counts this much in what a part usually saves. */
const usualWeight = 1 / 32;
/** Models that are remembered, and parts of each; the oldest goes. */
const mostKnown = 256;

/** What a part has usually saved, up to the frame that would have been better off with it last. */
interface Saving {
  readonly ms: number;
  readonly frame: number;
}

/**
 * Whether loading a part of a model pays for a stream.
 *
 * The obvious rule loads whatever the best plan of a frame needs. But that changes with each wait and each run that was slow, by
 * far less than loading takes of a core that all frames share, so that a stream would load one cut after another for ever. What
 * counts is what a part would have saved of late, frames that do as well without it included.
 */
export interface Payback {
  /** A frame of a model is planned. */
  passed(model: string): void;
  /**
   * The frame that passed last would take `savedMs` less with a part that takes `loadMs` to load: why that is not loaded yet, in
   * words; undefined where it is worth loading.
   */
  notYet(model: string, part: string, savedMs: number, loadMs: number): string | undefined;
}

/** The frames of a model, and what they missed by part. */
interface Book {
  frames: number;
  readonly savings: Map<string, Saving>;
}

/** Nothing was missed yet. */
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
 * What a frame gains by one plan over another that will do, in milliseconds; without end where something else than time is made small.
 * `traffic` where the others that are under way count.
 */
export function savedMs(traffic: Backlog | undefined, best: Plan, other: Plan, nowMs: number): number {
  if (traffic) return traffic.growsMs(other, nowMs) - traffic.growsMs(best, nowMs);
  if (best.objective !== "latency") return Infinity;
  return meanOf(other.predicted.completionMs) - meanOf(best.predicted.completionMs);
}
