import { create, fromBinary, type JsonObject, toBinary } from "@bufbuild/protobuf";
import { type Call, type Clock, LongshoreError, type Peer } from "@longshore/core";
import {
  type HeaderMap,
  type HttpBody,
  HeaderValueOption_HeaderAppendAction as Append,
  ProcessingMode_BodySendMode as BodyMode,
  ProcessingMode_HeaderSendMode as HeaderMode,
  type ProcessingRequest,
  ProcessingRequestSchema,
  ProcessingResponseSchema,
} from "../proto/ext_proc_pb.ts";
import type { GrpcService, MethodCall } from "../service/index.ts";

/*
 * Envoy opens one call for each request of a client, sends what `processing_mode` names in the order in which it arrives, and
 * waits for an answer to each message. Only headers are wanted here: unless the proxy says that it sends nothing else,
 * or that it works in full duplex, `mode_override` asks for that. A proxy that does not allow overrides sends bodies nevertheless. They go back as they came, one piece at a time, so that the memory of a call
 * is that of one message. In full duplex every byte has to be sent back; in the other modes an empty answer leaves the body as
 * it is.
 *
 * A decision may need the beginning of the body (gRPC has the model there). In full duplex the headers are answered only after that, and
 * what was held goes back first. In a buffered mode the headers pass, the proxy holds them with the body, and the answer to the body
 * routes both; nothing goes back.
 *
 * The proxy holds a request or a reply back until its message is answered. So a reply's headers are answered before anything is
 * learned from them, and where nothing can follow them the call ends with that answer. A proxy that logs its replies to this process
 * (`access-log.ts`) sends the headers of requests only, and closes the call when the request has ended.
 */

type Headers = Readonly<Record<string, string>>;

/** A request as a proxy reports it before its body. */
export interface ProcessedRequest {
  /** By lower-case name; names that begin with a colon are HTTP/2 pseudo-headers. Repeated headers are joined by commas. */
  readonly headers: Headers;
  /** Metadata of the proxy's filters, by their namespaces. */
  readonly metadata: Readonly<Record<string, JsonObject>>;
  readonly peer: Peer;
  /** The proxy sends no headers of the reply. Its access log reports how the request has ended. */
  readonly isLogged: boolean;
}

/** A reply as a proxy reports it before its body. */
export interface ProcessedReply {
  readonly headers: Headers;
  /** Attributes that the proxy was configured to tell, such as `upstream.address`. */
  readonly attributes: Headers;
  readonly metadata: Readonly<Record<string, JsonObject>>;
  /** For a decision that wants them; empty if the reply had headers only. */
  readonly trailers: Headers;
}

/** The decision about a request: the proxy answers it itself, or sends it on. */
export type Decided =
  | {
      /** The proxy answers it itself. */
      readonly kind: "answered";
      readonly status: number;
      readonly headers: Headers;
      readonly body: Uint8Array;
      /** One word for the proxy's log. */
      readonly details: string;
      /** For a client that speaks gRPC: the status of the call, with the body as its message. */
      readonly grpcStatus?: number;
    }
  | {
      readonly kind: "routed";
      /** Headers that the request gets. */
      readonly headers: Headers;
      /** Metadata that the proxy's other filters and its load balancer see, by namespace. */
      readonly metadata: JsonObject;
      /** The reply ends with trailers that tell how it went, unless its headers have `grpc-status`. Default false. */
      readonly wantsTrailers?: boolean;
      /** The reply's headers, and trailers if wanted, have come and have been answered. Called once at most. */
      replied(reply: ProcessedReply): void;
      /** The call has ended, with or without a reply. `broke` if the proxy or its client broke it off. Called once. */
      ended(broke: boolean): void;
    };

/** A decision, or what it needs first. */
export type Processing =
  | Decided
  | {
      readonly kind: "undecided";
      /** The most bytes at the beginning of the body that are waited for. */
      readonly mostBytes: number;
      /**
       * Decides with the beginning of the body. Undefined if more is needed, which is only allowed where more comes.
       *
       * @param whole No more is waited for. Without a body mode that allows waiting this is called once, with no bytes.
       */
      decide(head: Uint8Array, whole: boolean): Decided | Promise<Decided> | undefined;
    };

