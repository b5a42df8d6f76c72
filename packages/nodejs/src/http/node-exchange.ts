import type { ClientRequest, IncomingMessage } from "node:http";
import { TLSSocket } from "node:tls";
import {
  type Call,
  type Clock,
  LongshoreError,
  type WireBody,
  type WireRequest,
  type WireResponse,
} from "@longshore/core";
import { abortError, acknowledgedHeader } from "@longshore/core/internal";
import { meaning, noAnswer, tooLong, unreachable } from "./failure.ts";
import { giveUp } from "./give-up.ts";
import { type Silence, watchSilence } from "./silence.ts";

/** What an exchange tolerates; see `HttpTransportOptions`. */
export interface ExchangeOptions {
  readonly clock: Clock;
  readonly address: string;
  readonly connectTimeoutMs: number;
  readonly idleTimeoutMs: number;
  readonly maxBytes: number;
}

async function writeBody(request: ClientRequest, body: WireBody): Promise<void> {
  if (body.kind === "parts") {
    request.cork();
    for (const part of body.parts) request.write(part);
    request.end();
    request.uncork();
    return;
  }
  let goOn = (): void => undefined;
  request.on("close", () => goOn());
  for await (const chunk of body.read()) {
    if (request.destroyed) return;
    // When the next chunk is asked for, nobody looks at this one any more: that is what its giver may rely on.
    await new Promise<void>((resolve) => {
      goOn = resolve;
      request.write(chunk, () => resolve());
    });
    if (request.destroyed) return;
  }
  request.end();
}

function headersOf({ headers }: IncomingMessage): Readonly<Record<string, string>> {
  // The only header that Node.js gives as a list, and one that nobody here reads.
  delete headers["set-cookie"];
  return headers as Record<string, string>;
}

/** What reading a reply has to know. */
interface ReplyParts {
  readonly address: string;
  readonly maxBytes: number;
  readonly silence: Silence;
  /** The exchange has ended, for a reason that makes its error or well; gives why not. Any number of times. */
  over(thrown?: unknown): LongshoreError | undefined;
}

/** The body of a reply, within the limit; whatever ends the exchange early ends the reading with the right reason. */
async function* replyChunks(
  response: IncomingMessage,
  { address, maxBytes, silence, over }: ReplyParts,
): AsyncIterable<Uint8Array> {
  let bytes = 0;
  try {
    for await (const chunk of response as AsyncIterable<Uint8Array>) {
      silence.moved();
      bytes += chunk.byteLength;
      if (bytes > maxBytes) throw tooLong(address, maxBytes);
      silence.held(true);
      yield chunk;
      silence.held(false);
    }
    const failed = over();
    if (failed) throw failed;
  } catch (thrown) {
    throw over(thrown) ?? thrown;
  } finally {
    over();
  }
}

/** The same handed over as it comes: iterating over a stream of Node.js costs a short reply more than all else of it. */
function eachChunk(
  response: IncomingMessage,
  { address, maxBytes, silence, over }: ReplyParts,
  take: (chunk: Uint8Array) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    let bytes = 0;
    const stop = (thrown: unknown): void => {
      response.off("data", onData);
      reject(over(thrown) ?? thrown);
    };
    const onData = (chunk: Uint8Array): void => {
      silence.moved();
      bytes += chunk.byteLength;
      try {
        if (bytes > maxBytes) throw tooLong(address, maxBytes);
        take(chunk);
      } catch (thrown) {
        stop(thrown);
      }
    };
    const broken = (thrown?: Error): void => {
      if (!response.complete) stop(thrown ?? new Error("the connection closed within the reply"));
    };
    if (response.destroyed) return stop(new Error("the connection closed within the reply"));
    response.on("error", broken).on("close", broken).on("data", onData);
    response.on("end", () => {
      const failed = over();
      if (failed) reject(failed);
      else resolve();
    });
  });
}

