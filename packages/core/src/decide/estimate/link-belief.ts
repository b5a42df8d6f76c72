import { changed, type Estimate, estimateSize, left } from "../../words/estimate/index.ts";
import type { Direction, LinkLearner, TransferNote } from "../../wire/transport/index.ts";
import { probeHeadBytes } from "../../wire/transport/index.ts";
import { directionBelief } from "./direction-belief.ts";
import { type DurationBelief, durationBelief } from "./duration-belief.ts";
import { hintedRates, type LinkHint } from "./link-hint.ts";
import { type AgedLinkMemory, type LinkMemory, ratesToRemember, rememberedRates } from "./link-memory.ts";
import { probeBudget } from "./probe-budget.ts";
import { type LinkModel, linkModel, packetBytes, type RatePrior } from "./rate-model.ts";

/** Settings of the prior and of the probes of a link. All have defaults; one set serves all links. */
export interface LinkBeliefOptions {
  /** Tables of the model. Build one with `linkModel()` and share it: each costs a few milliseconds. */
  readonly model?: LinkModel;
  /** Facts about the link before anything was sent. Default: none. */
  readonly hint?: LinkHint;
  /** Memory of an earlier process about the link. It overrides a hint. Default: none. */
  readonly memory?: AgedLinkMemory;
  /** Bytes that a cancelled transfer may leave in buffers; default 64 kB. */
  readonly clogBytes?: number;
  /** Idle time after which a probe train is worth its bytes; default 250 ms. */
  readonly probeEveryMs?: number;
  /** A train is sized to pass in this time at a plausible high rate of the link; default 22 ms. */
  readonly probeTrainMs?: number;
  /** Share of the link that probes may take; default 0.04. */
  readonly probeShareRatio?: number;
}

/** A belief about a link that also takes hints from outside. */
export interface LinkBelief extends LinkLearner {
  /**
   * Replaces the hint. Measurements override it. `otherNetwork` (default false) first forgets what was measured, for a change of network.
   * Undefined removes the hint.
   */
  hinted(hint: LinkHint | undefined, otherNetwork?: boolean): void;
  /** The belief to keep over a restart; undefined after too little evidence. */
  remember(nowMs: number): LinkMemory | undefined;
}

/** Prior round trip, in milliseconds. */
const usualRoundTripMs = 60;
/** Spread of the prior round trip: this factor both ways. */
const roundTripFactor = 3;
/** Spread for a round trip from a hint, which may have been measured to another host. */
const hintedRoundTripFactor = 6;
/**
 * A trip of more than this many times the longest believed one waited for the link. Silences of the link are modelled separately. Without a
 * margin, a path with varying trips would repeatedly lose its longest ones.
 */
const farTripRatio = 2;
/** After this many such trips in a row, the path itself is taken to be longer. */
const longerTrips = 4;
/**
 * Which of the 16 quantiles bounds the link's own share of an exchange, once the link has carried data. Before that, the median bounds it.
 * With bursty packets half of the times exceed the median, and they would count a second time as a longer path.
 */
const seldomMore = 13;
/** Unread exchanges beyond this number are learned from at once. */
const mostExchanges = 64;
/** Longest probe train, in packets. */
const maxProbePackets = 64;
/** A train is sized for this quantile of the rate. A train for the median could never show that the median was too low. */
const quickRatio = 0.85;
/** A train of fewer packets says little. A slow link saves up for this many. */
const leastTrain = 3;
/** A train for a coming request is sent this long before the last useful moment, in milliseconds. */
const probeSlackMs = 15;
/** No train is sent if the link was used within this time, in milliseconds. */
const freshMs = 60;

/**
 * The belief about one link: a Bayes filter for each direction (see `rate-filter.ts`) and a distribution of round trips. Without evidence
 * it is the wide prior, with origin `prior`. Without new evidence it ages back into the prior. Times that go backwards are read as the
 * latest seen. Acknowledgements that repeat or shrink are ignored.
 */
