import { constants, type IncomingHttpHeaders, type ServerHttp2Stream } from "node:http2";
import { abortError, housekeepingCall, LongshoreError, ownCall, type Peer, randomId } from "@longshore/core";
import { onePart, type Parts } from "../message/index.ts";
import { type GrpcStatus, type ServerCall, type Service, statusOf } from "../service/index.ts";
import {
  acceptedEncodings,
  compress,
  frameSource,
  type FrameSource,
  type HeldBytes,
  type Patience,
  prefixBytes,
  prefixOf,
} from "../frame/index.ts";
import type { CompleteOptions } from "./options.ts";

/** What all calls of a listener share. */
export interface ExchangeParts {
  readonly service: Service;
  readonly options: CompleteOptions;
  readonly held: HeldBytes;
  readonly draining: AbortSignal;
  /** For messages to arrive, and for replies to be read. */
  readonly arrival: Patience;
  readonly reading: Patience;
}

/** Replies up to this size go out as one write. */
const joinedBytes = 16_384;

/** Methods that answer with any number of messages. */
const streaming: readonly string[] = ["/ModelStreamInfer", "/Watch"];

/** How long a client may go on sending into a call that is over. */
const lingerMs = 2000;

const units: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 1e-3, n: 1e-6 };

/** The time that `grpc-timeout` leaves, in milliseconds; Infinity without one. */
export function timeoutMs(value: string | undefined): number {
  if (value === undefined) return Infinity;
  const [, digits, unit = ""] = /^([0-9]{1,8})([HMSmun])$/.exec(value) ?? [];
  if (digits === undefined) {
    throw new LongshoreError("invalid-input", "admission", "grpc-timeout must be up to 8 digits and a unit");
  }
  return Number(digits) * (units[unit] ?? 1);
}

/** Headers that are the transport's own business. */
const transportHeaders: readonly string[] = [
  "te",
  "content-type",
  "user-agent",
  "grpc-encoding",
  "grpc-accept-encoding",
];

/**
 * Node.js drops all but the first of some headers that come twice. A proxy may have gone by the last: credentials are
 * joined instead, which no credential survives.
 */
function allAuthorizations(rawHeaders: readonly string[]): string {
  return rawHeaders.filter((_, at) => at % 2 === 1 && rawHeaders[at - 1] === "authorization").join(", ");
}

function metadataOf(
  headers: IncomingHttpHeaders,
  rawHeaders: readonly string[],
): Readonly<Record<string, string>> {
  const entries: [string, string][] = [];
  for (const name of Object.keys(headers)) {
    if (name.startsWith(":") || transportHeaders.includes(name)) continue;
    const value = headers[name];
    if (value !== undefined) entries.push([name, Array.isArray(value) ? value.join(", ") : value]);
  }
  if (headers.authorization !== undefined) entries.push(["authorization", allAuthorizations(rawHeaders)]);
  const authority = headers[":authority"];
  // What HTTP/1.1 calls the host; identity looks at it.
  if (typeof authority === "string") entries.push(["host", authority]);
  return Object.fromEntries(entries);
}

const encoder = new TextEncoder();

/** `grpc-message`: UTF-8, percent-encoded but for printable ASCII. */
export function percentEncoded(message: string): string {
  let text = "";
  for (const byte of encoder.encode(message)) {
    text +=
      byte >= 0x20 && byte <= 0x7e && byte !== 0x25
        ? String.fromCharCode(byte)
        : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  }
  return text;
}

function trailersOf({ code, message, trailers }: GrpcStatus): Readonly<Record<string, string>> {
  return {
    "grpc-status": String(code),
    ...(message === "" ? {} : { "grpc-message": percentEncoded(message).slice(0, 4096) }),
    ...trailers,
  };
}

/** The writing half of a call. */
interface Sender {
  send: ServerCall["send"];
  /** Ends the call; its trailers tell how it went. Does nothing when it has ended. */
  end(status: GrpcStatus): void;
}

/** How a call is answered. */
interface SenderOptions {
  readonly reading: Patience;
  /** Calls back when a client has had time to notice that its call is over. */
  readonly lingering: (over: () => void) => Disposable;
  readonly compresses: boolean;
  /** The call has one message at most: it waits for the status, and both go out together. */
  readonly unary: boolean;
}

