/** Share of missed deadlines that keeps the price constant. */
const targetRatio = 0.002;
/** Change of the price for one missed deadline. */
const step = 2;
/** Initial price. */
const initialPrice = 30;
/** Maximum price. */
const maxPrice = 60;

/** The price of an answer after its deadline, in runs here. */
export interface MissedPrice {
  readonly value: number;
  note(missed: boolean): void;
}

/** The price is high from the first request on. Few answers may be late, so late answers teach little. */
export function missedPrice(): MissedPrice {
  return new LearnedPrice();
}

class LearnedPrice implements MissedPrice {
  value = initialPrice;

  note(missed: boolean): void {
    const change = step * ((missed ? 1 : 0) - targetRatio);
    this.value = Math.min(maxPrice, Math.max(0, this.value + change));
  }
}
