import { httpWatch, type HttpWatch, type WatchedMessage } from "./http-watch.ts";

/** One request with its answer, as they passed. Times in milliseconds on the clock. */
export interface ObservedExchange {
  readonly client: string;
  readonly method: string;
  readonly path: string;
  readonly status: number;
  readonly atMs: number;
  /** The last byte of the request, and the first and the last of the answer. */
  readonly sentMs: number;
  readonly answeredMs: number;
  readonly endedMs: number;
  readonly requestBytes: number;
  readonly replyBytes: number;
}

/** Reads along both directions of a connection. */
export interface ExchangeWatch {
  readonly up: HttpWatch;
  readonly down: HttpWatch;
}

/** Told of exchanges, and of how many are under way. */
export interface ExchangeSink {
  began(message: WatchedMessage): void;
  ended(exchange: ObservedExchange): void;
  /** A request to which no answer came. */
  broke(message: WatchedMessage): void;
}

/** Requests that may wait for their answers on one connection; more are not followed. */
const maxPipelined = 1024;

/** Follows the requests of one connection and their answers, which come in the same order. */
export function exchangeWatch(client: string, sink: ExchangeSink): ExchangeWatch & Disposable {
  const waiting: WatchedMessage[] = [];
  const up = httpWatch({
    head(message) {
      if (waiting.length < maxPipelined) {
        waiting.push(message);
        sink.began(message);
      }
      return true;
    },
    message: () => undefined,
  });
  const down = httpWatch({
    head(message) {
      const status = statusOf(message);
      const method = waiting[0]?.line.split(" ", 1)[0];
      return status >= 200 && status !== 204 && status !== 304 && method !== "HEAD";
    },
    message(reply) {
      const status = statusOf(reply);
      // Interim answers come before the one that counts.
      if (status < 200) return;
      const request = waiting.shift();
      if (!request) return;
      const [method = "", path = ""] = request.line.split(" ");
      sink.ended({
        client,
        method,
        path,
        status,
        atMs: request.beganMs,
        // An answer may come before all of its request.
        sentMs: Math.min(request.endedMs ?? reply.beganMs, reply.beganMs),
        answeredMs: reply.beganMs,
        endedMs: reply.endedMs ?? reply.beganMs,
        requestBytes: request.bodyBytes,
        replyBytes: reply.bodyBytes,
      });
    },
  });
  return {
    up,
    down,
    [Symbol.dispose]() {
      for (const message of waiting.splice(0)) sink.broke(message);
    },
  };
}

function statusOf({ line }: WatchedMessage): number {
  return Number(line.slice(9, 12));
}
