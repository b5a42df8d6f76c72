/** Whether promises hold: predicted quantiles of the time of a send against what it took, beside figures of smoothed rates. */
import { seededRandom } from "@longshore/core";
import { type LinkBeliefOptions, quantileOf } from "@longshore/core/internal";
import type { Trace } from "@longshore/lab";
import { remote } from "./choices.ts";
import { honestSensor } from "./honest-sensor.ts";
import { ownRate } from "./own-rate.ts";
import { predictedMs, rateSmoother } from "./rate-plugs.ts";
import { replay } from "./replay.ts";

/** The predictions of a rate in milliseconds: for an empty link, and after the unacknowledged bytes. */
export interface RateFigures {
  readonly empty: number;
  readonly queued: number;
}

/** One send: the promised times and the real one, in milliseconds. */
export interface Send {
  readonly atMs: number;
  readonly promisedMs: Float64Array;
  /** By a smoothed rate that got the same acknowledgements. */
  readonly smoothedMs: RateFigures;
  /** By a smoothed rate of all that the line could carry. */
  readonly shownMs: RateFigures;
  readonly tookMs: number;
}

/** Packets in a millisecond: a smoothed rate of nothing would promise never, and lose to anything. */
const leastSmoothed = 1e-3;

/**
 * Sends at the given instants or at the given interval, both in milliseconds, whatever the belief, and records the promises.
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
  const shown = rateSmoother(true);
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
      const queued = own.unacknowledgedBytes();
      const at = (rate: number): RateFigures => {
        const packetsPerMs = Math.max(leastSmoothed, rate);
        return {
          empty: predictedMs(request, sight, packetsPerMs),
          queued: predictedMs(request, sight, packetsPerMs, queued),
        };
      };
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
 * The sends of one trace in blocks of consecutive ones: neighbours share their link's luck (H. Künsch, 1989). So do the rounds
 * in which the trace was replayed: a block holds the same stretch of each.
 */
export function sendBlocks(
  rounds: readonly (readonly Send[])[],
  blockSends = 30,
): readonly (readonly Send[])[] {
  const most = Math.max(0, ...rounds.map(({ length }) => length));
  return Array.from({ length: Math.ceil(most / blockSends) }, (_, index) =>
    rounds.flatMap((round) => round.slice(index * blockSends, (index + 1) * blockSends)),
  );
}

/** A 95 % interval of the coverage by a bootstrap over blocks: single sends would promise too narrow an interval. */
export function coverageInterval(
  blocks: readonly (readonly Send[])[],
  ratio: number,
  seed = 1,
): readonly [number, number] {
  const random = seededRandom(seed);
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

/** Mean pinball losses in milliseconds. */
export interface PinballLoss {
  readonly ours: number;
  readonly smoothed: RateFigures;
  readonly shown: RateFigures;
}

/** Of the promised quantiles, and of each figure of a smoothed rate used for all of them. */
export function pinballLoss(list: readonly Send[]): PinballLoss {
  const meanLoss = (valueOf: (send: Send, index: number) => number): number => {
    let sum = 0;
    let count = 0;
    for (const send of list) {
      const { length } = send.promisedMs;
      for (let index = 0; index < length; index++)
        sum += pinball(send.tookMs - valueOf(send, index), (index + 0.5) / length);
      count += length;
    }
    return sum / Math.max(1, count);
  };
  const ofRate = (figuresOf: (send: Send) => RateFigures): RateFigures => ({
    empty: meanLoss((send) => figuresOf(send).empty),
    queued: meanLoss((send) => figuresOf(send).queued),
  });
  return {
    ours: meanLoss(({ promisedMs }, index) => promisedMs[index] ?? NaN),
    smoothed: ofRate(({ smoothedMs }) => smoothedMs),
    shown: ofRate(({ shownMs }) => shownMs),
  };
}

function pinball(over: number, ratio: number): number {
  return over >= 0 ? ratio * over : (ratio - 1) * over;
}