function createSender(
  stream: ServerHttp2Stream,
  { reading, lingering, compresses, unary }: SenderOptions,
): Sender {
  let status: GrpcStatus | undefined;
  let kept: { readonly message: Parts; readonly metadata: Readonly<Record<string, string>> } | undefined;
  const gone = (): boolean => stream.destroyed || stream.closed;
  const begin = (metadata: Readonly<Record<string, string>>): void => {
    stream.respond(
      {
        ":status": 200,
        "content-type": "application/grpc",
        "grpc-accept-encoding": acceptedEncodings,
        ...(compresses ? { "grpc-encoding": "gzip" } : {}),
        ...metadata,
      },
      { waitForTrailers: true },
    );
    stream.on("wantTrailers", () => {
      if (status) stream.sendTrailers(trailersOf(status));
      else stream.close(constants.NGHTTP2_INTERNAL_ERROR);
    });
  };
  /** Gives up on a client that does not read what is written to it; dispose when it has. */
  const impatience = (failed: () => void): Disposable =>
    reading.wait(() => {
      stream.close(constants.NGHTTP2_CANCEL);
      failed();
    });
  const drained = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const over = (): void => {
        timer[Symbol.dispose]();
        stream.off("drain", over).off("close", over);
        resolve();
      };
      const timer = impatience(() => {
        stream.off("drain", over).off("close", over);
        reject(new LongshoreError("cancelled", "transport", "the client does not read its reply"));
      });
      stream.once("drain", over).once("close", over);
    });
  /** Writes a message; tells whether the next may follow at once. With `last` the writing half ends with it. */
  const write = ({ parts, byteLength }: Parts, last: boolean): boolean => {
    const head = prefixOf(byteLength, compresses);
    if (byteLength <= joinedBytes) {
      const whole = Buffer.concat([head, ...parts], prefixBytes + byteLength);
      if (last) stream.end(whole);
      return last || stream.write(whole);
    }
    stream.cork();
    let room = stream.write(head);
    for (const part of parts) room = stream.write(part) && room;
    if (last) stream.end();
    stream.uncork();
    return room;
  };
  const packed = async (message: Parts): Promise<Parts> =>
    compresses ? onePart(await compress(message.parts)) : message;
  return {
    async send(message, metadata = {}) {
      const body = compresses ? await packed(message) : message;
      if (gone()) return;
      if (unary) {
        kept = { message: body, metadata };
        return;
      }
      if (!stream.headersSent) begin(metadata);
      if (!write(body, false)) await drained();
    },
    end(given) {
      if (status || gone()) return;
      status = given;
      if (given.code === 0 && kept) {
        begin(kept.metadata);
        write(kept.message, true);
      } else if (stream.headersSent) {
        stream.end();
      } else {
        stream.respond(
          {
            ":status": 200,
            "content-type": "application/grpc",
            "grpc-accept-encoding": acceptedEncodings,
            ...trailersOf(given),
          },
          { endStream: true },
        );
      }
      // What the client may still be sending is thrown away for a while: a reset could overtake the trailers.
      if (!stream.readableEnded) {
        stream.resume();
        const over = lingering(() => stream.close(constants.NGHTTP2_NO_ERROR));
        stream.once("close", () => over[Symbol.dispose]());
      }
      // A short reply waits in the kernel's buffers, which cost nobody anything.
      if (stream.writableLength > joinedBytes) {
        const timer = impatience(() => undefined);
        stream.once("close", () => timer[Symbol.dispose]());
      }
    },
  };
}

function refuseHttp(stream: ServerHttp2Stream, status: number): void {
  stream.respond({ ":status": status }, { endStream: true });
  stream.once("finish", () => stream.close(constants.NGHTTP2_NO_ERROR));
}

/** Serves one call. Never rejects. */
export async function serveExchange(
  { service, options, held, draining, arrival, reading }: ExchangeParts,
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  rawHeaders: readonly string[],
  peer: Peer,
): Promise<void> {
  const abort = new AbortController();
  // Without a listener, a stream that breaks would end the process.
  stream.on("error", () => undefined);
  // A reset ends the writing half as if all had been written, so its state tells nothing.
  let answered = false;
  const left = (): void => {
    if (!answered) abort.abort(new LongshoreError("cancelled", "transport", "the client gave up the call"));
  };
  stream.on("aborted", left).on("close", left);
  const type = headers["content-type"] ?? "";
  if (headers[":method"] !== "POST") return refuseHttp(stream, 405);
  if (!/^application\/grpc(\+proto)?($|;)/.test(type)) return refuseHttp(stream, 415);
  const path = headers[":path"] ?? "";
  const accepts = String(headers["grpc-accept-encoding"] ?? "").split(/\s*,\s*/);
  const sender = createSender(stream, {
    reading,
    lingering: (over) => options.clock.timer(lingerMs, over),
    compresses: options.replyCompression === "gzip" && accepts.includes("gzip"),
    unary: !streaming.some((name) => path.endsWith(name)),
  });
  let frames: FrameSource | undefined;
  let deadline: Disposable | undefined;
  const end = (status: GrpcStatus): void => {
    answered = true;
    deadline?.[Symbol.dispose]();
    frames?.[Symbol.dispose]();
    try {
      sender.end(status);
    } catch {
      // Metadata that HTTP/2 cannot carry, or a stream that broke meanwhile: only a reset can tell.
      stream.close(constants.NGHTTP2_INTERNAL_ERROR);
    }
  };
  abort.signal.addEventListener("abort", () => end(statusOf(abortError(abort.signal, "transport"))));
  try {
    const remainingMs = timeoutMs(headers["grpc-timeout"] as string | undefined);
    const call = ownCall(housekeepingCall(randomId(options.random), abort.signal));
    if (remainingMs !== Infinity) {
      call.deadlineMs = options.clock.nowMs() + remainingMs;
      deadline = options.clock.timer(remainingMs, () =>
        abort.abort(
          new LongshoreError(
            "deadline-exceeded",
            "transport",
            "the deadline passed before the answer was there",
          ),
        ),
      );
    }
    const source = frameSource(stream, {
      maxBytes: options.limits.maxBodyBytes,
      encoding: String(headers["grpc-encoding"] ?? "identity").toLowerCase(),
      arrival,
      patient: path.endsWith("/ModelStreamInfer"),
      held,
      closed: () => new LongshoreError("cancelled", "transport", "the client closed the call"),
    });
    frames = source;
    const status = await service({
      path,
      headers: metadataOf(headers, rawHeaders),
      peer,
      ...(options.surfaces ? { surfaces: options.surfaces } : {}),
      call,
      draining,
      next: () => source.next(),
      send: sender.send,
    });
    end(status);
  } catch (thrown) {
    end(statusOf(LongshoreError.from(thrown, "transport", "taking the call")));
  }
}