/** Decides about requests of a proxy. An error becomes the status of the call, which the proxy handles by its failure mode. */
export interface RequestProcessor {
  process(request: ProcessedRequest, call: Call): Processing | Promise<Processing>;
}

/** How calls are served. */
export interface ProcessorOptions {
  readonly clock: Clock;
  readonly processor: RequestProcessor;
  /** How long a call may be silent, while its request is under way, in milliseconds. Default 900,000. */
  readonly silentMs?: number;
}

/** Metadata of a call, with the value `logged`, by which a proxy says that it sends no replies, since its access log reports them. */
export const repliesHeader = "longshore-replies";

/** The name of the service, which health checks know, too. */
const serviceName = "envoy.service.ext_proc.v3.ExternalProcessor";
/** Full duplex takes pieces of at most 64 kB. */
const pieceBytes = 60_000;

const utf8 = new TextDecoder();
const bytesOf = new TextEncoder();

/** Envoy sends values as bytes; older ones and others as text. */
function headersOf(map: HeaderMap | undefined): Record<string, string> {
  const headers: Record<string, string> = Object.create(null) as Record<string, string>;
  for (const { key, value, rawValue } of map?.headers ?? []) {
    const name = key.toLowerCase();
    const text = rawValue.byteLength > 0 ? utf8.decode(rawValue) : value;
    const before = headers[name];
    headers[name] = before === undefined ? text : `${before}, ${text}`;
  }
  return headers;
}

function mutationOf(headers: Headers) {
  return {
    setHeaders: Object.entries(headers).map(([key, value]) => ({
      header: { key, rawValue: bytesOf.encode(value) },
      appendAction: Append.OVERWRITE_IF_EXISTS_OR_ADD,
    })),
  };
}

/** Attributes of all filters as texts. */
function attributesOf({ attributes }: ProcessingRequest): Record<string, string> {
  const texts: Record<string, string> = {};
  for (const fields of Object.values(attributes)) {
    for (const [name, value] of Object.entries(fields)) {
      if (typeof value === "string" || typeof value === "number") texts[name] = String(value);
    }
  }
  return texts;
}

function wrong(message: string): LongshoreError {
  return new LongshoreError("invalid-input", "decode", message);
}

function decoded(bytes: Uint8Array): ProcessingRequest {
  try {
    return fromBinary(ProcessingRequestSchema, bytes);
  } catch (cause) {
    throw new LongshoreError(
      "invalid-input",
      "decode",
      `a message is no ProcessingRequest of ${serviceName}`,
      { cause },
    );
  }
}

type ResponseInit = Parameters<typeof create<typeof ProcessingResponseSchema>>[1];

const headersOnly = {
  requestHeaderMode: HeaderMode.SEND,
  responseHeaderMode: HeaderMode.SEND,
  requestBodyMode: BodyMode.NONE,
  responseBodyMode: BodyMode.NONE,
  requestTrailerMode: HeaderMode.SKIP,
  responseTrailerMode: HeaderMode.SKIP,
};

const headersAndTrailers = { ...headersOnly, responseTrailerMode: HeaderMode.SEND };

/** Leaves the headers of a request as they are, until its body has come. */
const plainRequest = toBinary(
  ProcessingResponseSchema,
  create(ProcessingResponseSchema, { response: { case: "requestHeaders", value: {} } }),
);

/** Leaves the headers of a reply as they are. */
const plainReply = toBinary(
  ProcessingResponseSchema,
  create(ProcessingResponseSchema, { response: { case: "responseHeaders", value: {} } }),
);

/** A body of one direction on its way back. */
class Echo {
  readonly #name: "requestBody" | "responseBody";
  readonly #duplex: boolean;
  #ended = false;

