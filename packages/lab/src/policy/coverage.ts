/** Whether promises hold: predicted quantiles of the time of a send against what it took, beside figures of smoothed rates. */
import { type LinkBeliefOptions, quantileOf, seededRandom } from "@longshore/core";
import type { Trace } from "../trace/index.ts";
import { remote } from "./choices.ts";
import { honestSensor } from "./honest-sensor.ts";
import { ownRate } from "./own-rate.ts";
import { predictedMs, rateSmoother } from "./rate-plugs.ts";
import { replay } from "./replay.ts";

/** One send: what was promised and what it took, in milliseconds. */
export interface Send {
  readonly atMs: number;
  readonly promisedMs: Float64Array;
  /** By a smoothed rate that was told of the same acknowledgements. */
  readonly smoothedMs: number;
  /** By a smoothed rate of all that the line could carry. */
  readonly shownMs: number;
  readonly tookMs: number;
}

/** Packets in a millisecond: a smoothed rate of nothing would promise never, and lose to anything. */
const leastSmoothed = 1e-3;

/**
 * Sends at those instants or in that distance, both in milliseconds, whatever is believed, and writes down what was promised.
 * Link and sensor are as for policies.
 */
export function sends(
  trace: Trace,
  bytes: number,
  arrivals: number | readonly number[],
  link: LinkBeliefOptions,
): readonly Send[] {
  const sensor = honestSensor({ link });
  const roundTripMs = 50;
  const own = ownRate(roundTripMs);
  const shown = rateSmoother();
  const made: Omit<Send, "tookMs">[] = [];
  const setting = {
    trace,
    requestBytes: bytes,
    localMs: Infinity,
    serverMs: 15,
    roundTripMs,
    arrivals,
  };
  const { notes } = sensor;
  const { tookMs } = replay(setting, {
    name: "sends",
    arrived(request, sight) {
      const at = (rate: number): number => predictedMs(request, sight, Math.max(leastSmoothed, rate));
      made.push({
        atMs: sight.nowMs,
        promisedMs: sensor.replyMs(bytes, sight).values,
        smoothedMs: at(own.at(sight.nowMs)),
        shownMs: at(shown(sight)),
      });
      return remote();
    },
    probe: notes.probe,
    sent(...note) {
      own.notes.sent(...note);
      notes.sent(...note);
    },
    acknowledged(...note) {
      own.notes.acknowledged(...note);
      notes.acknowledged(...note);
    },
    sendEnded(...note) {
      own.notes.sendEnded(...note);
      notes.sendEnded(...note);
    },
  });
  return made.map((one, index) => ({ ...one, tookMs: tookMs[index] ?? NaN }));
}

/** Share of sends that were done by the promised quantile. */
export function coverageOf(list: readonly Send[], ratio: number): number {
  const kept = list.filter(({ promisedMs, tookMs }) => tookMs <= quantileAt(promisedMs, ratio));
  return kept.length / Math.max(1, list.length);
}

function quantileAt(values: Float64Array, ratio: number): number {
  return quantileOf({ values, observedAtMs: 0, origin: "measured" }, ratio);
}

/**
 * A 95 % interval of the coverage by a bootstrap over blocks of consecutive sends: neighbours share their link's luck, so
 * single sends would promise too narrow an interval (H. Künsch, 1989).
 */
export function coverageInterval(
  list: readonly Send[],
  ratio: number,
  blockSends = 30,
  seed = 1,
): readonly [number, number] {
  const random = seededRandom(seed);
  const blocks: (readonly Send[])[] = [];
  for (let from = 0; from < list.length; from += blockSends) blocks.push(list.slice(from, from + blockSends));
  const shares = Array.from({ length: 400 }, () => {
    let kept = 0;
    let count = 0;
    for (let drawn = 0; drawn < blocks.length; drawn++) {
      const block = blocks[Math.floor(random.next() * blocks.length)] ?? [];
      kept += coverageOf(block, ratio) * block.length;
      count += block.length;
    }
    return kept / Math.max(1, count);
  }).sort((a, b) => a - b);
  return [shares[10] ?? NaN, shares[389] ?? NaN];
}

/** Mean pinball loss of the promised quantiles, and of a smoothed rate's one figure taken for all of them, in milliseconds. */
export function pinballLoss(list: readonly Send[]): Readonly<Record<"ours" | "smoothed" | "shown", number>> {
  let ours = 0;
  let smoothed = 0;
  let shown = 0;
  let count = 0;
  for (const { promisedMs, smoothedMs, shownMs, tookMs } of list) {
    for (const [index, promised] of promisedMs.entries()) {
      const ratio = (index + 0.5) / promisedMs.length;
      ours += pinball(tookMs - promised, ratio);
      smoothed += pinball(tookMs - smoothedMs, ratio);
      shown += pinball(tookMs - shownMs, ratio);
      count += 1;
    }
  }
  const all = Math.max(1, count);
  return { ours: ours / all, smoothed: smoothed / all, shown: shown / all };
}

function pinball(over: number, ratio: number): number {
  return over >= 0 ? ratio * over : (ratio - 1) * over;
}
