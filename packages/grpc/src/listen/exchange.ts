import { LongshoreError } from "@longshore/core";
import {
  type ConnectionAdmission,
  atDeadline,
  housekeepingCall,
  ownCall,
  randomId,
  type SpareControllers,
  type UnderWay,
} from "@longshore/core/internal";
import { codes } from "./http2/index.ts";
import { onePart, type Parts } from "../message/index.ts";
import {
  type GrpcStatus,
  grpcTimeoutMs,
  type Method,
  type ServerCall,
  type Service,
  statusOf,
} from "../service/index.ts";
import {
  acceptedEncodings,
  compress,
  frameSource,
  type FrameSource,
  type BufferedBytes,
  type Patience,
  prefixBytes,
  prefixOf,
} from "../frame/index.ts";
import type { CallStream, StreamEvents } from "./call-stream.ts";
import type { CompleteOptions } from "./options.ts";

/** The parts that all calls of a listener share. */
export interface ExchangeParts {
  readonly service: Service;
  /** Methods of other services, which may have any number of messages in both directions. */
  readonly methods: ReadonlyMap<string, Method>;
  readonly options: CompleteOptions;
  readonly held: BufferedBytes;
  readonly draining: AbortSignal;
  /** Of calls that are over. */
  readonly controllers: SpareControllers;
  /** For messages to arrive, and for replies to be read. */
  readonly arrival: Patience;
  readonly reading: Patience;
  /** Replies that were written and have not left yet. */
  readonly sending: UnderWay;
}

/** Methods that answer with any number of messages. */
const streaming: readonly string[] = ["/ModelStreamInfer", "/Watch"];

/** Health probes, which are answered over any connection. */
const probes: readonly string[] = [
  "/grpc.health.v1.Health/Check",
  "/inference.GRPCInferenceService/ServerLive",
  "/inference.GRPCInferenceService/ServerReady",
];

/** How long a client may go on sending into a call that has ended. */
const lingerMs = 2000;

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

/** A message after its prefix. */
function prefixed({ parts, byteLength, given = false }: Parts, compressed: boolean): Parts {
  return { parts: [prefixOf(byteLength, compressed), ...parts], byteLength: prefixBytes + byteLength, given };
}

/** The writing half of a call. */
interface Sender {
  send: ServerCall["send"];
  /** Ends the call; its trailers tell how it went. Does nothing when it has ended. */
  end(status: GrpcStatus): void;
  /** More may be written. */
  room(): void;
  /** The stream is no more. */
  closed(): void;
}

/** How a call is answered. */
interface SenderOptions extends Pick<ExchangeParts, "reading" | "sending"> {
  /** Calls back when a client has had time to notice that its call has ended. */
  readonly lingering: (over: () => void) => Disposable;
  readonly compresses: boolean;
  /** The call has one message at most: it waits for the status, and both go out together. */
  readonly unary: boolean;
}

const plainHeaders = { "content-type": "application/grpc", "grpc-accept-encoding": acceptedEncodings };

const ignored = (): void => undefined;

function createSender(
  stream: CallStream,
  { reading, sending, lingering, compresses, unary }: SenderOptions,
): Sender {
  let ended = false;
  let kept: { readonly message: Parts; readonly metadata: Readonly<Record<string, string>> } | undefined;
  let goOn = ignored;
  /** Timers that end with the stream. */
  const timers: Disposable[] = [];
  const begin = (metadata: Readonly<Record<string, string>>): void =>
    stream.begin({ ...plainHeaders, ...(compresses ? { "grpc-encoding": "gzip" } : {}), ...metadata });
  /** Gives up on a client that reads nothing of what is written to it; dispose when it has read it. */
  const impatience = (failed: () => void): Disposable => {
    let { unsentBytes } = stream;
    const late = (): void => {
      if (stream.unsentBytes < unsentBytes) {
        ({ unsentBytes } = stream);
        timer = reading.wait(late);
        return;
      }
      stream.reset(codes.cancel);
      failed();
    };
    let timer = reading.wait(late);
    return { [Symbol.dispose]: () => timer[Symbol.dispose]() };
  };
  const drained = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const timer = impatience(() => {
        goOn = ignored;
        reject(new LongshoreError("cancelled", "transport", "the client does not read its reply"));
      });
      goOn = () => {
        goOn = ignored;
        timer[Symbol.dispose]();
        resolve();
      };
    });
  return {
    async send(message, metadata = {}) {
      const body = compresses ? onePart(await compress(message.parts)) : message;
      if (stream.closed) return;
      if (unary) {
        kept = { message: body, metadata };
        return;
      }
      if (!stream.begun) begin(metadata);
      if (!stream.write(prefixed(body, compresses))) await drained();
    },
    room: () => goOn(),
    closed() {
      for (const timer of timers) timer[Symbol.dispose]();
      goOn();
    },
    end(status) {
      if (ended || stream.closed) return;
      ended = true;
      if (status.code === 0 && kept) {
        begin(kept.metadata);
        stream.end(trailersOf(status), prefixed(kept.message, compresses));
      } else if (stream.begun) {
        stream.end(trailersOf(status));
      } else {
        stream.answer(200, { ...plainHeaders, ...trailersOf(status) });
      }
      if (stream.closed) return;
      // The rest of the client's bytes is thrown away for a while: a reset could overtake the trailers.
      if (!stream.ended) {
        stream.resume();
        timers.push(lingering(() => stream.reset(codes.none)));
      }
      // Nothing waits unless the client's windows or the connection are full.
      if (stream.unsentBytes > 0) timers.push(impatience(ignored));
      if (stream.unsentBytes === 0) return;
      void sending.track(new Promise<void>((resolve) => timers.push({ [Symbol.dispose]: resolve })));
    },
  };
}

