import {
  type Call,
  type Clock,
  type Handler,
  LongshoreError,
  type Peer,
  type Transport,
  type WireBody,
  type WireRequest,
  type WireResponse,
} from "@longshore/core";
import {
  abortError,
  bodyLength,
  chunksOf,
  housekeepingCall,
  sleep,
  untilAborted,
} from "@longshore/core/internal";

/** Where the memory transport sends, and how slowly. */
export interface MemoryTransportOptions {
  readonly clock: Clock;
  /** Time that each chunk takes, in milliseconds. Default: none. */
  readonly latency?: (bytes: number, direction: "up" | "down") => number;
  /** Bytes of a chunk. Default 65,536. */
  readonly chunkBytes?: number;
  /** The peer that the handler sees. Default: this machine. */
  readonly peer?: Peer;
}

/** Slices of a body, each after its latency. */
async function* chunked(
  body: WireBody,
  direction: "up" | "down",
  options: MemoryTransportOptions,
  abort: AbortSignal,
): AsyncIterable<Uint8Array> {
  const size = options.chunkBytes ?? 65_536;
  for await (const part of chunksOf(body)) {
    for (let offset = 0; offset < part.byteLength; offset += size) {
      if (abort.aborted) throw abortError(abort, "transport");
      const chunk = part.subarray(offset, offset + size);
      if (options.latency) await sleep(options.clock, options.latency(chunk.byteLength, direction), abort);
      yield chunk;
    }
  }
}

function travelling(
  body: WireBody,
  direction: "up" | "down",
  options: MemoryTransportOptions,
  abort: AbortSignal,
): WireBody {
  return {
    kind: "stream",
    byteLength: bodyLength(body),
    read: () => chunked(body, direction, options, abort),
  };
}

/** The failure of a handler, or of its body, as seen from the other end of a wire. */
function broken(thrown: unknown): LongshoreError {
  return new LongshoreError("no-answer", "transport", "the connection broke", { cause: thrown });
}

/**
 * A transport that calls a handler in this process. Only what a wire carries gets across: the handler sees a call of its own
 * that ends when the sender's does.
 */
export function memoryTransport(handler: Handler, options: MemoryTransportOptions): Transport {
  let closed = false;
  let count = 0;
  const exchange = async (
    request: WireRequest,
    abort: AbortSignal,
    acknowledged: ((bytes: number) => void) | undefined,
  ): Promise<WireResponse> => {
    const peer = options.peer ?? { address: "memory", loopback: true };
    const body = travelling(request.body, "up", options, abort);
    const base = housekeepingCall(`memory-${++count}`, abort);
    try {
      const response = await handler({ ...request, body, peer }, base, acknowledged);
      if (options.latency) await sleep(options.clock, options.latency(0, "down"), abort);
      return { ...response, body: travelling(response.body, "down", options, abort) };
    } catch (thrown) {
      if (abort.aborted) throw abortError(abort, "transport");
      throw broken(thrown);
    }
  };
  return {
    progress: "acknowledged",
    async send(
      request: WireRequest,
      call: Call,
      acknowledged?: (bytes: number) => void,
    ): Promise<WireResponse> {
      if (closed) throw new LongshoreError("unreachable", "transport", "the transport is closed");
      const response = await untilAborted(
        exchange(request, call.abort, acknowledged),
        call.abort,
        "transport",
      );
      return { ...response, body: guarded(response.body, call.abort) };
    },
    async close(): Promise<void> {
      closed = true;
    },
  };
}

/** A body whose reading ends with the call. */
function guarded(body: WireBody, abort: AbortSignal): WireBody {
  if (body.kind === "parts") return body;
  return {
    kind: "stream",
    byteLength: body.byteLength,
    async *read(): AsyncIterable<Uint8Array> {
      const chunks = body.read()[Symbol.asyncIterator]();
      try {
        for (;;) {
          const next = await untilAborted(chunks.next(), abort, "transport").catch((thrown: unknown) => {
            throw abort.aborted ? abortError(abort, "transport") : broken(thrown);
          });
          if (next.done) return;
          yield next.value;
        }
      } finally {
        // A reader that stops early ends the connection.
        void chunks.return?.().catch(() => undefined);
      }
    },
  };
}
