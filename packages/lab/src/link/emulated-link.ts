/**
 * A link between two endpoints on any Clock, virtual or real: each direction carries packets when its trace lets it, in the
 * order in which they were handed over, and delivers them a one-way delay later. Waiting bytes share packets, and
 * acknowledgements travel in packets of the other direction, as over the relay of `proxy/`.
 */
import { type Clock, LongshoreError, type Random } from "@longshore/core";
import {
  abortError,
  acknowledgeStep,
  afterPause,
  type Connecting,
  type Direction,
} from "@longshore/core/internal";
import { packetBytes, packetsOf, type Trace } from "../trace/index.ts";
import { TcpSender } from "./tcp-sender.ts";

/** The parts of a link. */
export interface EmulatedLinkParts {
  /** Capacity away from this endpoint and towards it. */
  readonly up: Trace;
  readonly down: Trace;
  /** One-way delay in milliseconds, and the largest random addition to it. Order is kept. */
  readonly delayMs: number;
  readonly jitterMs?: number;
  readonly clock: Clock;
  readonly random: Random;
  /** Where in the traces the link begins; default 0. */
  readonly traceOffsetMs?: number;
  /** Packets that pass within this time share one event; default 4 ms. */
  readonly quantumMs?: number;
  /** The bytes that a cancelled transfer leaves in buffers, to be carried to no receiver; default 64 kB. */
  readonly clogBytes?: number;
  /** Bodies away from this endpoint are sent by TCP (`TcpSender`). Default: packets wait for the link alone. */
  readonly tcp?: TcpOptions;
  /** One-way delay at each moment, in milliseconds since the link began; in place of `delayMs` and `jitterMs`. */
  readonly delayAtMs?: (sinceMs: number) => number;
}

/** Properties of a link that TCP meets. */
export interface TcpOptions {
  /** Share of packets that are lost; default none. */
  readonly lossRatio?: number;
}

/** An idle connection is kept for so long, in milliseconds. */
const keptMs = 4000;

/** The callbacks of a sender. */
export interface CarryOptions {
  readonly abort?: AbortSignal;
  /** Bytes between two acknowledgements; default `acknowledgeStep` of all of them. */
  readonly stepBytes?: number;
  /** The far side has that many bytes, in all; called when that happens. */
  readonly arrived?: (bytes: number) => void;
  /** The sender learns that the far side has that many bytes: in the steps of the protocol, after the way back. */
  readonly acknowledged?: (bytes: number) => void;
}

/** A link in both directions. */
export interface EmulatedLink {
  /**
   * Resolves when the last of `bytes` has arrived at the far end. An abort rejects at once with the call's own error; bytes
   * that had been handed to the link's buffers still pass. Stalls while the link is cut.
   */
  carry(bytes: number, direction: Direction, options?: CarryOptions): Promise<void>;
  /** See `Transport.connecting`, of the next body away from here. Absent: no connections are made. */
  readonly connecting?: () => Connecting | undefined;
  /** Nothing passes any more until `restore`. */
  cut(): void;
  restore(): void;
  readonly isCut: boolean;
  /**
   * When the last of `bytes` that are handed over at `fromMs` would arrive, after all bytes under way now, with the mean of the
   * jitter: only an oracle can know it. Infinity on a link that never carries them, or is cut.
   */
  arrivesMs(bytes: number, direction: Direction, fromMs: number): number;
  /** Bytes carried so far, in each direction. */
  readonly carriedBytes: Readonly<Record<Direction, number>>;
}

interface Transfer {
  readonly bytes: number;
  /** Bytes that pass in all: fewer than `bytes` once it is cancelled. */
  due: number;
  passed: number;
  cancelled: boolean;
  /** Instant of the trace at which it was handed over. */
  fromMs: number;
  readonly landed: (bytes: number, last: boolean) => void;
}

/** An acknowledgement: an interim response of HTTP. */
const acknowledgementBytes = 60;

