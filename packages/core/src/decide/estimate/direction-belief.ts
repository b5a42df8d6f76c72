/**
 * One direction of a link: turns sent and acknowledged bytes into evidence for the rate filter.
 *
 * The hard part is to know when the link was busy. Evidence is measured in **acknowledgement time**: a byte that passed is acknowledged one
 * round trip after the link could first have carried it. So a transfer makes the link busy from its start plus the base round trip until
 * its last byte is acknowledged. Silence is evidence during that time and no evidence outside it. A cancelled transfer leaves bytes in
 * buffers that are never acknowledged. The model lets them pass first, at the rate of each state.
 */
import { type Estimate, estimateSize } from "../../words/estimate/index.ts";
import { dispersionMeter } from "./dispersion.ts";
import { rateFilter } from "./rate-filter.ts";
import { chancesWithin, type LinkModel, packetBytes, type RatePrior } from "./rate-model.ts";

/** A transfer that the link has not finished. */
export interface OpenTransfer {
  readonly bytes: number;
  /** Silence is evidence from this instant on; Infinity if the transfer gets no acknowledgements. */
  readonly busyFromMs: number;
  acknowledged: number;
  /** Median of the predicted end; NaN if the end teaches nothing. */
  promisedAtMs: number;
  /** The transfer got no acknowledgement, and a later exchange was answered or failed. Something other than the link delays it. */
  overtaken: boolean;
}

/** State of one direction in `linkBelief`. */
export interface DirectionBelief {
  readonly origin: Estimate["origin"];
  readonly observedAtMs: number;
  begin(bytes: number, busyFromMs: number, nowMs: number): OpenTransfer;
  acknowledge(transfer: OpenTransfer, totalBytes: number, nowMs: number): void;
  /** Ends a transfer. `tookMs` is the link's time for the whole body, if no acknowledgement measured it. */
  end(transfer: OpenTransfer, nowMs: number, complete: boolean, tookMs?: number): void;
  /**
   * Ends a transfer whose connection was refused or closed: none of its bytes are still under way. Until something passes again, silence is
   * no evidence about the link or about other transfers.
   */
  drop(transfer: OpenTransfer, nowMs: number): void;
  /** A small exchange took at most `ms`. If nothing else was sent, this is the only evidence. */
  within(bytes: number, ms: number): void;
  /**
   * A small exchange that began at `askedMs` was answered. The silence is over, and bytes of transfers cancelled before it have passed.
   * Transfers that should have been acknowledged before it are marked as overtaken.
   */
  answered(askedMs: number, nowMs: number): void;
  /**
   * 16 quantiles of the time for `bytes`, followed by those of the tail, in acknowledgement time from now. `queued` puts the bytes behind
   * the transfers under way. Read-only.
   */
  drainMs(bytes: number, nowMs: number, queued: boolean): Float64Array;
  /** The same quantiles until the last byte of `transfer`. */
  remainingMs(transfer: OpenTransfer, nowMs: number): Float64Array;
  /** Learns from the time until `nowMs`, as reading at that time does. */
  look(nowMs: number): void;
  /** Bytes under way that will be acknowledged. */
  backlogBytes(): number;
  /** End of the last transfer; `nowMs` while one is under way. */
  idleSinceMs(nowMs: number): number;
  /** Weights of the rates this link has shown; undefined after too little evidence. */
  usual(): Float64Array | undefined;
  /** Quantile `ratio` of the packets per millisecond while the link is on. */
  packetsPerMs(ratio: number, nowMs: number): number;
  /** Forgets all evidence, but not the transfers under way. Starts again from `prior`, by default the model's. */
  restart(prior?: RatePrior): void;
}

const cachedSizes = 64;
/** Number of separate groups of cancelled bytes. */
const mostClogs = 4;
/** Change of the log-calibration for each kept or missed prediction. */
const calibrationStep = 0.02;
/** Initial calibration. */
const firstCalibration = 0.9;
/** Limits of the calibration. */
const calibrationLimits = { least: 0.6, most: 1.6 };
/** Count variance besides the link's own, in squared packets: each end of the count is off by a part of a packet. */
const countError = 0.5;
/** A body of fewer packets does not change the calibration. */
const leastPromised = 8;

/** Bytes of cancelled transfers. They are never acknowledged. */
interface Clog {
  /** Packets of the group that have not passed yet, for each rate. */
  readonly packets: Float64Array;
  /** Transfers that were under way before the cancellation. The cancelled bytes may lie behind theirs. */
  before: readonly OpenTransfer[];
  /** Time of the latest cancellation in the group. */
  givenUpMs: number;
}

