/**
 * One direction of a link: what was handed over and acknowledged becomes evidence for the rate filter.
 *
 * The hard part is to know when the link was busy. Evidence lives in **acknowledgement time**: a byte that passed shows up
 * one round trip after the link could first have carried it. So a transfer makes the link busy from its start plus the
 * base round trip until its last byte is acknowledged; silence then is evidence, silence otherwise is none. A transfer
 * that was given up leaves bytes behind that no acknowledgement will ever tell of: they pass first, at whatever rate
 * each state believes in.
 */
import { type Estimate, estimateSize } from "../../words/estimate/index.ts";
import { dispersionMeter } from "./dispersion.ts";
import { rateFilter } from "./rate-filter.ts";
import { chancesWithin, type LinkModel, packetBytes, type RatePrior } from "./rate-model.ts";

/** A transfer that the link still owes. */
export interface OpenTransfer {
  readonly bytes: number;
  /** From when on silence is evidence; Infinity where no acknowledgements will come. */
  readonly busyFromMs: number;
  acknowledged: number;
  /** Instant by which it was as likely done as not; NaN where nothing can be learned from that. */
  promisedAtMs: number;
  /** Nothing was heard of it, and what was asked later is answered, or broke: something else than the link keeps it. */
  overtaken: boolean;
}

/** What `linkBelief` keeps for each direction. */
export interface DirectionBelief {
  readonly origin: Estimate["origin"];
  readonly observedAtMs: number;
  begin(bytes: number, busyFromMs: number, nowMs: number): OpenTransfer;
  acknowledge(transfer: OpenTransfer, totalBytes: number, nowMs: number): void;
  /** `tookMs`: what the link needed for the whole of it, where no acknowledgement told. */
  end(transfer: OpenTransfer, nowMs: number, complete: boolean, tookMs?: number): void;
  /**
   * Its connection was refused or closed: nothing of it is left on the way. Until something passes again, silence says nothing of the link, nor of
   * what else is under way.
   */
  drop(transfer: OpenTransfer, nowMs: number): void;
  /** Something small took no longer than that: as long as nothing else was sent, all that is known. */
  within(bytes: number, ms: number): void;
  /**
   * Something small was answered that was asked at `askedMs`: a silence is over, what was given up before has passed, and what was to
   * be heard of before is overtaken.
   */
  answered(askedMs: number, nowMs: number): void;
  /**
   * 16 quantiles of the time for `bytes` and those of their tail, in acknowledgement time from now; behind what is under way,
   * or as if nothing were. Read-only.
   */
  drainMs(bytes: number, nowMs: number, queued: boolean): Float64Array;
  /** The same until the last byte of `transfer`. */
  remainingMs(transfer: OpenTransfer, nowMs: number): Float64Array;
  /** Bytes under way that will be acknowledged. */
  backlogBytes(): number;
  /** When the last transfer ended; now while one is under way. */
  idleSinceMs(nowMs: number): number;
  /** Weights of the rates that it was seen to have; undefined where too little was seen. */
  usual(): Float64Array | undefined;
  /** Packets in a millisecond that the link, while on, is believed not to exceed with chance `ratio`. */
  packetsPerMs(ratio: number, nowMs: number): number;
  /** Forgets all that was seen, but not what is under way, and begins at a prior, by default the model's. */
  restart(prior?: RatePrior): void;
}

const cachedSizes = 64;
/** Endpoints in the order of bytes at which some were given up that are told apart. */
const mostClogs = 4;
/** How far one kept or broken promise moves the calibration, as a logarithm. */
const calibrationStep = 0.02;
/** The calibration at the start. */
const firstCalibration = 0.9;
/** How far the calibration may go. */
const calibrationLimits = { least: 0.6, most: 1.6 };
/** Variance of a count besides the link's own, in squared packets: at both ends it is off by a part of a packet. */
const countError = 0.5;
/** Packets below which a body's time says little about promises. */
const leastPromised = 8;

/** Bytes of transfers that were given up, which nobody will acknowledge. */
interface Clog {
  /** Their packets that have not passed yet, as each rate believes. */
  readonly packets: Float64Array;
  /** Transfers that are under way since before one was given up: its bytes may lie behind theirs. */
  before: readonly OpenTransfer[];
  /** When the last of them was given up. */
  givenUpMs: number;
}

