/**
 * One direction of the relay: bytes of all connections wait in one queue, pass when the trace lets them, and land a delay
 * later. Bookkeeping is by position in the trace, not by timers, so a timer that fires late lets more through and the rate
 * holds over any span.
 */
import type { Random } from "@longshore/core";
import { packetBytes, type Trace } from "../trace/index.ts";

/** The parts of a lane. */
export interface LinkLaneParts {
  readonly trace: Trace;
  readonly delayMs: number;
  readonly jitterMs: number;
  readonly random: Random;
  readonly nowMs: () => number;
  /** Bytes that may wait; sources pause at it and go on at half of it. */
  readonly bufferBytes: number;
}

/** Where bytes of one connection go. Nothing is called after `gone`. */
export interface Sink {
  readonly gone: boolean;
  /** The opening of the connection has arrived. */
  begin(): void;
  land(chunk: Uint8Array): void;
  end(): void;
}

/** A direction. */
export interface LinkLane {
  /** Queues the opening of a connection after all waiting bytes. */
  open(sink: Sink): void;
  /** Queues bytes; returns false when the sources should pause. */
  push(sink: Sink, chunk: Uint8Array): boolean;
  /** Queues the end of a stream after its bytes. */
  finish(sink: Sink): void;
  /** A stream broke: this many of its waiting bytes still pass, to no receiver; none if its opening waits, too. */
  abandon(sink: Sink, keptBytes: number): void;
  /** Calls back when the queue has room again. */
  onRoom(call: () => void): void;
  cut(): void;
  restore(): void;
  close(): void;
  readonly carriedBytes: number;
}

interface Piece {
  readonly sink: Sink;
  readonly chunk: Uint8Array | "begin" | "end";
}

interface Entry extends Piece {
  passed: number;
}

/** Bytes of an entry that have not passed. */
function waitingBytes({ chunk, passed }: Entry): number {
  return typeof chunk === "string" ? 0 : chunk.byteLength - passed;
}

/** Makes a lane that is whole and empty. */
export function linkLane(parts: LinkLaneParts): LinkLane {
  const { trace, delayMs, jitterMs, random, nowMs, bufferBytes } = parts;
  const beganMs = nowMs();
  const queue: Entry[] = [];
  const travelling: { readonly atMs: number; readonly pieces: readonly Piece[] }[] = [];
  let landing: NodeJS.Timeout | undefined;
  let queued = 0;
  let carried = 0;
  let position = 0;
  let busy = false;
  let isCut = false;
  let full = false;
  let timer: NodeJS.Timeout | undefined;
  let room: () => void = () => undefined;

  /** Puts pieces on their way. They land in order, however much jitter there is: one timer serves the first of them. */
  function travel(pieces: readonly Piece[], passedMs: number): void {
    const last = travelling[travelling.length - 1]?.atMs ?? 0;
    travelling.push({ atMs: Math.max(last, passedMs + delayMs + random.next() * jitterMs), pieces });
    if (!landing) land();
  }

  function land(): void {
    landing = undefined;
    const traceMs = nowMs() - beganMs;
    for (let first = travelling[0]; first && first.atMs <= traceMs; first = travelling[0]) {
      travelling.shift();
      for (const { sink, chunk } of first.pieces) {
        if (sink.gone) continue;
        if (chunk === "begin") sink.begin();
        else if (chunk === "end") sink.end();
        else sink.land(chunk);
      }
    }
    const next = travelling[0];
    if (next) landing = setTimeout(land, next.atMs - traceMs);
  }

  function pump(): void {
    timer = undefined;
    if (isCut) return;
    const traceMs = nowMs() - beganMs;
    if (!busy) position = Math.max(position, trace.positionAt(traceMs));
    let budget = Math.max(0, Math.floor(trace.positionAt(traceMs) - position)) * packetBytes;
    const pieces: Piece[] = [];
    let taken = 0;
    for (let head = queue[0]; head; head = queue[0]) {
      const { sink, chunk, passed } = head;
      if (typeof chunk === "string") pieces.push({ sink, chunk });
      else {
        if (budget <= 0) break;
        const take = Math.min(budget, chunk.byteLength - passed);
        pieces.push({ sink, chunk: chunk.subarray(passed, passed + take) });
        head.passed += take;
        taken += take;
        budget -= take;
        if (head.passed < chunk.byteLength) break;
      }
      queue.shift();
    }
    queued -= taken;
    carried += taken;
    position += Math.ceil(taken / packetBytes);
    busy = queue.length > 0;
    if (pieces.length > 0) travel(pieces, taken > 0 ? Math.min(traceMs, trace.instantOf(position)) : traceMs);
    makeRoom();
    schedule();
  }

  function makeRoom(): void {
    if (!full || queued > bufferBytes / 2) return;
    full = false;
    room();
  }

  function schedule(): void {
    if (timer || isCut || queue.length === 0) return;
    const traceMs = nowMs() - beganMs;
    if (!busy) {
      position = Math.max(position, trace.positionAt(traceMs));
      busy = true;
    }
    const next = typeof queue[0]?.chunk === "object" ? trace.instantOf(position + 1) - traceMs : 0;
    // Timers hold at most 2^31 ms; a dead link is looked at again every hour.
    timer = setTimeout(pump, Math.max(0, Math.min(3_600_000, next)));
  }

  return {
    open(sink) {
      queue.push({ sink, chunk: "begin", passed: 0 });
      schedule();
    },
    push(sink, chunk) {
      queue.push({ sink, chunk, passed: 0 });
      queued += chunk.byteLength;
      schedule();
      if (queued >= bufferBytes) full = true;
      return !full;
    },
    finish(sink) {
      queue.push({ sink, chunk: "end", passed: 0 });
      schedule();
    },
    abandon(sink, keptBytes) {
      const unopened = queue.some((entry) => entry.sink === sink && entry.chunk === "begin");
      let left = unopened ? 0 : keptBytes;
      const kept = queue.flatMap((entry): Entry[] => {
        if (entry.sink !== sink) return [entry];
        const bytes = Math.min(left, waitingBytes(entry));
        left -= bytes;
        queued -= waitingBytes(entry) - bytes;
        if (bytes === 0 || typeof entry.chunk === "string") return [];
        return [{ sink, chunk: entry.chunk.subarray(0, entry.passed + bytes), passed: entry.passed }];
      });
      queue.splice(0, queue.length, ...kept);
      makeRoom();
    },
    onRoom(call) {
      room = call;
    },
    cut() {
      isCut = true;
      clearTimeout(timer);
      timer = undefined;
    },
    restore() {
      if (!isCut) return;
      isCut = false;
      // The capacity of the trace in the meantime is lost.
      busy = false;
      schedule();
    },
    close() {
      isCut = true;
      clearTimeout(timer);
      clearTimeout(landing);
      travelling.length = 0;
      queue.length = 0;
    },
    get carriedBytes() {
      return carried;
    },
  };
}
