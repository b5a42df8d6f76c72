import type { Random } from "../../words/base/index.ts";
import type { EndpointState } from "../endpoints/index.ts";

/**
 * Which answers are looked at. To draw for each of them alone leaves some endpoints unseen for several times as long as
 * others; so of each endpoint's answers in a row one is looked at, at a moment of chance among them. Whenever an endpoint begins
 * to lie, half as many of its answers are believed on average, and hardly more than two rows at the most.
 */
export interface Sampling {
  /** An endpoint gave an answer, whatever becomes of it. */
  gave(endpoint: EndpointState): void;
  /** An answer of it may be looked at; whether this one is to be, of which `ratio` are. */
  wants(endpoint: EndpointState, ratio: number): boolean;
  /** It was seen to be right. */
  right(endpoint: EndpointState): void;
  /** Answers that it gave since then, or since it came. */
  unseen(endpoint: EndpointState): number;
}

interface Row {
  /** How far through a row of answers it is: 1 at the end. */
  through: number;
  /** Where in the row one is looked at. */
  at: number;
  looked: boolean;
  unseen: number;
}

/** Starts in the middle of a row of each endpoint, so that what a fleet checks is spread over time. */
export function sampling(random: Random): Sampling {
  const rows = new WeakMap<EndpointState, Row>();
  const rowOf = (endpoint: EndpointState): Row => {
    const known = rows.get(endpoint);
    if (known) return known;
    const through = random.next();
    const made = { through, at: through + (1 - through) * random.next(), looked: false, unseen: 0 };
    rows.set(endpoint, made);
    return made;
  };
  return {
    gave: (endpoint) => void rowOf(endpoint).unseen++,
    wants(endpoint, ratio) {
      const row = rowOf(endpoint);
      row.through += ratio;
      const wanted = !row.looked && row.through >= row.at;
      row.looked ||= wanted;
      if (row.through >= 1) {
        row.through -= 1;
        row.at = random.next();
        row.looked = false;
      }
      return wanted;
    },
    right: (endpoint) => void (rowOf(endpoint).unseen = 0),
    unseen: (endpoint) => rowOf(endpoint).unseen,
  };
}
