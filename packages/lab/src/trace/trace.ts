/**
 * The capacity of a link over time, one interface for the two ways in which it is recorded: instants at which one packet may
 * leave (mahimahi), and rates that hold until the next entry.
 *
 * The common measure is the **position**: the number of packets that could have passed since the beginning. A sender that
 * stands at position p and sends n packets is done at `instantOf(p + n)`. Traces loop at their end.
 */
import { LongshoreError } from "@longshore/core";
import { packetBytes } from "@longshore/core/internal";

export { packetBytes };

/** A link's capacity over time. Immutable; loops. */
export interface Trace {
  readonly name: string;
  /** Recorded on a real network, or made by a seeded generator. */
  readonly origin: "recorded" | "synthetic";
  /** Length of one round, in milliseconds. */
  readonly lengthMs: number;
  /** Packets that pass in one round. */
  readonly packets: number;
  /** Packets that could have passed before `ms`. */
  positionAt(ms: number): number;
  /** Earliest instant at which that many packets could have passed; Infinity for a link that never carries any. */
  instantOf(position: number): number;
}

/** The same trace. Throws `invalid-input` for one that never carries a byte, which would be waited for in vain. */
export function carrying(trace: Trace): Trace {
  if (trace.packets > 0) return trace;
  const why = `trace ${trace.name} never carries a byte: every rate in it is 0`;
  throw new LongshoreError("invalid-input", "decode", why);
}

/** Packets that a body takes; at least one. */
export function packetsOf(bytes: number): number {
  return Math.max(1, Math.ceil(bytes / packetBytes));
}

/** Mean rate of payload, in bits per second. */
export function meanBitsPerSecond(trace: Trace): number {
  return trace.lengthMs > 0 ? (trace.packets * packetBytes * 8 * 1000) / trace.lengthMs : 0;
}

/** Time that `bytes` take on an empty link from `fromMs` on. */
export function uploadMs(trace: Trace, fromMs: number, bytes: number): number {
  return trace.instantOf(trace.positionAt(fromMs) + packetsOf(bytes)) - fromMs;
}

/** A trace of instants (sorted, in milliseconds) at which one packet each may leave. The last one ends the round. */
export function packetTrace(name: string, atMs: Float64Array, origin: Trace["origin"] = "recorded"): Trace {
  const packets = atMs.length;
  const lengthMs = Math.max(1, atMs[packets - 1] ?? 1);
  return {
    name,
    origin,
    lengthMs,
    packets,
    positionAt(ms) {
      const round = Math.max(0, Math.floor(ms / lengthMs));
      return round * packets + firstAtLeast(atMs, ms - round * lengthMs);
    },
    instantOf(position) {
      if (packets === 0) return Infinity;
      const index = Math.max(1, Math.ceil(position)) - 1;
      const round = Math.floor(index / packets);
      return round * lengthMs + (atMs[index - round * packets] ?? 0);
    },
  };
}

/** A rate that holds from its instant until the next entry's. */
export interface RateEntry {
  readonly fromMs: number;
  readonly bitsPerSecond: number;
}

/** A trace of rates of payload. Entries are sorted and begin at 0; the last one holds until `lengthMs`. */
export function rateTrace(
  name: string,
  entries: readonly RateEntry[],
  lengthMs: number,
  origin: Trace["origin"] = "recorded",
): Trace {
  const fromMs = Float64Array.from(entries, (entry) => entry.fromMs);
  const perMs = Float64Array.from(entries, (entry) => Math.max(0, entry.bitsPerSecond) / 8000 / packetBytes);
  const before = new Float64Array(entries.length + 1);
  for (let index = 0; index < entries.length; index++) {
    const spanMs = (fromMs[index + 1] ?? lengthMs) - (fromMs[index] ?? 0);
    before[index + 1] = (before[index] ?? 0) + (perMs[index] ?? 0) * spanMs;
  }
  const packets = before[entries.length] ?? 0;
  return {
    name,
    origin,
    lengthMs,
    packets,
    positionAt(ms) {
      const round = Math.max(0, Math.floor(ms / lengthMs));
      const inside = Math.max(0, ms - round * lengthMs);
      const index = Math.max(0, firstAtLeast(fromMs, inside + 1e-9) - 1);
      return round * packets + (before[index] ?? 0) + (perMs[index] ?? 0) * (inside - (fromMs[index] ?? 0));
    },
    instantOf(position) {
      if (!(packets > 0)) return Infinity;
      // The end of a round belongs to it, not to the beginning of the next.
      const round = Math.max(0, Math.ceil(position / packets - 1e-12) - 1);
      // Not beyond the end by rounding: nothing is known of what lies there.
      const inside = Math.min(packets, Math.max(0, position - round * packets));
      const index = Math.max(0, firstAtLeast(before, inside) - 1);
      const rate = perMs[index] ?? 0;
      const left = inside - (before[index] ?? 0);
      return round * lengthMs + (fromMs[index] ?? 0) + (rate > 0 ? left / rate : 0);
    },
  };
}

/** The same trace with every rate times `factor`; the shape of stalls stays. */
export function scaled(trace: Trace, factor: number): Trace {
  return {
    ...trace,
    name: `${trace.name} x${factor}`,
    packets: trace.packets * factor,
    positionAt: (ms) => trace.positionAt(ms) * factor,
    instantOf: (position) => trace.instantOf(position / factor),
  };
}

/** The trace as rates over equal steps, for plots and for platforms that cannot follow every packet. */
export function inEvenSteps(trace: Trace, stepMs: number): Trace {
  const steps = Math.max(1, Math.round(trace.lengthMs / stepMs));
  const entries = Array.from({ length: steps }, (_, index): RateEntry => {
    const fromMs = index * stepMs;
    const toMs = index === steps - 1 ? trace.lengthMs : fromMs + stepMs;
    const passed = (index === steps - 1 ? trace.packets : trace.positionAt(toMs)) - trace.positionAt(fromMs);
    return { fromMs, bitsPerSecond: (passed * packetBytes * 8000) / (toMs - fromMs) };
  });
  return rateTrace(`${trace.name} in ${stepMs} ms steps`, entries, trace.lengthMs, trace.origin);
}

/** A link of one rate for ever. */
export function constantTrace(bitsPerSecond: number, name = `${bitsPerSecond / 1e6} Mbit/s`): Trace {
  return rateTrace(name, [{ fromMs: 0, bitsPerSecond }], 60_000, "synthetic");
}

/** Index of the first value that is at least `wanted`; the length when there is none. */
function firstAtLeast(sorted: Float64Array, wanted: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((sorted[middle] ?? 0) < wanted) low = middle + 1;
    else high = middle;
  }
  return low;
}
