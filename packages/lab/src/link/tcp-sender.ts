/**
 * How TCP sends one body after another over a link: CUBIC with slow start and HyStart, selective acknowledgements, loss found by later
 * acknowledgements (RACK), tail loss probes and time-outs, and a window that shrinks while the connection is idle. These are the
 * defaults of Linux 6, without pacing and delayed acknowledgements.
 */
import type { Clock } from "@longshore/core";
import { packetBytes } from "../trace/index.ts";

/** The part of a link that a sender uses. */
export interface TcpPath {
  readonly clock: Clock;
  /** Hands over a packet; `landed` is called at the far side. */
  send(bytes: number, landed: () => void): void;
  /** Time of an acknowledgement on its way back, in milliseconds. */
  readonly backMs: number;
  /** Whether the packet that is sent now is lost. */
  lost(): boolean;
}

/** Segments that a connection may send before the first acknowledgement. */
const initialWindow = 10;
/** CUBIC: what is left of the window after a loss, and how fast it grows. */
const beta = 0.7;
const growth = 0.4;
/** HyStart: least window, and the most between two acknowledgements of one train, in milliseconds. */
const hystartWindow = 16;
const trainGapMs = 2;
/** Least time-out besides the round trip, in milliseconds. */
const leastTimeoutMs = 200;

interface Segment {
  readonly bytes: number;
  readonly end: number;
  sentMs: number;
  sends: number;
  /** Counts all that was sent, in this order. */
  order: number;
  /** Acknowledgements of what was sent after it. */
  later: number;
  acknowledged: boolean;
  lost: boolean;
}

/** One connection. It sends one body at a time, and keeps what it learned of the path. */
export class TcpSender {
  readonly #path: TcpPath;
  #window = initialWindow;
  #threshold = Infinity;
  #smoothMs = 0;
  #variationMs = 0;
  #leastMs = Infinity;
  #usedMs = -Infinity;
  /** The window before the last loss, and when it began to grow again. */
  #most = 0;
  #grewFromMs = -1;
  /** Round of slow start: ends when what was sent at its begin is acknowledged. */
  #roundEnd = 0;
  #roundLeastMs = Infinity;
  #roundSamples = 0;
  /** When the round began, and the last acknowledgement that came right after the one before. */
  #roundFromMs = 0;
  #trainMs = 0;
  /** Segments sent so far, repeated ones included. */
  #sent = 0;
  /** No second reduction for losses among what was sent before. */
  #recoveredMs = -Infinity;

  constructor(path: TcpPath) {
    this.#path = path;
  }

