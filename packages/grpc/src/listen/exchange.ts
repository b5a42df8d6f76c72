import { constants, type IncomingHttpHeaders, type ServerHttp2Stream } from "node:http2";
import {
  abortError,
  type Call,
  housekeepingCall,
  LongshoreError,
  type Peer,
  randomId,
} from "@longshore/core";
import { type GrpcStatus, type ServerCall, type Service, statusOf } from "../service/index.ts";
import { frameSource, type FrameSource } from "./frames.ts";
import type { HeldBytes } from "./held.ts";
import { acceptedEncodings, compress } from "./inflate.ts";
import type { CompleteOptions } from "./options.ts";

/** What all calls of a listener share. */
export interface ExchangeParts {
  readonly service: Service;
  readonly options: CompleteOptions;
  readonly held: HeldBytes;
  readonly draining: AbortSignal;
}

/** Replies up to this size go out as one write. */
const joinedBytes = 16_384;

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

function metadataOf(headers: IncomingHttpHeaders): Readonly<Record<string, string>> {
  const entries: [string, string][] = [];
  for (const name of Object.keys(headers)) {
    if (name.startsWith(":") || transportHeaders.includes(name)) continue;
    const value = headers[name];
    if (value !== undefined) entries.push([name, Array.isArray(value) ? value.join(", ") : value]);
  }
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

function prefix(byteLength: number, compressed: boolean): Uint8Array {
  const bytes = new Uint8Array(5);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, compressed ? 1 : 0);
  view.setUint32(1, byteLength);
  return bytes;
}

/** The writing half of a call. */
interface Sender {
  send: ServerCall["send"];
  /** Ends the call; its trailers tell how it went. */
  end(status: GrpcStatus): void;
}

function createSender(stream: ServerHttp2Stream, options: CompleteOptions, compresses: boolean): Sender {
  let status: GrpcStatus | undefined;
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
  /** Waits until the client has read enough, and gives up on one that does not read at all. */
  const drained = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const over = (): void => {
        timer[Symbol.dispose]();
        stream.off("drain", over).off("close", over);
        resolve();
      };
      const timer = options.clock.timer(options.replyTimeoutMs, () => {
        stream.off("drain", over).off("close", over);
        stream.close(constants.NGHTTP2_CANCEL);
        reject(new LongshoreError("cancelled", "transport", "the client does not read its reply"));
      });
      stream.once("drain", over).once("close", over);
    });
  return {
    async send({ parts, byteLength }, metadata = {}) {
      if (stream.destroyed || stream.closed) return;
      let body = parts;
      let length = byteLength;
      if (compresses) {
        const packed = await compress(parts);
        body = [packed];
        length = packed.byteLength;
        if (stream.destroyed || stream.closed) return;
      }
      if (!stream.headersSent) begin(metadata);
      const head = prefix(length, compresses);
      if (length <= joinedBytes) {
        if (stream.write(Buffer.concat([head, ...body]))) return;
      } else {
        stream.cork();
        let full = !stream.write(head);
        for (const part of body) full = !stream.write(part) || full;
        stream.uncork();
        if (!full) return;
      }
      await drained();
    },
    end(given) {
      if (stream.destroyed || stream.closed) return;
      status = given;
      if (stream.headersSent) stream.end();
      else {
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
      // What the client may still be sending is not waited for; gRPC's clients take the status and stop.
      stream.once("finish", () => {
        if (!stream.readableEnded) stream.close(constants.NGHTTP2_NO_ERROR);
      });
      stream.setTimeout(options.replyTimeoutMs, () => stream.close(constants.NGHTTP2_CANCEL));
    },
  };
}

function refuseHttp(stream: ServerHttp2Stream, status: number): void {
  stream.respond({ ":status": status }, { endStream: true });
  stream.once("finish", () => stream.close(constants.NGHTTP2_NO_ERROR));
}

/** Serves one call. Never rejects. */
export async function serveExchange(
  { service, options, held, draining }: ExchangeParts,
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  peer: Peer,
): Promise<void> {
  const abort = new AbortController();
  // Without a listener, a stream that breaks would end the process.
  stream.on("error", () => undefined);
  stream.on("close", () => {
    if (!stream.writableFinished) {
      abort.abort(new LongshoreError("cancelled", "transport", "the client gave up the call"));
    }
  });
  const type = headers["content-type"] ?? "";
  if (headers[":method"] !== "POST") return refuseHttp(stream, 405);
  if (!/^application\/grpc(\+proto)?($|;)/.test(type)) return refuseHttp(stream, 415);
  const accepts = String(headers["grpc-accept-encoding"] ?? "").split(/\s*,\s*/);
  const sender = createSender(
    stream,
    options,
    options.replyCompression === "gzip" && accepts.includes("gzip"),
  );
  let frames: FrameSource | undefined;
  let deadline: Disposable | undefined;
  let status: GrpcStatus;
  try {
    const path = headers[":path"] ?? "";
    const remainingMs = timeoutMs(headers["grpc-timeout"] as string | undefined);
    const base = housekeepingCall(randomId(options.random), abort.signal);
    const call: Call =
      remainingMs === Infinity ? base : { ...base, deadlineMs: options.clock.nowMs() + remainingMs };
    if (remainingMs !== Infinity) {
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
      clock: options.clock,
      maxBytes: options.limits.maxBodyBytes,
      encoding: String(headers["grpc-encoding"] ?? "identity").toLowerCase(),
      timeoutMs: options.requestTimeoutMs,
      patient: path.endsWith("/ModelStreamInfer"),
      held,
    });
    frames = source;
    status = await unlessAborted(
      service({
        path,
        headers: metadataOf(headers),
        peer,
        ...(options.surfaces ? { surfaces: options.surfaces } : {}),
        call,
        draining,
        next: () => source.next(),
        send: sender.send,
      }),
      abort.signal,
    );
  } catch (thrown) {
    status = statusOf(LongshoreError.from(thrown, "transport", "taking the call"));
  }
  deadline?.[Symbol.dispose]();
  frames?.[Symbol.dispose]();
  try {
    sender.end(status);
  } catch {
    // Metadata that HTTP/2 cannot carry, or a stream that broke meanwhile: only a reset can tell.
    stream.close(constants.NGHTTP2_INTERNAL_ERROR);
  }
}

/** Settles as `work` does, or rejects as soon as the call is over. */
async function unlessAborted<T>(work: Promise<T>, abort: AbortSignal): Promise<T> {
  let stop = (): void => undefined;
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(abortError(abort, "transport"));
    abort.addEventListener("abort", stop, { once: true });
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    abort.removeEventListener("abort", stop);
  }
}