/** One exchange, whatever is unusual in it, on a connection of an agent's. */
export function nodeExchange(
  make: () => ClientRequest,
  { body: sent }: Pick<WireRequest, "body">,
  call: Call,
  options: ExchangeOptions,
  acknowledged: ((bytes: number) => void) | undefined,
): Promise<WireResponse> {
  const { address, clock, maxBytes } = options;
  return new Promise((resolve, reject) => {
    const state = { connected: false, reused: false, answered: false };
    const outgoing = make();
    let failure: LongshoreError | undefined;
    let broken: LongshoreError | undefined;
    // Destroying a request makes errors of its own; the first cause is the one that counts.
    const end = (error: LongshoreError): void => {
      failure ??= error;
      // Node.js throws away what is unread of a reply and lets it end as if that had been all.
      broken ??= error;
      if (outgoing.socket && !state.answered) giveUp(outgoing.socket);
      outgoing.destroy(error);
      // While it waits for a connection, it would hear of that only when one is free.
      if (!outgoing.socket) reject(fail(error));
    };
    const silence = watchSilence(clock, options.idleTimeoutMs, {
      written: () => outgoing.socket?.bytesWritten ?? 0,
      silent: () => end(noAnswer(address, `nothing came for ${options.idleTimeoutMs} ms`)),
    });
    // A kept connection is there already.
    const connecting = outgoing.reusedSocket
      ? undefined
      : clock.timer(options.connectTimeoutMs, () => {
          if (!state.connected)
            end(unreachable(address, `no connection after ${options.connectTimeoutMs} ms`));
        });
    const onAbort = (): void => end(abortError(call.abort, "transport"));
    const settle = (): void => {
      connecting?.[Symbol.dispose]();
      silence[Symbol.dispose]();
      call.abort.removeEventListener("abort", onAbort);
    };
    const fail = (thrown: unknown): LongshoreError => {
      failure ??= meaning(thrown, address, state);
      settle();
      return failure;
    };
    call.abort.addEventListener("abort", onAbort, { once: true });
    outgoing.on("error", (thrown) => reject(fail(thrown)));
    outgoing.on("socket", (socket) => {
      state.reused = outgoing.reusedSocket;
      const connected = (): void => {
        state.connected = true;
        connecting?.[Symbol.dispose]();
        silence.moved();
      };
      // Over TLS there is no server before it has shown its certificate.
      const ready = socket instanceof TLSSocket ? "secureConnect" : "connect";
      // Who waited for a connection may get one that was used, which is not said then.
      if (socket.connecting || (socket instanceof TLSSocket && !socket.getPeerFinished()))
        socket.once(ready, connected);
      else connected();
    });
    outgoing.on("information", ({ headers }) => {
      silence.moved();
      const bytes = Number(headers[acknowledgedHeader]);
      if (acknowledged && Number.isSafeInteger(bytes)) acknowledged(bytes);
    });
    outgoing.on("response", (response) => {
      state.answered = true;
      silence.moved();
      const length = Number(response.headers["content-length"] ?? Number.NaN);
      const over = (thrown?: unknown): LongshoreError | undefined => {
        const error = thrown === undefined ? broken : fail(thrown);
        settle();
        // A connection on which either side is not finished cannot be used again.
        if (error || !outgoing.writableFinished || !response.complete) outgoing.destroy(error);
        return error;
      };
      // An unread reply must not bring the process down when its connection breaks.
      response.on("error", () => undefined);
      if (length > maxBytes) {
        end(tooLong(address, maxBytes, length));
        return;
      }
      const reply = { address, maxBytes, silence, over };
      resolve({
        status: response.statusCode ?? 0,
        headers: headersOf(response),
        body: {
          kind: "stream",
          byteLength: Number.isSafeInteger(length) ? length : undefined,
          read: () => replyChunks(response, reply),
          each: (take) => eachChunk(response, reply, take),
        },
      });
    });
    writeBody(outgoing, sent).catch((thrown: unknown) => {
      end(LongshoreError.from(thrown, "transport", "sending the body"));
    });
  });
}