/** A belief at the model's prior, or at another one. `clogBytes` is what a cancelled transfer may leave in buffers. */
export function directionBelief(model: LinkModel, clogBytes: number, prior?: RatePrior): DirectionBelief {
  const filter = rateFilter(model, prior);
  const { tickMs } = model.parameters;
  let open: readonly OpenTransfer[] = [];
  /** In the order in which they pass: who is in front of one is in front of those after it. */
  let clogs: readonly Clog[] = [];
  let filterMs = NaN;
  let markMs = NaN;
  let busyMs = 0;
  let packets = 0;
  let burst = 1;
  let meter = dispersionMeter(model.parameters.dispersion);
  const dispersion = (): number => Math.max(meter.dispersion, Math.min(burst, 2 * (burst - 1)));
  /** Times are what the model says times this: medians are kept half of the time on the link as it is. */
  let calibration = firstCalibration;
  let quietSinceMs = -Infinity;
  /** Nothing of a transfer passed since silence was evidence. */
  let silent = false;
  /** The last that was heard is that a connection was refused or closed: silence says nothing of the link until something passes. */
  let broken = false;
  let usedMs = 0;
  let origin: Estimate["origin"] = "prior";
  let observedAtMs = -Infinity;
  /** A new one each time: one that is emptied would keep all that was ever in it (see `Chain`). */
  let cache = new Map<number, Float64Array>();
  let cacheVersion = -1;

  /** When silence begins to be evidence. Less than a usual acknowledgement's worth of bytes may never cause one. */
  function busyFromMs(): number {
    let from = Infinity;
    for (const { bytes, acknowledged, busyFromMs, overtaken } of open) {
      if (overtaken) continue;
      if (bytes - acknowledged >= 0.5 * burst * packetBytes || burst < 2) from = Math.min(from, busyFromMs);
    }
    return from;
  }

  /** Counts the busy part of the time since the last mark. */
  function mark(nowMs: number): void {
    const from = Math.max(markMs, busyFromMs());
    if (nowMs > from) busyMs += nowMs - from;
    markMs = Math.max(markMs, nowMs);
  }

  /** The unseen packets, where they are next to pass. */
  function next(): Float64Array | undefined {
    const [first] = clogs;
    return first?.before.length === 0 ? first.packets : undefined;
  }

  /** What was acknowledged since the last tick becomes evidence. */
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

  /** The unseen packets of the first so many clogs. */
  function unseenIn(first: number): Float64Array | undefined {
    if (first <= 1) return first === 0 ? undefined : clogs[0]?.packets;
    const sum = new Float64Array(model.rates);
    for (const { packets: some } of clogs.slice(0, first))
      for (let rate = 0; rate < sum.length; rate++) sum[rate] = (sum[rate] ?? 0) + (some[rate] ?? 0);
    return sum;
  }

  /** How many clogs are in front of a transfer. */
  function clogsBefore(transfer: OpenTransfer): number {
    const behind = clogs.findIndex(({ before }) => before.includes(transfer));
    return behind < 0 ? clogs.length : behind;
  }

  /** One was given up: what it left lies behind all that is under way. */
  function clog(bytes: number, nowMs: number): void {
    const last = clogs.at(-1);
    const stuck = Math.min(bytes, clogBytes) / packetBytes;
    // Nothing came between, or there are too many to be told apart.
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
      const whole = Math.floor((nowMs - filterMs) / tickMs);
      const from = busyFromMs();
      let ticks = 1;
      if (packets === 0 && busyMs === 0) {
        if (from >= nowMs) ticks = whole;
        else if (from > filterMs + tickMs) ticks = Math.floor((from - filterMs) / tickMs);
        // The longer the silence, the coarser its steps: the weights change by its logarithm.
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
   * A reader of an idle link may see it a tenth of the idle time ago: it hardly changes, and reading stays cheap. One over which nothing
   * was sent does not change.
   */
  function look(nowMs: number): void {
    if (open.length === 0 && !(nowMs - filterMs >= 0.1 * (filterMs - usedMs))) return;
    advance(nowMs);
  }

  /** The time for `total` bytes behind what was given up, or behind that of it which is in front of `transfer`. */
  function completion(total: number, nowMs: number, transfer?: OpenTransfer): Float64Array {
    look(nowMs);
    const inFront = transfer ? clogsBefore(transfer) : clogs.length;
    if (cacheVersion !== filter.version) {
      cache = new Map();
      cacheVersion = filter.version;
    }
    // Sizes within 2 % share an entry: the belief is nowhere near as sharp.
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

  /** A promise was kept or broken: the next ones are a little shorter or longer. */
  function judge({ promisedAtMs }: OpenTransfer, nowMs: number, complete: boolean): void {
    const broken = nowMs > promisedAtMs;
    if (Number.isNaN(promisedAtMs) || (!complete && !broken)) return;
    const moved = calibration * Math.exp(broken ? calibrationStep : -calibrationStep);
    calibration = Math.min(calibrationLimits.most, Math.max(calibrationLimits.least, moved));
  }

  /**
   * The median that is told now for a body that begins: behind what is under way, whose acknowledgements are on their way
   * already, but not sooner than alone.
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

  /** Something else than the link keeps it. */
  function overtake(transfer: OpenTransfer): void {
    transfer.overtaken = true;
    transfer.promisedAtMs = NaN;
  }

  function close(transfer: OpenTransfer): void {
    usedMs = markMs;
    open = open.filter((one) => one !== transfer);
    const held = clogs.slice(clogsBefore(transfer));
    if (held.length === 0) return;
    // What it brought passed in front of the unseen packets, and says nothing of them.
    learn();
    for (const one of held) one.before = one.before.filter((other) => other !== transfer);
    joinFree();
  }

  /** Clogs that nothing is in front of any more are one. */
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
      // Another array: the one before may say who was under way when one was given up.
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
      // When the link carried what was overtaken is not known.
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
        // One figure for the whole body: as good as one acknowledgement, whatever its size.
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
      // Somebody refused or closed it: the link is not silent.
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
      // Told once: what else is answered says no more of a silence that is over.
      silent = busyFromMs() < nowMs;
      filter.answered();
    },
    drainMs: (bytes, nowMs, queued) => completion((queued ? unacknowledged() : 0) + bytes, nowMs),
    remainingMs: (transfer, nowMs) => completion(unacknowledged(transfer), nowMs, transfer),
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
      // The silence until now was another network's.
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
