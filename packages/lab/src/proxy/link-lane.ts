/**
 * One direction of the relay: bytes of all connections wait in one queue, pass when the trace lets them, and land a delay
 * later. Bookkeeping is by position in the trace, not by timers, so a timer that fires late lets more through and the rate
 * holds over any span.
 */
import type { Random } from "@longshore/core";
import { packetBytes, type Trace } from "../trace/index.ts";

/** What a lane needs. */
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
  land(chunk: Uint8Array): void;
  end(): void;
}

/** A direction. */
export interface LinkLane {
  /** Queues bytes; returns false when the sources should pause. */
  push(sink: Sink, chunk: Uint8Array): boolean;
  /** Queues the end of a stream behind its bytes. */
  finish(sink: Sink): void;
  /** Called when the queue has room again. */
  onRoom(call: () => void): void;
  cut(): void;
  restore(): void;
  close(): void;
  readonly carriedBytes: number;
}

interface Piece {
  readonly sink: Sink;
  /** Undefined: the end of the stream. */
  readonly chunk: Uint8Array | undefined;
}

interface Entry extends Piece {
  passed: number;
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
        if (chunk) sink.land(chunk);
        else sink.end();
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
      if (head.chunk) {
        if (budget <= 0) break;
        const take = Math.min(budget, head.chunk.byteLength - head.passed);
        pieces.push({ sink: head.sink, chunk: head.chunk.subarray(head.passed, head.passed + take) });
        head.passed += take;
        taken += take;
        budget -= take;
        if (head.passed < head.chunk.byteLength) break;
      } else pieces.push({ sink: head.sink, chunk: undefined });
      queue.shift();
    }
    queued -= taken;
    carried += taken;
    position += Math.ceil(taken / packetBytes);
    busy = queue.length > 0;
    if (pieces.length > 0) travel(pieces, taken > 0 ? Math.min(traceMs, trace.instantOf(position)) : traceMs);
    if (full && queued <= bufferBytes / 2) {
      full = false;
      room();
    }
    schedule();
  }

  function schedule(): void {
    if (timer || isCut || queue.length === 0) return;
    const traceMs = nowMs() - beganMs;
    if (!busy) {
      position = Math.max(position, trace.positionAt(traceMs));
      busy = true;
    }
    const next = queue[0]?.chunk ? trace.instantOf(position + 1) - traceMs : 0;
    // Timers hold at most 2^31 ms; a dead link is looked at again every hour.
    timer = setTimeout(pump, Math.max(0, Math.min(3_600_000, next)));
  }

  return {
    push(sink, chunk) {
      queue.push({ sink, chunk, passed: 0 });
      queued += chunk.byteLength;
      schedule();
      if (queued >= bufferBytes) full = true;
      return !full;
    },
    finish(sink) {
      queue.push({ sink, chunk: undefined, passed: 0 });
      schedule();
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
      // What the trace would have carried in the meantime is lost.
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
