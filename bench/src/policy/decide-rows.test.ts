import { expect, it } from "vitest";
import { allLocal, oracle, replay, type ReplaySetting } from "./index.ts";
import { familyTrace, poissonArrivals, steadyArrivals } from "@longshore/lab";
import { replayOffloader } from "./replay-offloader.ts";

/**
 * Ten short rows of `bench decide`, as exact numbers: a constant of the decision that moves is seen here. Where a change is meant, run this
 * file with what it prints, and `bench decide` for what it costs.
 */
const rows: readonly (readonly [
  family: string,
  bytes: number,
  localMs: number,
  load: "beat" | number,
  figures: string,
])[] = [
  [
    "markov-modulated",
    20_000,
    400,
    "beat",
    "mean 223.024, oracle 190.440, here 400.000, p99 480.000, sent 0.700, twice 0.100, in vain 0.067",
  ],
  [
    "markov-modulated",
    150_000,
    400,
    0.6,
    "mean 479.990, oracle 467.343, here 767.387, p99 1039.701, sent 0.375, twice 0.125, in vain 0.063",
  ],
  [
    "long-outages",
    20_000,
    400,
    "beat",
    "mean 238.798, oracle 219.655, here 400.000, p99 470.000, sent 0.567, twice 0.083, in vain 0.033",
  ],
  [
    "long-outages",
    150_000,
    400,
    0.3,
    "mean 385.614, oracle 348.785, here 474.074, p99 886.958, sent 0.481, twice 0.148, in vain 0.037",
  ],
  [
    "bursty-wifi",
    150_000,
    400,
    0.8,
    "mean 190.720, oracle 163.642, here 1090.810, p99 799.553, sent 0.950, twice 0.183, in vain 0.117",
  ],
  [
    "bursty-wifi",
    20_000,
    100,
    "beat",
    "mean 79.869, oracle 76.702, here 100.000, p99 147.449, sent 0.817, twice 0.150, in vain 0.150",
  ],
  [
    "sawtooth",
    600_000,
    400,
    0.3,
    "mean 438.746, oracle 438.746, here 474.074, p99 714.719, sent 0.148, twice 0.111, in vain 0.000",
  ],
  [
    "drift",
    150_000,
    400,
    "beat",
    "mean 307.426, oracle 307.421, here 400.000, p99 400.000, sent 0.450, twice 0.050, in vain 0.033",
  ],
  [
    "slow-constant",
    20_000,
    400,
    0.6,
    "mean 746.882, oracle 722.810, here 767.387, p99 1967.334, sent 0.167, twice 0.146, in vain 0.021",
  ],
  [
    "middling-constant",
    20_000,
    100,
    0.8,
    "mean 110.640, oracle 106.091, here 272.702, p99 161.414, sent 0.917, twice 0.283, in vain 0.017",
  ],
];

it.each(rows)("%s, %i bytes, %i ms here, load %s", async (family, requestBytes, localMs, load, figures) => {
  const lengthMs = 30_000;
  const arrivals =
    load === "beat"
      ? steadyArrivals(500, lengthMs / 500)
      : poissonArrivals((1000 * load) / localMs, 60, 7).filter((atMs) => atMs < lengthMs);
  const trace = familyTrace(family, 5, lengthMs);
  const setting: ReplaySetting = {
    trace,
    requestBytes,
    localMs,
    serverMs: 15,
    roundTripMs: 50,
    arrivals,
    lengthMs,
  };
  const own = await replayOffloader(setting);
  const [best, here] = [replay(setting, oracle()), replay(setting, allLocal())];
  const said = [
    `mean ${own.meanMs.toFixed(3)}`,
    `oracle ${best.meanMs.toFixed(3)}`,
    `here ${here.meanMs.toFixed(3)}`,
    `p99 ${own.p99Ms.toFixed(3)}`,
    `sent ${own.remoteRatio.toFixed(3)}`,
    `twice ${own.extraRatio.toFixed(3)}`,
    `in vain ${own.inVainRatio.toFixed(3)}`,
  ].join(", ");
  expect(said).toBe(figures);
});