/** Makes a link. Same traces, seed and calls: same instants. */
export function emulatedLink(parts: EmulatedLinkParts): EmulatedLink {
  const {
    clock,
    random,
    delayMs,
    jitterMs = 0,
    clogBytes = 65_536,
    traceOffsetMs = 0,
    quantumMs = 4,
  } = parts;
  const beganMs = clock.nowMs();
  let isCut = false;
  const { delayAtMs, tcp } = parts;
  const wayMs = (): number =>
    delayAtMs ? delayAtMs(clock.nowMs() - beganMs) : delayMs + random.next() * jitterMs;

  function side(trace: Trace) {
    const queue: Transfer[] = [];
    let position = 0;
    let carried = 0;
    let timer: Disposable | undefined;
    let plannedPackets = 0;
    let plannedMs = 0;
    let lastLandingMs = 0;
    const traceNow = (): number => clock.nowMs() - beganMs + traceOffsetMs;

    /** Schedules what passes next; the head of the queue is always under way while the link is whole. */
    function pump(): void {
      if (timer || isCut) return;
      while (queue[0] && queue[0].passed >= queue[0].due) queue.shift();
      const head = queue[0];
      if (!head) return;
      position = Math.max(position, trace.positionAt(traceNow()));
      const within = Math.floor(trace.positionAt(traceNow() + quantumMs) - position);
      plannedPackets = Math.max(1, Math.min(packetsOf(head.due - head.passed), within));
      const atMs = trace.instantOf(position + plannedPackets);
      if (atMs === Infinity) return;
      plannedMs = atMs;
      timer = clock.timer(Math.max(0, atMs - traceNow()), () => {
        timer = undefined;
        pass(plannedPackets);
        pump();
      });
    }

    /** Waiting transfers use the rest of the first one's last packet, if they were here before it left. */
    function pass(packets: number): void {
      position += packets;
      let room = packets * packetBytes;
      for (const transfer of queue) {
        if (transfer !== queue[0] && transfer.fromMs >= plannedMs) break;
        const bytes = Math.min(room, transfer.due - transfer.passed);
        transfer.passed += bytes;
        carried += bytes;
        room -= bytes;
        if (!transfer.cancelled) send(transfer);
        if (room <= 0) break;
      }
    }

    function send(transfer: Transfer): void {
      const { passed, bytes } = transfer;
      const landsMs = Math.max(lastLandingMs, clock.nowMs() + wayMs());
      lastLandingMs = landsMs;
      clock.timer(landsMs - clock.nowMs(), () => transfer.landed(Math.min(passed, bytes), passed >= bytes));
    }

    /** Counts the packets that passed since the last event, before a plan is given up. */
    function settle(): void {
      if (!timer) return;
      timer[Symbol.dispose]();
      timer = undefined;
      const passed = Math.min(plannedPackets, Math.floor(trace.positionAt(traceNow()) - position));
      if (passed > 0) pass(passed);
    }

    return {
      add(transfer: Transfer): void {
        transfer.fromMs = traceNow();
        queue.push(transfer);
        pump();
      },
      cancel(transfer: Transfer): void {
        settle();
        transfer.cancelled = true;
        const clog = Math.floor(clogBytes / packetBytes) * packetBytes;
        transfer.due = Math.min(transfer.due, transfer.passed + clog);
        pump();
      },
      settle,
      pump,
      arrivesMs(bytes: number, fromMs: number): number {
        if (isCut) return Infinity;
        const traceMs = fromMs - beganMs + traceOffsetMs;
        let before = 0;
        for (const { due, passed } of queue) before += due - passed;
        const free = before > 0 ? trace.instantOf(position + packetsOf(before)) : -Infinity;
        const end =
          traceMs < free
            ? position + packetsOf(before + bytes)
            : trace.positionAt(traceMs) + packetsOf(bytes);
        return (
          trace.instantOf(end) +
          beganMs -
          traceOffsetMs +
          (delayAtMs?.(fromMs - beganMs) ?? delayMs + jitterMs / 2)
        );
      },
      carried: () => carried,
    };
  }

  const sides = { up: side(parts.up), down: side(parts.down) };
  const connections = tcp && tcpConnections(tcp);

  /** Connections away from here: the one that was used last is used next, a new one takes a round trip to make. */
  function tcpConnections({ lossRatio = 0 }: TcpOptions) {
    const free: TcpSender[] = [];
    let tookMs: number | undefined;
    /** Drops connections that were idle for too long, and returns the one that is used next. */
    const next = (): TcpSender | undefined => {
      while (free.length > 0 && (free.at(-1)?.idleMs() ?? 0) > keptMs) free.pop();
      return free.at(-1);
    };
    const path = {
      clock,
      get backMs() {
        return wayMs();
      },
      lost: () => lossRatio > 0 && random.next() < lossRatio,
      send(bytes: number, landed: () => void) {
        sides.up.add({ bytes, due: bytes, passed: 0, cancelled: false, fromMs: 0, landed });
      },
    };
    return {
      connecting(): Connecting | undefined {
        const kept = next();
        if (kept) return afterPause(kept.idleMs());
        return tookMs === undefined ? { roundTrips: 1 } : { roundTrips: 1, tookMs };
      },
      /** Sends a body like a transfer of its own; disposed, it sends nothing more and its connection is closed. */
      send(bytes: number, landed: Transfer["landed"]): Disposable {
        const kept = next();
        if (kept) free.pop();
        const sender = kept ?? new TcpSender(path);
        let sending: Disposable | undefined;
        const begin = (): void => {
          sending = sender.send(
            bytes,
            (total) => landed(total, total >= bytes),
            () => free.push(sender),
          );
        };
        let opening: Disposable | undefined;
        if (kept) begin();
        else {
          tookMs = 2 * wayMs();
          opening = clock.timer(tookMs, begin);
        }
        return {
          [Symbol.dispose]() {
            opening?.[Symbol.dispose]();
            sending?.[Symbol.dispose]();
          },
        };
      },
    };
  }

  return {
    carry(bytes, direction, options = {}) {
      const { abort, arrived, acknowledged, stepBytes = acknowledgeStep(bytes) } = options;
      return new Promise((resolve, reject) => {
        if (abort?.aborted) {
          reject(abortError(abort, "transport"));
          return;
        }
        let here = -1;
        let there = -1;
        let told = 0;
        const acknowledge = (total: number): void =>
          sides[direction === "up" ? "down" : "up"].add({
            bytes: acknowledgementBytes,
            due: acknowledgementBytes,
            passed: 0,
            cancelled: false,
            fromMs: 0,
            landed() {
              if (transfer.cancelled || total <= there) return;
              there = total;
              acknowledged?.(total);
            },
          });
        const transfer: Transfer = {
          bytes,
          due: Math.max(1, bytes),
          passed: 0,
          cancelled: false,
          fromMs: 0,
          landed(total, last) {
            // Timers of a real clock may fire out of order by a millisecond: totals only ever grow.
            if (transfer.cancelled || total <= here) return;
            here = total;
            arrived?.(total);
            if (acknowledged && (last || total - told >= stepBytes)) acknowledge((told = total));
            if (!last) return;
            abort?.removeEventListener("abort", onAbort);
            resolve();
          },
        };
        let sending: Disposable | undefined;
        const onAbort = (): void => {
          if (sending) {
            transfer.cancelled = true;
            sending[Symbol.dispose]();
          } else sides[direction].cancel(transfer);
          reject(
            abort
              ? abortError(abort, "transport")
              : new LongshoreError("cancelled", "transport", "cancelled"),
          );
        };
        abort?.addEventListener("abort", onAbort, { once: true });
        if (connections && direction === "up") sending = connections.send(transfer.due, transfer.landed);
        else sides[direction].add(transfer);
      });
    },
    ...(connections ? { connecting: connections.connecting } : {}),
    cut() {
      if (isCut) return;
      sides.up.settle();
      sides.down.settle();
      isCut = true;
    },
    restore() {
      if (!isCut) return;
      isCut = false;
      sides.up.pump();
      sides.down.pump();
    },
    get isCut() {
      return isCut;
    },
    arrivesMs: (bytes, direction, fromMs) => sides[direction].arrivesMs(bytes, fromMs),
    get carriedBytes() {
      return { up: sides.up.carried(), down: sides.down.carried() };
    },
  };
}