/** Why a request is no call of gRPC, as a status of HTTP. */
function refusalOf({ method, contentType }: CallStream["head"]): number | undefined {
  if (method !== "POST") return 405;
  return /^application\/grpc(\+proto)?($|;)/.test(contentType) ? undefined : 415;
}

const onlyGrpc = new TextEncoder().encode("this port serves gRPC only\n");

/** Answers what is no call once all of it has come and was thrown away, or after `lingerMs`. */
function refuse(stream: CallStream, status: number, lingering: SenderOptions["lingering"]): void {
  const answer = (): void => {
    if (stream.begun || stream.closed) return;
    stream.begin({ "content-type": "text/plain" }, status);
    stream.end({}, { parts: [onlyGrpc], byteLength: onlyGrpc.byteLength });
  };
  const late = lingering(() => {
    answer();
    stream.reset(codes.none);
  });
  stream.listen({ data: ignored, end: answer, room: ignored, closed: () => late[Symbol.dispose]() });
}

/** Serves one call. Never rejects. */
export async function serveExchange(
  { service, methods, options, held, draining, controllers, arrival, reading, sending }: ExchangeParts,
  stream: CallStream,
  admission: ConnectionAdmission,
): Promise<void> {
  const { path, timeout, encoding, accepts, metadata } = stream.head;
  const refusal = refusalOf(stream.head);
  const lingering = (over: () => void): Disposable => options.clock.timer(lingerMs, over);
  if (refusal !== undefined) return refuse(stream, refusal, lingering);
  const isOther = methods.has(path);
  const abort = controllers.take();
  const sender = createSender(stream, {
    reading,
    sending,
    lingering,
    compresses: options.replyCompression === "gzip" && accepts.split(/\s*,\s*/).includes("gzip"),
    unary: !isOther && !streaming.some((name) => path.endsWith(name)),
  });
  let answered = false;
  let frames: FrameSource | undefined;
  let deadline: Disposable | undefined;
  const end = (status: GrpcStatus): void => {
    answered = true;
    deadline?.[Symbol.dispose]();
    frames?.[Symbol.dispose]();
    frames = undefined;
    try {
      sender.end(status);
    } catch {
      // Metadata that HTTP/2 cannot carry, or a stream that broke meanwhile: only a reset can tell.
      stream.reset(codes.internal);
    }
  };
  const giveUp = (why: LongshoreError): void => {
    // First, so that a reader that still waits for a message gets the reason.
    abort.abort(why);
    end(statusOf(why));
  };
  const events: StreamEvents = {
    data: (chunk) => frames?.came(chunk),
    end: () => frames?.end(),
    room: sender.room,
    closed() {
      frames?.gone();
      sender.closed();
      if (!answered) giveUp(new LongshoreError("cancelled", "transport", "the client gave up the call"));
    },
  };
  try {
    if (admission.probesOnly && !probes.includes(path)) admission.demand();
    const remainingMs = grpcTimeoutMs(timeout);
    const call = ownCall(housekeepingCall(randomId(options.random), abort.signal));
    if (remainingMs !== Infinity) {
      call.deadlineMs = options.clock.nowMs() + remainingMs;
      deadline = atDeadline(options.clock, call.deadlineMs, () =>
        giveUp(
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
      encoding,
      arrival,
      patient: isOther || path.endsWith("/ModelStreamInfer"),
      held,
      closed: () =>
        LongshoreError.is(abort.signal.reason)
          ? abort.signal.reason
          : new LongshoreError("cancelled", "transport", "the client closed the call"),
    });
    frames = source;
    stream.listen(events);
    const status = await service({
      path,
      headers: metadata,
      peer: stream.peer,
      ...(options.surfaces ? { surfaces: options.surfaces } : {}),
      call,
      draining,
      next: () => source.next(),
      send: sender.send,
    });
    end(status);
  } catch (thrown) {
    // A call that was refused before it was read has to end like all others.
    if (!frames && !answered) stream.listen(events);
    end(statusOf(LongshoreError.from(thrown, "transport", "taking the call")));
  } finally {
    // Answered or given up: it is not fired from here on.
    controllers.give(abort);
  }
}