export function linkBelief(options: LinkBeliefOptions = {}): LinkBelief {
  const { clogBytes = 65_536, probeEveryMs = 250, probeTrainMs = 22, probeShareRatio = 0.04 } = options;
  const model = options.model ?? linkModel();
  let { hint, memory } = options;
  const first = (direction: Direction): RatePrior | undefined =>
    rememberedRates(model, memory?.memory[`${direction}BitsPerSecond`], memory?.ageMs ?? 0) ??
    hintedRates(model, hint, direction);
  const sides: Record<Direction, ReturnType<typeof directionBelief>> = {
    up: directionBelief(model, clogBytes, first("up")),
    down: directionBelief(model, clogBytes, first("down")),
  };
  const budgets = { up: probeBudget(probeShareRatio), down: probeBudget(probeShareRatio) };
  let priorRoundTripMs = 0;
  let roundTrips = firstRoundTrips();
  /** Number of consecutive exchanges far beyond the longest believed trip. */
  let lateTrips = 0;
  let latestMs = -Infinity;
  /** Fastest exchange: an estimate of the path alone. Infinity until an exchange or an acknowledgement. */
  let baseMs = Infinity;

  /** Exchanges since the last read. Learning from them is deferred until after their answers were delivered. */
  let exchanges: { readonly tookMs: number; readonly askedMs: number; readonly nowMs: number }[] = [];

  function at(nowMs: number): number {
    const seen = exchanges;
    if (seen.length > 0) {
      exchanges = [];
      for (const one of seen) {
        learnTrip(one.tookMs, one.nowMs);
        sides.up.answered(one.askedMs, one.nowMs);
        sides.down.answered(one.askedMs, one.nowMs);
      }
    }
    return latest(nowMs);
  }
  function latest(nowMs: number): number {
    if (nowMs > latestMs && nowMs < Infinity) latestMs = nowMs;
    return latestMs === -Infinity ? 0 : latestMs;
  }
  function firstRoundTrips(): DurationBelief {
    const remembered = memory?.memory.roundTripMs;
    const told = remembered ?? hint?.roundTripMs ?? NaN;
    const known = told > 0 && told < Infinity;
    priorRoundTripMs = known ? told : usualRoundTripMs;
    const priorFactor = known && remembered === undefined ? hintedRoundTripFactor : roundTripFactor;
    return durationBelief({ priorMs: priorRoundTripMs, priorFactor });
  }
  const base = (): number => (baseMs === Infinity ? priorRoundTripMs : baseMs);

  /**
   * The path's share of an exchange, without the link's time for its bytes at the current rate. Otherwise a link that was slow for a while
   * would look distant for as long as its exchanges are remembered.
   */
  function pathOf(tookMs: number, bytes: number, now: number): number {
    const known = sides.up.origin !== "prior";
    const carryMs = sides.up.drainMs(bytes, now, false)[known ? seldomMore : estimateSize / 2] ?? 0;
    return Math.max(base(), tookMs - carryMs);
  }

  function learnTrip(tookMs: number, now: number): void {
    baseMs = Math.min(baseMs, tookMs);
    // The link carried at least one head meanwhile.
    sides.up.within(probeHeadBytes, tookMs);
    const aroundMs = pathOf(tookMs, packetBytes, now);
    const late = aroundMs > farTripRatio * roundTrips.longestMs(now);
    lateTrips = late ? lateTrips + 1 : 0;
    if (!late || lateTrips >= longerTrips) roundTrips.seen(aroundMs, now);
  }

  function about(direction: Direction): Pick<Estimate, "observedAtMs" | "origin"> {
    const { origin, observedAtMs } = sides[direction];
    return { origin, observedAtMs };
  }

  return {
    transferMs(bytes, direction, nowMs) {
      const now = at(nowMs);
      const size = whole(bytes);
      const side = sides[direction];
      const trips = roundTrips.estimate(now).values;
      // Small replies teach nothing. The way back is taken to be as fast as the way there until more is known.
      const unseen = direction === "down" && side.origin === "prior";
      const hinted = hint?.downBitsPerSecond !== undefined && sides.up.origin === "prior";
      const told = hinted || memory?.memory.downBitsPerSecond !== undefined;
      const like = unseen && !told ? sides.up : side;
      const alone = like.drainMs(size, now, false);
      // Waiting for the link happened on the way there: the first packet of a reply behaves as in exchanges.
      const first =
        direction === "down" && !(unseen && told) ? like.drainMs(packetBytes, now, false) : undefined;
      const queued = side.backlogBytes() === 0 ? undefined : side.drainMs(size, now, true);
      const read = new Float64Array(alone.length);
      for (let index = 0; index < read.length; index++) {
        const oneWay = (trips[Math.min(index, estimateSize - 1)] ?? 0) / 2;
        const value = alone[index] ?? 0;
        const idleMs = (first ? Math.max(0, value - (first[index] ?? 0)) : value) + oneWay;
        // With a backlog, acknowledgements of passed bytes are still arriving, so half a trip is done. But nothing arrives sooner than on
        // an idle link.
        read[index] = queued ? Math.max((queued[index] ?? 0) - base() / 2, idleMs) : idleMs;
      }
      const { values, tail } = split(read);
      const { origin, observedAtMs } = side;
      return { values, tail, observedAtMs, origin };
    },
    roundTripMs: (nowMs) => roundTrips.estimate(at(nowMs)),
    sendStarted(bytes, direction, nowMs, progress = "acknowledged"): TransferNote {
      const startMs = at(nowMs);
      const side = sides[direction];
      const wasIdle = side.backlogBytes() === 0;
      const delayMs = direction === "up" ? base() : 0;
      const firstMs = startMs + delayMs;
      const busyFromMs = progress === "none" ? Infinity : firstMs;
      const transfer = side.begin(Math.max(1, whole(bytes)), busyFromMs, startMs);
      return {
        progressed(totalBytes, progressMs) {
          if (progress === "none") return;
          const now = at(progressMs);
          if (direction === "up" && totalBytes > transfer.acknowledged) {
            // An acknowledgement faster than the believed round trip corrects it. A part of its time was spent on the bytes.
            if (now - startMs < baseMs) {
              const carryMs =
                Math.min(transfer.bytes, totalBytes) / packetBytes / side.packetsPerMs(quickRatio, now);
              const tookMs = now - startMs;
              // If the link is faster now than believed, or its packets came in a burst, that part would be nearly all of it. So small
              // errors cause small corrections.
              baseMs = tookMs - Math.min(carryMs, tookMs / 2, baseMs - tookMs);
            }
            // The first acknowledgement of a body on an idle link is an exchange. A late one is evidence about the rate.
            if (transfer.acknowledged === 0 && wasIdle) {
              const aroundMs = pathOf(now - startMs, Math.min(transfer.bytes, totalBytes), now);
              if (aroundMs <= (roundTrips.estimate(now).values[estimateSize - 1] ?? 0))
                roundTrips.seen(aroundMs, now);
            }
          }
          side.acknowledge(transfer, totalBytes, now);
        },
        ended(endMs, complete, otherMs = 0) {
          const now = at(endMs);
          if (progress === "acknowledged") {
            if (complete) side.acknowledge(transfer, transfer.bytes, now);
            side.end(transfer, now, complete);
          } else side.end(transfer, now, complete, Math.min(now, endMs) - firstMs - Math.max(0, otherMs));
        },
        broke(endMs) {
          side.drop(transfer, at(endMs));
        },
        remainingMs(askMs) {
          const now = at(askMs);
          if (transfer.acknowledged >= transfer.bytes) {
            return { values: new Float64Array(estimateSize), ...about(direction) };
          }
          const waitMs = Math.max(0, firstMs - now) - delayMs / 2;
          const drained: Estimate = { ...split(side.remainingMs(transfer, now)), ...about(direction) };
          const rest = changed(drained, (value) => Math.max(0, value + waitMs));
          return transfer.overtaken ? left(rest, now - startMs) : rest;
        },
        quiet(quietMs) {
          const now = at(quietMs);
          if (transfer.acknowledged < transfer.bytes) side.look(now);
        },
      };
    },
    roundTripSeen(tookMs, nowMs, otherMs = 0) {
      if (!(tookMs >= 0) || tookMs === Infinity) return;
      const seenMs = latest(nowMs);
      exchanges.push({ tookMs, askedMs: seenMs - tookMs - Math.max(0, otherMs), nowMs: seenMs });
      if (exchanges.length >= mostExchanges) at(nowMs);
    },
    probeBytes(direction, nowMs, dueInMs = Infinity, revived = false) {
      const now = at(nowMs);
      const side = sides[direction];
      const perMs = side.packetsPerMs(0.5, now);
      const budget = budgets[direction];
      const affordable = budget.affordable(now, perMs);
      // Transfers that began before the silence ended are overtaken.
      if (affordable < 1 || (side.backlogBytes() > 0 && !revived)) return 0;
      const quickPerMs = side.packetsPerMs(quickRatio, now);
      const wanted = Math.max(1, Math.min(maxProbePackets, Math.round(quickPerMs * probeTrainMs)));
      const idleMs = now - side.idleSinceMs(now);
      if (revived) {
        // The silence has saved up a budget for a train, and its end says nothing about the rate.
      } else if (dueInMs < Infinity) {
        const early = dueInMs > base() + probeTrainMs + probeSlackMs;
        if (early || dueInMs < base() || idleMs < freshMs) return 0;
      } else {
        if (idleMs < probeEveryMs) return 0;
        // A slow link saves up for a train that is long enough to measure it.
        const most = Math.min(5000, Math.max(probeEveryMs, wanted / (perMs * probeShareRatio)));
        if (affordable < Math.min(wanted, leastTrain) && idleMs < most) return 0;
      }
      const packets = Math.min(wanted, affordable);
      budget.spend(packets);
      return packets * packetBytes;
    },
    remember(nowMs) {
      const { values, origin: seen } = roundTrips.estimate(at(nowMs));
      const of = (direction: Direction): readonly number[] | undefined => {
        const weights = sides[direction].usual();
        return weights && ratesToRemember(model, weights);
      };
      const [upBitsPerSecond, downBitsPerSecond] = [of("up"), of("down")];
      const roundTripMs = seen === "prior" ? undefined : values[estimateSize / 2];
      if (!upBitsPerSecond && !downBitsPerSecond && roundTripMs === undefined) return undefined;
      return {
        ...(upBitsPerSecond ? { upBitsPerSecond } : {}),
        ...(downBitsPerSecond ? { downBitsPerSecond } : {}),
        ...(roundTripMs === undefined ? {} : { roundTripMs }),
      };
    },
    hinted(next, otherNetwork = false) {
      const unseen = roundTrips.estimate(at(latestMs)).origin === "prior";
      hint = next;
      if (otherNetwork) memory = undefined;
      for (const direction of ["up", "down"] as const)
        if (otherNetwork || sides[direction].origin === "prior") sides[direction].restart(first(direction));
      if (otherNetwork) baseMs = Infinity;
      if (otherNetwork || unseen) roundTrips = firstRoundTrips();
    },
  };
}

/** Sixteen values and their tail, which were read together. */
function split(read: Float64Array): Required<Pick<Estimate, "values" | "tail">> {
  return { values: read.subarray(0, estimateSize), tail: read.subarray(estimateSize) };
}

function whole(bytes: number): number {
  return bytes > 0 && bytes < Infinity ? bytes : 0;
}