  constructor(name: "requestBody" | "responseBody", duplex: boolean) {
    this.#name = name;
    this.#duplex = duplex;
  }

  /** The answers to one piece. */
  *answers({ body, endOfStream }: HttpBody): Generator<ResponseInit> {
    if (!this.#duplex) {
      yield { response: { case: this.#name, value: { response: {} } } };
      return;
    }
    // Envoy may send the last piece twice (envoyproxy/envoy#46237).
    if (this.#ended) return;
    this.#ended = endOfStream;
    let at = 0;
    do {
      const piece = body.subarray(at, at + pieceBytes);
      at += piece.byteLength;
      const streamed = { body: piece, endOfStream: endOfStream && at >= body.byteLength };
      yield {
        response: {
          case: this.#name,
          value: {
            response: { bodyMutation: { mutation: { case: "streamedResponse", value: streamed } } },
          },
        },
      };
    } while (at < body.byteLength);
  }
}

/** The beginning of a body, held until it is known where its request goes. */
interface Held {
  readonly undecided: Processing & { kind: "undecided" };
  readonly pieces: HttpBody[];
  byteLength: number;
  /** The proxy holds the headers with the body, and waits for one answer to both. */
  readonly buffered: boolean;
}

function joined(pieces: readonly HttpBody[], byteLength: number): Uint8Array {
  const [first] = pieces;
  if (pieces.length === 1 && first) return first.body;
  const bytes = new Uint8Array(byteLength);
  let at = 0;
  for (const { body } of pieces) {
    bytes.set(body, at);
    at += body.byteLength;
  }
  return bytes;
}

/** One call, that is: one request of a client of the proxy. */
class Exchange {
  readonly #call: MethodCall;
  readonly #options: ProcessorOptions;
  #routed: (Decided & { kind: "routed" }) | undefined;
  #held: Held | undefined;
  #begun = false;
  #replied = false;
  /** The call has a reply alone, which passes. */
  #passes = false;
  /** A reply whose trailers are wanted. */
  #reply: ProcessedReply | undefined;
  /** The proxy sends headers only: nothing follows the headers of the reply. */
  #headersOnly = false;
  /** In full duplex a body may have been sent already, and Envoy takes its way back for an error once the mode has changed. */
  #mayOverride = false;
  #heardAtMs = 0;
  /** One timer for all messages. */
  #silence: Disposable | undefined;
  /** The proxy was silent for too long. */
  #silent: LongshoreError | undefined;
  /** Ends the wait for the next message. */
  #giveUp: (why: LongshoreError) => void = () => undefined;
  #requestEcho: Echo | undefined;
  #responseEcho: Echo | undefined;

  constructor(call: MethodCall, options: ProcessorOptions) {
    this.#call = call;
    this.#options = options;
  }

  async run(): Promise<void> {
    let broke = true;
    try {
      for (;;) {
        const bytes = await this.#next();
        if (!bytes) break;
        const message = decoded(bytes);
        if (!(await this.#take(message))) break;
      }
      broke = this.#call.call.abort.aborted;
    } finally {
      this.#silence?.[Symbol.dispose]();
      if (!broke) this.#tellReply({});
      this.#routed?.ended(broke);
    }
  }

  /** The next message; throws when there is none for too long. The first one comes with the call. */
  #next(): Promise<Uint8Array | undefined> {
    if (this.#silent) return Promise.reject(this.#silent);
    const next = this.#call.next();
    if (!this.#begun) return next;
    if (!this.#silence) this.#endAfterSilence(this.#options.silentMs ?? 900_000);
    // A race with one promise for the whole call would keep each message until the call ends: 1 GB of a body of 1 GB.
    return new Promise((resolve, reject) => {
      this.#giveUp = reject;
      next.then(resolve, reject);
    });
  }

  #endAfterSilence(silentMs: number): void {
    const { clock } = this.#options;
    const wait = (ms: number): void => {
      this.#silence = clock.timer(ms, () => {
        const leftMs = this.#heardAtMs + silentMs - clock.nowMs();
        if (leftMs > 0) return wait(leftMs);
        const text = `the proxy said nothing of its request for ${silentMs} ms`;
        this.#silent = new LongshoreError("deadline-exceeded", "transport", text);
        this.#giveUp(this.#silent);
      });
    };
    wait(silentMs);
  }

  /** Answers one message; false when the call has ended. */
  async #take(message: ProcessingRequest): Promise<boolean> {
    const { request } = message;
    this.#heardAtMs = this.#options.clock.nowMs();
    if (request.case === "requestHeaders") {
      const { headers, endOfStream } = request.value;
      return this.#begin(message, headersOf(headers), endOfStream);
    }
    if (this.#held) {
      if (request.case === "requestBody") return this.#hold(request.value);
      if (request.case === "requestTrailers" && !this.#held.buffered) {
        if (!(await this.#decideHeld(this.#held, true))) return false;
        await this.#send({ response: { case: "requestTrailers", value: {} } });
        return true;
      }
    }
    if (request.case === "responseHeaders" && !this.#begun) return this.#pass(message);
    const routed = this.#routed;
    if (!routed && !this.#passes) throw wrong("the first message of a call must be headers");
    switch (request.case) {
      case "responseHeaders": {
        if (this.#replied) throw wrong("the headers of a reply came twice");
        this.#replied = true;
        const sent = this.#call.send(plainReply);
        const headers = headersOf(request.value.headers);
        this.#reply = {
          headers,
          attributes: attributesOf(message),
          metadata: message.metadataContext?.filterMetadata ?? {},
          trailers: {},
        };
        const isWhole = routed?.wantsTrailers !== true || headers["grpc-status"] !== undefined;
        if (isWhole) this.#tellReply({});
        await sent;
        return !isWhole || !this.#headersOnly;
      }
      case "requestBody":
        for (const answer of this.#requestEcho?.answers(request.value) ?? []) await this.#send(answer);
        return true;
      case "responseBody":
        for (const answer of this.#responseEcho?.answers(request.value) ?? []) await this.#send(answer);
        return true;
      case "requestTrailers":
        await this.#send({ response: { case: request.case, value: {} } });
        return true;
      case "responseTrailers": {
        const sent = this.#send({ response: { case: request.case, value: {} } });
        this.#tellReply(headersOf(request.value.trailers));
        await sent;
        return !this.#headersOnly;
      }
      default:
        throw wrong("a message holds nothing that is known here");
    }
  }

  /** Lets the reply of a filter before this one pass, which refused the request (ext_authz): the proxy shows it to the filters after that one. */
  async #pass(message: ProcessingRequest): Promise<boolean> {
    this.#begun = true;
    this.#replied = true;
    this.#passes = true;
    this.#setModes(message);
    await this.#call.send(plainReply);
    return !this.#headersOnly;
  }

  /** Tells the reply once, if there is one. */
  #tellReply(trailers: Headers): void {
    const reply = this.#reply;
    this.#reply = undefined;
    if (reply) this.#routed?.replied({ ...reply, trailers });
  }

  async #begin(message: ProcessingRequest, headers: Headers, isWhole: boolean): Promise<boolean> {
    if (this.#begun) throw wrong("the headers of a request came twice");
    this.#begun = true;
    const { processor } = this.#options;
    const { call, peer } = this.#call;
    const metadata = message.metadataContext?.filterMetadata ?? {};
    const requestBodyMode = this.#setModes(message);
    const isLogged = this.#headersOnly && this.#call.headers[repliesHeader] === "logged";
    const decided = processor.process({ headers, metadata, peer, isLogged }, call);
    const processing = decided instanceof Promise ? await decided : decided;
    if (processing.kind !== "undecided") return this.#answerHeaders(processing);
    const buffered = requestBodyMode === BodyMode.BUFFERED || requestBodyMode === BodyMode.BUFFERED_PARTIAL;
    const held: Held = { undecided: processing, pieces: [], byteLength: 0, buffered };
    const isDuplex = requestBodyMode === BodyMode.FULL_DUPLEX_STREAMED;
    if (isWhole || (!buffered && !isDuplex)) return this.#decideHeld(held, true);
    this.#held = held;
    if (buffered) await this.#call.send(plainRequest);
    return true;
  }

  /** Keeps what the proxy says it sends; returns the mode of the request's body. */
  #setModes({ protocolConfig }: ProcessingRequest): number | undefined {
    const { requestBodyMode, responseBodyMode } = protocolConfig ?? {};
    const isDuplex = (mode: number | undefined): boolean => mode === BodyMode.FULL_DUPLEX_STREAMED;
    this.#requestEcho = new Echo("requestBody", isDuplex(requestBodyMode));
    this.#responseEcho = new Echo("responseBody", isDuplex(responseBodyMode));
    this.#headersOnly = requestBodyMode === BodyMode.NONE && responseBodyMode === BodyMode.NONE;
    this.#mayOverride = !this.#headersOnly && !isDuplex(requestBodyMode) && !isDuplex(responseBodyMode);
    return requestBodyMode;
  }

  /** Keeps a piece of the body; decides if that is enough. False when the call has ended. */
  async #hold(body: HttpBody): Promise<boolean> {
    const held = this.#held;
    if (!held) return true;
    held.pieces.push(body);
    held.byteLength += body.body.byteLength;
    const isWhole = held.buffered || body.endOfStream || held.byteLength >= held.undecided.mostBytes;
    return this.#decideHeld(held, isWhole);
  }

  async #decideHeld(held: Held, whole: boolean): Promise<boolean> {
    const decision = held.undecided.decide(joined(held.pieces, held.byteLength), whole);
    if (decision === undefined && !whole) return true;
    if (decision === undefined) throw new LongshoreError("internal", "admission", "no decision was made");
    const decided = await decision;
    const [piece] = held.pieces;
    this.#held = undefined;
    if (held.buffered && piece && decided.kind === "routed") {
      this.#routed = decided;
      await this.#send({
        response: {
          case: "requestBody",
          value: { response: { headerMutation: mutationOf(decided.headers) } },
        },
        dynamicMetadata: decided.metadata,
      });
      return true;
    }
    if (!(await this.#answerHeaders(decided))) return false;
    for (const one of held.pieces)
      for (const answer of this.#requestEcho?.answers(one) ?? []) await this.#send(answer);
    return true;
  }

  async #answerHeaders(processing: Decided): Promise<boolean> {
    if (processing.kind === "answered") {
      const { status, headers: given, body, details, grpcStatus } = processing;
      await this.#send({
        response: {
          case: "immediateResponse",
          value: {
            status: { code: status },
            headers: mutationOf(given),
            body,
            details,
            ...(grpcStatus === undefined ? {} : { grpcStatus: { status: grpcStatus } }),
          },
        },
      });
      return false;
    }
    this.#routed = processing;
    const modeOverride = processing.wantsTrailers === true ? headersAndTrailers : headersOnly;
    await this.#send({
      response: {
        case: "requestHeaders",
        value: { response: { headerMutation: mutationOf(processing.headers) } },
      },
      dynamicMetadata: processing.metadata,
      ...(this.#mayOverride ? { modeOverride } : {}),
    });
    return true;
  }

  #send(init: ResponseInit): Promise<void> {
    return this.#call.send(toBinary(ProcessingResponseSchema, create(ProcessingResponseSchema, init)));
  }
}

/**
 * Envoy's external processing (`ext_proc` v3) for services that decide by headers: endpoint pickers. Bodies are never
 * requested, and echoed if a proxy sends them. Messages that come out of order, or that are none, end the call with
 * INVALID_ARGUMENT.
 */
export function externalProcessor(options: ProcessorOptions): GrpcService {
  return {
    name: serviceName,
    methods: { Process: (call) => new Exchange(call, options).run() },
  };
}
