import { planName } from "@longshore/lab";
import { byteCount, milliseconds, table } from "../options/io.ts";
import { awayRatioOf, type Compared, type Comparison } from "./compare.ts";

/** What is recommended, with the figures behind it. */
export interface Advice {
  /**
   * `yes` when Longshore's mean is at least 5 % below the device's own, `sometimes` from 2 %, else `no`; `no` too when
   * hardly an answer came from elsewhere, because then two runs of the same thing differ by chance.
   */
  readonly offload: "yes" | "sometimes" | "no";
  /** Share of the device's own mean time that is saved; below 0 when it is lost. */
  readonly savedRatio: number;
  readonly savedEnergyRatio: number;
  readonly sentence: string;
}

/** Share of answers from elsewhere below which offloading is not what made a difference. */
const leastAway = 0.05;

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

/** The recommendation in words. */
export function adviceOf(comparison: Comparison): Advice {
  const ours = way(comparison, "longshore")?.score;
  const device = way(comparison, "device")?.score;
  if (!ours || !device) throw new Error("a comparison always holds Longshore and the device");
  const savedRatio = 1 - ours.meanMs / device.meanMs;
  const savedEnergyRatio = 1 - ours.millijoules / Math.max(1e-9, device.millijoules);
  const away = awayRatioOf(ours) >= leastAway;
  const offload = !away || savedRatio < 0.02 ? "no" : savedRatio >= 0.05 ? "yes" : "sometimes";
  const main = ours.plans[0];
  const where = main ? `${planName(main.plan)} for ${percent(main.ratio)} of the requests` : "nowhere";
  const energy = `${percent(Math.abs(savedEnergyRatio))} ${savedEnergyRatio >= 0 ? "less" : "more"} device energy (estimated)`;
  const times = `mean ${milliseconds(ours.meanMs)} instead of ${milliseconds(device.meanMs)}`;
  const { any, whole } = comparison.breakEven;
  const when = Number.isFinite(any)
    ? `It pays above about ${rateText(any)} of uplink${whole > any ? ` (sent whole: ${rateText(whole)})` : ""}.`
    : "No uplink is fast enough to beat this device: the round trip and the server's own time already take longer.";
  const sentence =
    offload === "no"
      ? `no: keep it on the device (${milliseconds(device.meanMs)}); offloading would gain ${away && savedRatio > 0 ? percent(savedRatio) : "nothing"} here. ${when}`
      : `${offload === "yes" ? "yes" : "sometimes"}: offloading saves ${percent(savedRatio)} of the time (${times}) with ${energy}; mostly ${where}. ${when}`;
  return { offload, savedRatio, savedEnergyRatio, sentence };
}

/** The comparison as text for people. */
export function adviceText(comparison: Comparison, advice: Advice): string {
  const rows = comparison.ways.map(({ name, candidate, score }) => [
    name,
    candidate
      ? planName(candidate.plan)
      : score.plans[0]
        ? `${planName(score.plans[0].plan)} ${percent(score.plans[0].ratio)}`
        : "-",
    milliseconds(score.meanMs),
    milliseconds(score.p95Ms),
    `${score.millijoules.toFixed(0)} mJ`,
    byteCount(score.sentBytes),
    String(score.misses),
  ]);
  const rates = comparison.rates.map(({ bitsPerSecond, meanMs, awayRatio, score }) => [
    rateText(bitsPerSecond),
    milliseconds(meanMs),
    percent(awayRatio),
    score.plans[0] ? planName(score.plans[0].plan) : "-",
  ]);
  const { whole, any } = comparison.breakEven;
  return [
    advice.sentence,
    "",
    table(["way", "plan", "mean", "p95", "device energy (est.)", "sent", "missed"], rows),
    "",
    `break-even uplink: ${rateText(any)} with the best cut, ${rateText(whole)} for the whole`,
    "",
    table(["uplink", "mean", "away", "mostly"], rates),
  ].join("\n");
}
