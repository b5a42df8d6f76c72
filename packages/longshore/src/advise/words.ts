import { planName } from "@longshore/lab";
import { byteCount, milliseconds, table } from "../options/io.ts";
import { awayRatioOf, type Compared, type Comparison, payingRatio, pays, type Spread } from "./compare.ts";

/** The recommendation, with its figures. */
export interface Advice {
  /**
   * `yes` if the best way with the server saves at least 5 % of the device's mean time, and some time with every seed; `no`
   * below 2 %, and if a seed lost more than that; else `sometimes`.
   */
  readonly offload: "yes" | "sometimes" | "no";
  /** Share of the device's own mean time that Longshore saves; below 0 when it is lost. */
  readonly savedRatio: number;
  /** The least and the most of one seed. */
  readonly savedInterval: readonly [number, number];
  readonly savedEnergyRatio: number;
  readonly sentence: string;
}

/** Share of answers from elsewhere below which offloading is not what made a difference. */
const leastAway = 0.05;
/** A gain that is worth the trouble. */
const goodRatio = 0.05;

/** `2.4 Mbit/s`, `310 kbit/s`. */
export function rateText(bitsPerSecond: number): string {
  if (!Number.isFinite(bitsPerSecond)) return "no rate";
  return bitsPerSecond < 1e6
    ? `${Number((bitsPerSecond / 1e3).toPrecision(2))} kbit/s`
    : `${Number((bitsPerSecond / 1e6).toPrecision(2))} Mbit/s`;
}

const percent = (ratio: number): string => `${Math.round(ratio * 100)} %`;

function way(comparison: Comparison, name: Compared["name"]): Compared | undefined {
  return comparison.ways.find((one) => one.name === name);
}

/** `2 to 5 %`. */
const interval = ({ least, most }: Spread): string => `${Math.round(least * 100)} to ${percent(most)}`;

/** From which rate on the server pays, by the sweep. */
function whenText({ breakEven: { below, above }, rates }: Comparison): string {
  const [first] = rates;
  const last = rates.at(-1);
  if (above === Infinity)
    return `At no rate up to ${rateText(last?.bitsPerSecond ?? 0)} the server pays: the round trip and its own time already take longer.`;
  if (below === 0) return `The server pays at ${rateText(first?.bitsPerSecond ?? 0)} of uplink already.`;
  return `The server pays from ${rateText(above)} of uplink on, and not at ${rateText(below)}.`;
}

/** The recommendation in words. Everything is read from the replays that the tables show. */
export function adviceOf(comparison: Comparison): Advice {
  const ours = way(comparison, "longshore");
  const device = way(comparison, "device");
  if (!ours || !device) throw new Error("a comparison always holds Longshore and the device");
  const fixed = comparison.ways
    .filter(({ name }) => name !== "longshore" && name !== "device")
    .toSorted((a, b) => b.saved.middle - a.saved.middle)[0];
  const away = awayRatioOf(ours.score) >= leastAway;
  // Hardly any answer came from elsewhere: two runs of the same work differ at random.
  const own = away ? ours.saved : { middle: 0, least: 0, most: 0 };
  const best = fixed && fixed.saved.middle > own.middle ? fixed.saved : own;
  const offload =
    best.middle < payingRatio || best.least < -payingRatio
      ? "no"
      : best.middle >= goodRatio && best.least > 0
        ? "yes"
        : "sometimes";
  const savedEnergyRatio = 1 - ours.score.millijoules / Math.max(1e-9, device.score.millijoules);
  const sentences = [
    offload === "no"
      ? `no: keep it on the device (mean ${milliseconds(device.score.meanMs)})`
      : oursText(offload, ours, device, own, savedEnergyRatio),
    ...(fixed ? [fixedText(fixed)] : []),
    whenText(comparison),
  ];
  return {
    offload,
    savedRatio: ours.saved.middle,
    savedInterval: [ours.saved.least, ours.saved.most],
    savedEnergyRatio,
    sentence: `${sentences[0]}. ${sentences.slice(1).join(" ")}`,
  };
}

function oursText(
  offload: "yes" | "sometimes",
  { score }: Compared,
  device: Compared,
  own: Spread,
  savedEnergyRatio: number,
): string {
  const main = score.plans[0];
  const where = main ? `${planName(main.plan)} for ${percent(main.ratio)} of the requests` : "nowhere";
  const energy = `${percent(Math.abs(savedEnergyRatio))} ${savedEnergyRatio >= 0 ? "less" : "more"} device energy (estimated)`;
  const times = `mean ${milliseconds(score.meanMs)} instead of ${milliseconds(device.score.meanMs)}`;
  return `${offload}: Longshore saves ${percent(own.middle)} of the time (${interval(own)} over ${device.score.counted} requests; ${times}) with ${energy}, mostly ${where}`;
}

function fixedText({ candidate, saved }: Compared): string {
  const name = candidate ? planName(candidate.plan) : "another plan";
  const verb = saved.middle >= 0 ? "saves" : "loses";
  const shown = saved.middle >= 0 ? saved : { middle: -saved.middle, least: -saved.most, most: -saved.least };
  return `The best plan that never changes (${name}) ${verb} ${percent(shown.middle)} (${interval(shown)}).`;
}

/** The comparison as text for people. */
export function adviceText(comparison: Comparison, advice: Advice): string {
  const rows = comparison.ways.map(({ name, candidate, score, saved }) => [
    name,
    candidate
      ? planName(candidate.plan)
      : score.plans[0]
        ? `${planName(score.plans[0].plan)} ${percent(score.plans[0].ratio)}`
        : "-",
    milliseconds(score.meanMs),
    name === "device" ? "-" : `${percent(saved.middle)} (${interval(saved)})`,
    milliseconds(score.p95Ms),
    `${score.millijoules.toFixed(0)} mJ`,
    byteCount(score.sentBytes),
    String(score.misses),
  ]);
  const rates = comparison.rates.map((one) => [
    rateText(one.bitsPerSecond),
    milliseconds(one.deviceMs),
    milliseconds(one.bestMs),
    one.best ? planName(one.best.plan) : "-",
    pays(one) ? "yes" : "no",
    milliseconds(one.meanMs),
    percent(one.awayRatio),
  ]);
  const { inputBytes, variant } = comparison;
  const [least = 0] = inputBytes;
  const most = inputBytes.at(-1) ?? 0;
  const sizes = least === most ? byteCount(least) : `${byteCount(least)} to ${byteCount(most)}`;
  return [
    advice.sentence,
    "",
    `variant ${variant}, inputs of ${sizes}`,
    "",
    table(["way", "plan", "mean", "saved (spread)", "p95", "device energy (est.)", "sent", "missed"], rows),
    "",
    "at other uplinks:",
    table(["uplink", "device", "with server", "best plan", "pays", "longshore", "away"], rates),
    ...(comparison.leftOut.length === 0
      ? []
      : ["", `not measured, since the time was over (--within): ${comparison.leftOut.join("; ")}`]),
  ].join("\n");
}
