import type { Random } from "../../words/base/index.ts";
import type { EndpointState } from "../endpoints/index.ts";

/**
 * Chooses the answers to check. Independent random draws leave some endpoints unchecked several times as long as others. So one answer in
 * each row of consecutive answers of an endpoint is checked, at a random position. When an endpoint begins to lie, half a row of its
 * answers is believed on average, and at most about two rows.
 */
export interface Sampling {
  /** Records an answer of an endpoint. */
  gave(endpoint: EndpointState): void;
  /** Whether to check this answer, if `ratio` of its answers are to be checked. */
  wants(endpoint: EndpointState, ratio: number): boolean;
  /** It was seen to be right. */
  right(endpoint: EndpointState): void;
  /** Answers that it gave since then, or since it came. */
  unseen(endpoint: EndpointState): number;
}

interface Row {
  /** How far through a row of answers it is: 1 at the end. */
  through: number;
  /** Position in the row that is checked. */
  at: number;
  looked: boolean;
  unseen: number;
}

/** Starts in the middle of a row for each endpoint, so that the checks of a fleet are spread over time. */
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
