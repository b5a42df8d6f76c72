/** How the price of a missed deadline follows what is missed. */
const targetRatio = 0.002;
const step = 2;
const initialPrice = 30;
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
