import { describe, expect, it } from "vitest";
import { exponential, seededRandom } from "../base/index.ts";
import { chanceBelow, meanOf, quantileOf } from "./estimate.ts";
import { linkBelief } from "./link-belief.ts";
import type { LinkLearner } from "./link.ts";
import { linkModel, packetBytes } from "./rate-model.ts";

const model = linkModel();
const roundTripMs = 20;
const bytes = 20_000;
const packets = Math.ceil(bytes / packetBytes);

/** A link of 20 Mbit/s that pauses so often for so long on average, and a body every half second on it. */
function used(
  pausesPerSecond: number,
  pauseMs: number,
  bodies: number,
): { link: LinkLearner; nowMs: number } {
  const random = seededRandom(7);
  const link = linkBelief({ model });
  for (let seen = 0; seen < 8; seen++) link.roundTripSeen(roundTripMs, 0);
  let pauseFromMs = exponential(random, 1000 / pausesPerSecond);
  let pauseToMs = pauseFromMs + exponential(random, pauseMs);
  /** When a packet may leave that is ready then. */
  const leaves = (readyMs: number): number => {
    while (pauseToMs < readyMs) {
      pauseFromMs = pauseToMs + exponential(random, 1000 / pausesPerSecond);
      pauseToMs = pauseFromMs + exponential(random, pauseMs);
    }
    return readyMs < pauseFromMs ? readyMs : pauseToMs;
  };
  let nowMs = 0;
  for (let body = 0; body < bodies; body++) {
    const note = link.sendStarted(bytes, "up", nowMs);
    let atMs = nowMs;
    for (let packet = 1; packet <= packets; packet++) {
      atMs = leaves(atMs + 0.58);
      note.progressed(Math.min(bytes, packet * packetBytes), atMs + roundTripMs);
    }
    note.ended(atMs + roundTripMs, true);
    nowMs = Math.max(nowMs + 500, atMs + roundTripMs + 100);
  }
  return { link, nowMs };
}

/** What is believed to remain of a body that began so long ago and of which nothing was heard. */
function afterSilence({ link, nowMs }: ReturnType<typeof used>, silentMs: number) {
  const note = link.sendStarted(bytes, "up", nowMs);
  return note.remainingMs(nowMs + roundTripMs + silentMs);
}

describe("the outages of a link", () => {
  it("are taken to end soon where it was seen to pause often and briefly", () => {
    const pausing = afterSilence(used(7, 25, 300), 30);
    const steady = afterSilence(used(0.001, 25, 300), 30);
    expect(chanceBelow(pausing, 150)).toBeGreaterThan(0.85);
    expect(chanceBelow(steady, 150)).toBeLessThan(0.8);
    expect(meanOf(pausing)).toBeLessThan(0.6 * meanOf(steady));
  });

  it("are taken to last longer where they did", () => {
    const short = afterSilence(used(7, 25, 300), 30);
    const long = afterSilence(used(3, 140, 300), 30);
    expect(quantileOf(long, 0.5)).toBeGreaterThan(1.5 * quantileOf(short, 0.5));
  });

  it("are expected as often as they came", () => {
    const late = ({ link, nowMs }: ReturnType<typeof used>): number =>
      quantileOf(link.transferMs(bytes, "up", nowMs), 0.9);
    expect(late(used(2, 100, 300))).toBeGreaterThan(1.5 * late(used(0.05, 100, 300)));
  });
});