  get #timeoutMs(): number {
    return this.#smoothMs === 0 ? 1000 : this.#smoothMs + Math.max(leastTimeoutMs, 4 * this.#variationMs);
  }

  /** How long nothing was sent, in milliseconds. */
  idleMs(): number {
    return this.#path.clock.nowMs() - this.#usedMs;
  }

  /**
   * Sends a body. `arrived` is told, at the far side, how much of it is there without a gap; `acknowledged` once all of it is acknowledged
   * here. Disposed, it sends nothing more.
   */
  send(bytes: number, arrived: (bytes: number) => void, acknowledged: () => void): Disposable {
    const path = this.#path;
    const { clock } = path;
    this.#afterIdle();
    const segments = segmentsOf(bytes);
    let next = 0;
    let flying = 0;
    let open = segments.length;
    let here = 0;
    let timer: Disposable | undefined;
    let backOff = 1;
    let probed = false;
    let over = false;
    const landed = new Set<Segment>();
    const lost: Segment[] = [];

    const transmit = (segment: Segment): void => {
      segment.sentMs = clock.nowMs();
      segment.sends++;
      segment.order = ++this.#sent;
      segment.later = 0;
      segment.lost = false;
      flying++;
      this.#usedMs = segment.sentMs;
      const { sentMs, sends, order } = segment;
      const drops = path.lost();
      path.send(segment.bytes, () => {
        if (drops) return;
        if (!over) land(segment);
        clock.timer(path.backMs, () => {
          if (!over) acknowledge(segment, sentMs, sends, order);
        });
      });
    };

    const land = (segment: Segment): void => {
      landed.add(segment);
      const before = here;
      while (here < segments.length && landed.has(segments[here] as Segment)) here++;
      if (here > before) arrived(segments[here - 1]?.end ?? 0);
    };

    const fill = (): void => {
      while (flying < Math.floor(this.#window)) {
        const segment = lost.shift() ?? segments[next++];
        if (!segment) {
          next = segments.length;
          break;
        }
        if (!segment.acknowledged) transmit(segment);
      }
      watch();
    };

    const watch = (): void => {
      timer?.[Symbol.dispose]();
      if (over || open === 0) return;
      const isTail = next >= segments.length && lost.length === 0 && !probed && this.#smoothMs > 0;
      const probeMs = 2 * this.#smoothMs + (flying === 1 ? leastTimeoutMs : 2);
      const waitMs = isTail ? Math.min(probeMs, this.#timeoutMs) : this.#timeoutMs * backOff;
      timer = clock.timer(waitMs, () => (isTail ? probe() : timedOut()));
    };

    /** The last segment once more: its acknowledgement shows what is missing. */
    const probe = (): void => {
      probed = true;
      const last = segments.findLast((segment) => !segment.acknowledged);
      if (last) {
        flying = Math.max(0, flying - 1);
        transmit(last);
      }
      watch();
    };

    const timedOut = (): void => {
      backOff *= 2;
      probed = false;
      this.#reduce(true);
      flying = 0;
      lost.length = 0;
      for (let at = here; at < next; at++) {
        const segment = segments[at];
        if (!segment || segment.acknowledged) continue;
        segment.lost = true;
        lost.push(segment);
      }
      fill();
    };

    /** Whether the window is to be reduced for it: once for all that was sent before the last time. */
    const lose = (segment: Segment): boolean => {
      segment.lost = true;
      lost.push(segment);
      flying = Math.max(0, flying - 1);
      return segment.sentMs > this.#recoveredMs;
    };

    const acknowledge = (segment: Segment, sentMs: number, sends: number, order: number): void => {
      const nowMs = clock.nowMs();
      if (sends === segment.sends) this.#measured(nowMs - sentMs, order, nowMs);
      if (segment.acknowledged) return;
      segment.acknowledged = true;
      backOff = 1;
      probed = false;
      open--;
      if (segment.lost) lost.splice(lost.indexOf(segment), 1);
      else flying = Math.max(0, flying - 1);
      // A packet that was sent before and is not acknowledged is lost: at once after three such acknowledgements, else a little later.
      let found = false;
      for (let at = here; at < next; at++) {
        const one = segments[at];
        if (!one || one.acknowledged || one.lost || one.order >= order) continue;
        // It may have landed: then its acknowledgement is on its way.
        if (landed.has(one)) continue;
        if (++one.later >= 3) found = lose(one) || found;
        else if (one.later === 1) {
          const { order: since } = one;
          clock.timer(this.#leastMs / 4, () => {
            if (over || one.acknowledged || one.lost || one.order !== since) return;
            if (lose(one)) this.#reduce(false);
            fill();
          });
        }
      }
      if (found) this.#reduce(false);
      else if (sentMs > this.#recoveredMs) this.#grow(nowMs, flying + 1);
      if (open === 0) {
        over = true;
        timer?.[Symbol.dispose]();
        acknowledged();
        return;
      }
      fill();
    };

    fill();
    return {
      [Symbol.dispose]: () => {
        over = true;
        timer?.[Symbol.dispose]();
      },
    };
  }

  /** The window halves with each time-out that the connection is idle for, down to what a new one starts with. */
  #afterIdle(): void {
    if (this.#usedMs === -Infinity) return;
    let idleMs = this.idleMs() - this.#timeoutMs;
    if (idleMs <= 0) return;
    this.#threshold = Math.max(this.#threshold, 0.75 * this.#window);
    const least = Math.min(initialWindow, this.#window);
    for (; idleMs > 0 && this.#window > least; idleMs -= this.#timeoutMs) this.#window /= 2;
    this.#window = Math.max(least, this.#window);
    this.#grewFromMs = -1;
  }

  #measured(roundTripMs: number, order: number, nowMs: number): void {
    this.#leastMs = Math.min(this.#leastMs, roundTripMs);
    if (this.#smoothMs === 0) {
      this.#smoothMs = roundTripMs;
      this.#variationMs = roundTripMs / 2;
    } else {
      this.#variationMs += (Math.abs(roundTripMs - this.#smoothMs) - this.#variationMs) / 4;
      this.#smoothMs += (roundTripMs - this.#smoothMs) / 8;
    }
    if (this.#window >= this.#threshold) return;
    // HyStart: a round trip that grows, or acknowledgements that come for half a round trip, show that the link is nearly full.
    if (order > this.#roundEnd) {
      this.#roundEnd = this.#sent;
      this.#roundFromMs = nowMs;
      this.#trainMs = nowMs;
      this.#roundLeastMs = Infinity;
      this.#roundSamples = 0;
    }
    if (this.#window < hystartWindow) return;
    if (nowMs - this.#trainMs <= trainGapMs) {
      this.#trainMs = nowMs;
      if (nowMs - this.#roundFromMs > this.#leastMs / 2) this.#threshold = this.#window;
    }
    if (++this.#roundSamples > 8) return;
    this.#roundLeastMs = Math.min(this.#roundLeastMs, roundTripMs);
    const tolerated = Math.min(16, Math.max(4, this.#leastMs / 8));
    if (this.#roundSamples === 8 && this.#roundLeastMs >= this.#leastMs + tolerated)
      this.#threshold = this.#window;
  }

  #reduce(timedOut: boolean): void {
    const nowMs = this.#path.clock.nowMs();
    // Fast convergence: a window that did not reach the last one leaves room to others.
    this.#most = this.#window < this.#most ? (this.#window * (1 + beta)) / 2 : this.#window;
    this.#threshold = Math.max(2, Math.floor(Math.floor(this.#window) * beta));
    this.#window = timedOut ? 1 : this.#threshold;
    this.#grewFromMs = -1;
    this.#recoveredMs = nowMs;
  }

  /** One segment more was acknowledged. */
  #grow(nowMs: number, flying: number): void {
    if (this.#window < this.#threshold) {
      // A window that is not used does not grow.
      if (2 * flying >= this.#window) this.#window++;
      return;
    }
    if (this.#grewFromMs < 0) {
      this.#grewFromMs = nowMs;
      this.#most = Math.max(this.#most, this.#window);
    }
    const passed = (nowMs - this.#grewFromMs + this.#smoothMs) / 1000;
    const untilMost = Math.cbrt((this.#most * (1 - beta)) / growth);
    const cubic = growth * (passed - untilMost) ** 3 + this.#most;
    const reno = 0.53 / this.#window;
    this.#window += Math.max(reno, Math.min(0.5, (cubic - this.#window) / this.#window));
  }
}

function segmentsOf(bytes: number): Segment[] {
  const segments: Segment[] = [];
  for (let from = 0; from < Math.max(1, bytes); from += packetBytes) {
    const end = Math.min(Math.max(1, bytes), from + packetBytes);
    segments.push({
      bytes: end - from,
      end,
      sentMs: 0,
      sends: 0,
      order: 0,
      later: 0,
      acknowledged: false,
      lost: false,
    });
  }
  return segments;
}