/** Starts from the model's prior or from `prior`. `clogBytes` bounds what a cancelled transfer may leave in buffers. */
export function directionBelief(model: LinkModel, clogBytes: number, prior?: RatePrior): DirectionBelief {
  const filter = rateFilter(model, prior);
  const { tickMs } = model.parameters;
  let open: readonly OpenTransfer[] = [];
  /** In the order in which they pass: a transfer in front of one group is in front of all later groups. */
  let clogs: readonly Clog[] = [];
  let filterMs = NaN;
  let markMs = NaN;
  let busyMs = 0;
  let packets = 0;
  let burst = 1;
  let meter = dispersionMeter(model.parameters.dispersion);
  const dispersion = (): number => Math.max(meter.dispersion, Math.min(burst, 2 * (burst - 1)));
  /** Factor on the model's times. It makes the measured median match the predicted one on this link. */
  let calibration = firstCalibration;
  let quietSinceMs = -Infinity;
  /** True if no byte of the open transfers has passed since silence became evidence. */
  let silent = false;
  /** The latest event was a refused or closed connection: silence is no evidence until something passes. */
  let broken = false;
  let usedMs = 0;
  let origin: Estimate["origin"] = "prior";
  let observedAtMs = -Infinity;
  /** A new map each time: an emptied one would retain all entries it ever held (see `Chain`). */
  let cache = new Map<number, Float64Array>();
  let cacheVersion = -1;

  /** When silence becomes evidence. Fewer bytes than one usual acknowledgement covers may never cause one. */
  function busyFromMs(): number {
    let from = Infinity;
    for (const { bytes, acknowledged, busyFromMs, overtaken } of open) {
      if (overtaken) continue;
      if (bytes - acknowledged >= 0.5 * burst * packetBytes || burst < 2) from = Math.min(from, busyFromMs);
    }
    return from;
  }

  /** Adds the busy part of the time since the last mark. */
  function mark(nowMs: number): void {
    const from = Math.max(markMs, busyFromMs());
    if (nowMs > from) busyMs += nowMs - from;
    markMs = Math.max(markMs, nowMs);
  }

  /** The cancelled packets, if they are next to pass. */
  function next(): Float64Array | undefined {
    const [first] = clogs;
    return first?.before.length === 0 ? first.packets : undefined;
  }

  /** Turns the acknowledgements since the last tick into evidence. */
  function learn(): void {
    const unseen = next();
    filter.observe(busyMs, packets, dispersion() + countError / Math.max(packets, 0.5), unseen);
    if (unseen && packets > 0) clogs = clogs.slice(1);
    if (packets > 0 || busyMs > 0) silent = packets <= 0;
    busyMs = 0;
    packets = 0;
  }

  function drainUnseen(ms: number): void {
    if (clogs.length === 0) return;
    for (let rate = 0; rate < model.rates; rate++) {
      let passed = (model.packetsPerMs[rate] ?? 0) * ms * filter.onChance(rate);
      for (const clog of clogs) {
        const left = (clog.packets[rate] ?? 0) - passed;
        clog.packets[rate] = Math.max(0, left);
        passed = Math.max(0, -left);
      }
    }
    clogs = clogs.filter((clog) => clog.packets.some((left) => left > 0));
  }

  /** The cancelled packets of the first groups. */
  function unseenIn(first: number): Float64Array | undefined {
    if (first <= 1) return first === 0 ? undefined : clogs[0]?.packets;
    const sum = new Float64Array(model.rates);
    for (const { packets: some } of clogs.slice(0, first))
      for (let rate = 0; rate < sum.length; rate++) sum[rate] = (sum[rate] ?? 0) + (some[rate] ?? 0);
    return sum;
  }

  /** Number of groups in front of a transfer. */
  function clogsBefore(transfer: OpenTransfer): number {
    const behind = clogs.findIndex(({ before }) => before.includes(transfer));
    return behind < 0 ? clogs.length : behind;
  }

  /** A transfer was cancelled: its remaining bytes lie behind all bytes under way. */
  function clog(bytes: number, nowMs: number): void {
    const last = clogs.at(-1);
    const stuck = Math.min(bytes, clogBytes) / packetBytes;
    // Joins the last group if no transfer began in between, or if there are too many groups.
    const same = last && (last.before.length === open.length || clogs.length === mostClogs);
    if (same) {
      for (let rate = 0; rate < model.rates; rate++) last.packets[rate] = (last.packets[rate] ?? 0) + stuck;
      last.givenUpMs = nowMs;
    } else {
      const unseen = new Float64Array(model.rates).fill(stuck);
      clogs = [...clogs, { packets: unseen, before: open, givenUpMs: nowMs }];
    }
    cache = new Map();
  }

  /** Moves the filter to the last whole tick before `nowMs`. */
  function advance(nowMs: number): void {
    if (!Number.isFinite(nowMs)) return;
    if (Number.isNaN(filterMs)) {
      filterMs = nowMs;
      markMs = nowMs;
      usedMs = nowMs;
    }
    while (filterMs + tickMs <= nowMs) {
      // Rounding may make this tick less than a whole one. Every turn has to move on all the same.
      const whole = Math.max(1, Math.floor((nowMs - filterMs) / tickMs));
      const from = busyFromMs();
      let ticks = 1;
      if (packets === 0 && busyMs === 0) {
        if (from >= nowMs) ticks = whole;
        else if (from > filterMs + tickMs) ticks = Math.max(1, Math.floor((from - filterMs) / tickMs));
        // Longer silences take coarser steps: the weights change with the logarithm of the silence.
        else ticks = Math.max(1, Math.min(whole, Math.floor((filterMs - quietSinceMs) / tickMs / 12)));
      }
      const endMs = filterMs + ticks * tickMs;
      mark(endMs);
      filter.pass(ticks);
      if (busyMs > 0 || packets > 0) {
        meter.count(packets, ticks === 1 && busyMs > 0.95 * tickMs && clogs.length === 0);
        if (packets > 0) quietSinceMs = endMs;
        learn();
      } else {
        drainUnseen(ticks * tickMs);
        quietSinceMs = endMs;
      }
      filterMs = endMs;
    }
  }

  /**
   * On an idle link a reader may see a state as old as a tenth of the idle time. The state hardly changes, and reading stays cheap. Before
   * the first transfer it does not change at all.
   */
  function look(nowMs: number): void {
    if (open.length === 0 && !(nowMs - filterMs >= 0.1 * (filterMs - usedMs))) return;
    advance(nowMs);
  }

  /** The time for `total` bytes behind the cancelled bytes, or behind those in front of `transfer`. */
  function completion(total: number, nowMs: number, transfer?: OpenTransfer): Float64Array {
    look(nowMs);
    const inFront = transfer ? clogsBefore(transfer) : clogs.length;
    if (cacheVersion !== filter.version) {
      cache = new Map();
      cacheVersion = filter.version;
    }
    // Sizes within 2 % share an entry: the belief is far less precise.
    const size = Math.round(Math.log(Math.max(total, 1) / packetBytes) * 50);
    const key = size + inFront / (mostClogs + 1);
    let values = cache.get(key);
    if (!values) {
      values = filter.completionMs(Math.exp(size / 50), dispersion(), unseenIn(inFront));
      for (let index = 0; index < values.length; index++) values[index] = (values[index] ?? 0) * calibration;
      if (cache.size >= cachedSizes) cache = new Map();
      cache.set(key, values);
    }
    return values;
  }

  /** Adjusts the calibration after a kept or missed prediction. */
  function judge({ promisedAtMs }: OpenTransfer, nowMs: number, complete: boolean): void {
    const broken = nowMs > promisedAtMs;
    if (Number.isNaN(promisedAtMs) || (!complete && !broken)) return;
    const moved = calibration * Math.exp(broken ? calibrationStep : -calibrationStep);
    calibration = Math.min(calibrationLimits.most, Math.max(calibrationLimits.least, moved));
  }

  /**
   * The predicted median for a body that begins now, behind the transfers under way. Their acknowledgements are already on the way, so it
   * may be short; but it is never shorter than on an idle link.
   */
  function promise(bytes: number, from: number, nowMs: number): number {
    if (clogs.length > 0 || from === Infinity || bytes < leastPromised * packetBytes) return NaN;
    const queued = unacknowledged();
    const alone = from + medianMs(bytes, nowMs);
    return queued > 0 ? Math.max(alone, nowMs + medianMs(queued + bytes, nowMs)) : alone;
  }

  function medianMs(bytes: number, nowMs: number): number {
    const values = completion(bytes, nowMs);
    return ((values[estimateSize / 2 - 1] ?? NaN) + (values[estimateSize / 2] ?? NaN)) / 2;
  }

  function unacknowledged(until?: OpenTransfer): number {
    let bytes = 0;
    for (const transfer of open) {
      if (!transfer.overtaken || transfer === until) bytes += transfer.bytes - transfer.acknowledged;
      if (transfer === until) break;
    }
    return bytes;
  }

  /** Marks a transfer that something other than the link delays. */
  function overtake(transfer: OpenTransfer): void {
    transfer.overtaken = true;
    transfer.promisedAtMs = NaN;
  }

  function close(transfer: OpenTransfer): void {
    usedMs = markMs;
    open = open.filter((one) => one !== transfer);
    const held = clogs.slice(clogsBefore(transfer));
    if (held.length === 0) return;
    // Those bytes passed in front of the cancelled packets and say nothing about them.
    learn();
    for (const one of held) one.before = one.before.filter((other) => other !== transfer);
    joinFree();
  }

  /** Joins the groups that no transfer is in front of. */
  function joinFree(): void {
    const free = clogs.filter(({ before }) => before.length === 0).length;
    const packets = free > 1 ? unseenIn(free) : undefined;
    const givenUpMs = clogs[free - 1]?.givenUpMs ?? 0;
    if (packets) clogs = [{ packets, before: [], givenUpMs }, ...clogs.slice(free)];
  }

  return {
    get origin() {
      return origin;
    },
    get observedAtMs() {
      return observedAtMs;
    },
    begin(bytes, from, nowMs) {
      advance(nowMs);
      mark(nowMs);
      const promisedAtMs = broken ? NaN : promise(bytes, from, nowMs);
      const transfer = { bytes, busyFromMs: from, acknowledged: 0, promisedAtMs, overtaken: broken };
      // Copies the array: a group may hold the previous one as its `before`.
      open = [...open, transfer];
      return transfer;
    },
    acknowledge(transfer, totalBytes, nowMs) {
      const total = Math.min(transfer.bytes, totalBytes);
      if (!(total > transfer.acknowledged) || !open.includes(transfer)) return;
      broken = false;
      advance(nowMs);
      mark(nowMs);
      const gained = (total - transfer.acknowledged) / packetBytes;
      transfer.acknowledged = total;
      // It is unknown when the link carried an overtaken transfer.
      if (!transfer.overtaken) {
        packets += gained;
        const step = Math.min(64, gained) - burst;
        burst += step * (step > 0 ? 0.3 : 0.1);
      }
      transfer.overtaken = false;
      origin = "measured";
      observedAtMs = Math.max(observedAtMs, nowMs);
      if (total < transfer.bytes) return;
      judge(transfer, nowMs, true);
      close(transfer);
    },
    end(transfer, nowMs, complete, tookMs) {
      if (!open.includes(transfer)) return;
      advance(nowMs);
      mark(nowMs);
      const left = transfer.bytes - transfer.acknowledged;
      judge(transfer, nowMs, false);
      close(transfer);
      if (complete && tookMs !== undefined) {
        broken = false;
        // One measurement of the whole body counts as one acknowledgement, whatever its size.
        const whole = transfer.bytes / packetBytes;
        filter.observe(Math.max(0.5, tookMs), whole, Math.max(1, whole / 2), undefined, true);
        silent = false;
        origin = "measured";
        observedAtMs = Math.max(observedAtMs, nowMs);
      }
      if (complete || left <= 0 || transfer.overtaken) return;
      learn();
      clog(left, nowMs);
    },
    drop(transfer, nowMs) {
      if (!open.includes(transfer)) return;
      advance(nowMs);
      if (packets === 0) busyMs = 0;
      markMs = Math.max(markMs, nowMs);
      broken = true;
      close(transfer);
      for (const one of open) if (one.acknowledged === 0) overtake(one);
      if (!silent) return;
      // The connection was refused or closed, so the link is not silent.
      silent = false;
      filter.answered();
    },
    within(bytes, ms) {
      if (Number.isNaN(filterMs)) filter.within(chancesWithin(model, bytes / packetBytes, ms));
    },
    answered(askedMs, nowMs) {
      broken = false;
      if (!silent && clogs.length === 0) return;
      advance(nowMs);
      learn();
      clogs = clogs.filter(({ givenUpMs }) => givenUpMs >= askedMs);
      for (const one of open) {
        if (one.acknowledged > 0 || one.busyFromMs >= askedMs) continue;
        overtake(one);
      }
      // Used once: further answers add nothing about a silence that is over.
      silent = busyFromMs() < nowMs;
      filter.answered();
    },
    drainMs: (bytes, nowMs, queued) => completion((queued ? unacknowledged() : 0) + bytes, nowMs),
    remainingMs: (transfer, nowMs) => completion(unacknowledged(transfer), nowMs, transfer),
    look,
    backlogBytes: () => unacknowledged(),
    idleSinceMs: (nowMs) => (open.length > 0 ? nowMs : usedMs),
    packetsPerMs(ratio, nowMs) {
      look(nowMs);
      return filter.packetsPerMs(ratio);
    },
    usual: () => filter.usual(),
    restart(next) {
      filter.restart(next);
      meter = dispersionMeter(model.parameters.dispersion);
      calibration = firstCalibration;
      clogs = [];
      burst = 1;
      busyMs = 0;
      packets = 0;
      silent = false;
      broken = false;
      // The silence until now belongs to another network.
      filterMs = NaN;
      markMs = NaN;
      quietSinceMs = -Infinity;
      cache = new Map();
      for (const transfer of open) transfer.promisedAtMs = NaN;
      origin = "prior";
      observedAtMs = -Infinity;
    },
  };
}
