import { packetBytes, type LinkModel, normalise, type RatePrior } from "./rate-model.ts";

/** Memory of a link over a restart. Rates are of payload. */
export interface LinkMemory {
  /** 16 equally likely rates that the link has shown, in bits per second. Absent after too little evidence. */
  readonly upBitsPerSecond?: readonly number[] | undefined;
  readonly downBitsPerSecond?: readonly number[] | undefined;
  /** Median. */
  readonly roundTripMs?: number | undefined;
}

/** A memory with its age. */
export interface AgedLinkMemory {
  readonly memory: LinkMemory;
  readonly ageMs: number;
}

/** Spread of the log-rate around each remembered rate. */
const logSpread = 0.3;
/** Minimum share of the usual prior. The device may have moved, so links stay worth probes. */
const leastDoubt = 0.06;
/** Time after which half of the belief is the usual prior again. */
const halfLifeMs = 6 * 3_600_000;

/** The prior from remembered rates. The share of the usual prior grows with their age. */
export function rememberedRates(
  model: LinkModel,
  rates: readonly number[] | undefined,
  ageMs: number,
): RatePrior | undefined {
  if (!rates || rates.length === 0) return undefined;
  const { slowestBitsPerSecond, fastestBitsPerSecond } = model.parameters;
  const step = Math.log(fastestBitsPerSecond / slowestBitsPerSecond) / (model.rates - 1);
  const centres = rates.map((rate) =>
    Math.log(Math.min(fastestBitsPerSecond, Math.max(slowestBitsPerSecond, rate)) / slowestBitsPerSecond),
  );
  const believed = model.home.map((_, rate) =>
    centres.reduce((sum, centre) => sum + Math.exp(-0.5 * ((rate * step - centre) / logSpread) ** 2), 0),
  );
  normalise(believed);
  const kept = (1 - leastDoubt) * 0.5 ** (Math.max(0, ageMs) / halfLifeMs);
  const mixed = (share: number): Float64Array =>
    believed.map((weight, rate) => share * weight + (1 - share) * (model.home[rate] ?? 0));
  // The doubt does not apply to transfers longer than a rate lasts; see `link-hint.ts`.
  return { home: mixed(kept), lasting: mixed(kept / (1 - leastDoubt)) };
}

/** 16 rates in bits per second from weights over the rates of the model. */
export function ratesToRemember(model: LinkModel, weights: Float64Array): readonly number[] {
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const rates: number[] = [];
  let passed = 0;
  for (let rate = 0; rate < weights.length && rates.length < 16; rate++) {
    passed += (weights[rate] ?? 0) / total;
    while (rates.length < 16 && passed >= (rates.length + 0.5) / 16)
      rates.push(Math.round((model.packetsPerMs[rate] ?? 0) * packetBytes * 8000));
  }
  return rates;
}
