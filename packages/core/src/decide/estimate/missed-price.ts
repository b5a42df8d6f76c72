/** Share of missed deadlines at which the price stays the same. */
const targetRatio = 0.002;
/** How far one missed deadline moves the price. */
const step = 2;
/** The price at the start. */
const initialPrice = 30;
/** The highest price. */
const maxPrice = 60;

/** The price of an answer after its deadline, in runs here. */
export interface MissedPrice {
  readonly value: number;
  note(missed: boolean): void;
}

/** A deadline is dear from the first request on: few answers may be late, so little is learned from late ones. */
export function missedPrice(): MissedPrice {
  let value = initialPrice;
  return {
    get value() {
      return value;
    },
    note(missed) {
      value = Math.min(maxPrice, Math.max(0, value + step * ((missed ? 1 : 0) - targetRatio)));
    },
  };
}
