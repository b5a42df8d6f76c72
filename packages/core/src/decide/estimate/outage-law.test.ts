import { describe, expect, it } from "vitest";
import { exponential, seededRandom } from "../../words/base/index.ts";
import { chanceBelow, meanOf, quantileOf } from "../../words/estimate/index.ts";
import { linkBelief } from "./link-belief.ts";
import type { LinkLearner } from "../../wire/transport/index.ts";
import { outageLaw } from "./outage-law.ts";
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
  progress: "acknowledged" | "none" = "acknowledged",
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
    const note = link.sendStarted(bytes, "up", nowMs, progress);
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

/** The same after one more body, with a pause of 60 ms that was seen. */
function paused({ link, nowMs }: ReturnType<typeof used>): ReturnType<typeof used> {
  const note = link.sendStarted(bytes, "up", nowMs);
  note.progressed(bytes / 2, nowMs + roundTripMs + 5);
  note.ended(nowMs + roundTripMs + 70, true);
  return { link, nowMs: nowMs + 500 };
}

/** The believed rest of a body that began so long ago and of which nothing was acknowledged. */
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

  it("are not learned from bodies in which no silence could be seen", () => {
    const unseen = afterSilence(paused(used(0.001, 25, 300, "none")), 30);
    const steady = afterSilence(paused(used(0.001, 25, 300)), 30);
    expect(chanceBelow(unseen, 150)).toBeGreaterThan(chanceBelow(steady, 150) + 0.1);
  });
});

describe("outageLaw", () => {
  const { rates, modes, parameters } = model;
  const { tickMs } = parameters;
  const likelihood = new Float64Array(rates);
  /** Weights of a link that is in one mode for sure. */
  const within = (mode: number, weight = 1): Float64Array => {
    const weights = new Float64Array(modes * rates);
    weights[mode * rates + rates / 2] = weight;
    return weights;
  };
  const on = within(0);
  /** How often an outage of a mode is believed to begin, in a second. */
  const perSecond = (law: ReturnType<typeof outageLaw>, mode: number): number =>
    ((law.powers[0]?.[mode] ?? NaN) * 1000) / tickMs;
  /** A body a second, of which packets came in the first tick. */
  function quiet(law: ReturnType<typeof outageLaw>, seconds: number): void {
    for (let second = 0; second < seconds; second++) {
      law.pass(on, 1000 / tickMs);
      law.observed(on, likelihood, 8, tickMs);
    }
  }
  /** A silence of so many ticks within known work, in an outage of a mode for sure. */
  function silence(law: ReturnType<typeof outageLaw>, mode: number, ticks: number): void {
    for (let tick = 0; tick < ticks; tick++) {
      law.pass(within(mode), 1);
      law.observed(within(mode), likelihood, 0, tickMs);
    }
  }
  /** All of what is on by then comes from that outage. */
  function packetsCame(law: ReturnType<typeof outageLaw>, mode: number): void {
    law.pass(within(mode), 1);
    law.observed(within(0, 0.01), likelihood, 8, tickMs);
  }

  it("does not hold hours without outages against the first ones", () => {
    const law = outageLaw(model);
    quiet(law, 36_000);
    silence(law, 1, 3);
    packetsCame(law, 1);
    expect(perSecond(law, 2)).toBeLessThan(0.3 * 0.03);
    // A train now: 20 within ten minutes.
    for (let count = 0; count < 20; count++) {
      quiet(law, 29);
      silence(law, 2, 90);
      packetsCame(law, 2);
    }
    expect(perSecond(law, 2)).toBeGreaterThan(0.3 * (20 / 600));
  });

  it("takes a silence to be over when nobody looks", () => {
    const [asked, broken] = [outageLaw(model), outageLaw(model)];
    for (const law of [asked, broken]) {
      for (let count = 0; count < 20; count++) {
        silence(law, 1, 20);
        // Given up; the next body begins after a minute and is under way at once.
        if (law === broken) law.pass(within(1), 6000);
        silence(law, 1, 2);
        packetsCame(law, 1);
      }
    }
    expect(broken.meanMs(1)).toBeLessThan(0.6 * asked.meanMs(1));
  });

  it("charges no silence with what was believed of the one before", () => {
    const [once, twice] = [outageLaw(model), outageLaw(model)];
    for (const law of [once, twice]) {
      for (let count = 0; count < 20; count++) {
        silence(law, 1, 3);
        packetsCame(law, 1);
        if (law === once) continue;
        // Within the same tick: silence, then packets again.
        law.observed(on, likelihood, 0, 1);
        law.observed(on, likelihood, 8, 1);
      }
    }
    expect(perSecond(twice, 1)).toBeLessThan(1.01 * perSecond(once, 1));
  });
});
