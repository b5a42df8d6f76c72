import type { Random } from "../base/index.ts";
import type { Place } from "../places/index.ts";

/**
 * Which answers are looked at. To draw for each of them alone leaves some places unseen for several times as long as
 * others; so of each place's answers in a row one is looked at, at a moment of chance among them. Whenever a place begins
 * to lie, half as many of its answers are believed on average, and hardly more than two rows at the most.
 */
export interface Sampling {
  /** A place gave an answer, whatever becomes of it. */
  gave(place: Place): void;
  /** An answer of it may be looked at; whether this one is to be, of which `ratio` are. */
  wants(place: Place, ratio: number): boolean;
  /** It was seen to be right. */
  right(place: Place): void;
  /** Answers that it gave since then, or since it came. */
  unseen(place: Place): number;
}

interface Row {
  /** How far through a row of answers it is: 1 at the end. */
  through: number;
  /** Where in the row one is looked at. */
  at: number;
  looked: boolean;
  unseen: number;
}

/** Starts in the middle of a row of each place, so that what a fleet checks is spread over time. */
export function sampling(random: Random): Sampling {
  const rows = new WeakMap<Place, Row>();
  const rowOf = (place: Place): Row => {
    const known = rows.get(place);
    if (known) return known;
    const through = random.next();
    const made = { through, at: through + (1 - through) * random.next(), looked: false, unseen: 0 };
    rows.set(place, made);
    return made;
  };
  return {
    gave: (place) => void rowOf(place).unseen++,
    wants(place, ratio) {
      const row = rowOf(place);
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
    right: (place) => void (rowOf(place).unseen = 0),
    unseen: (place) => rowOf(place).unseen,
  };
}
