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
 * `mode_override` asks for that. A proxy that does not allow overrides sends bodies nevertheless. They go back as they came, one piece at a time, so that the memory of a call
 * is that of one message. In full duplex every byte has to be sent back; in the other modes an empty answer leaves the body as
 * it is.
 *
 * The proxy holds a request or a reply back until its message is answered. So a reply's headers are answered before anything is
 * learned from them, and where nothing can follow them the call ends with that answer.
 */

type Headers = Readonly<Record<string, string>>;

/** A request as a proxy reports it before its body. */
export interface ProcessedRequest {
  /** By lower-case name; names that begin with a colon are HTTP/2 pseudo-headers. Repeated headers are joined by commas. */
  readonly headers: Headers;
  /** Metadata of the proxy's filters, by their namespaces. */
  readonly metadata: Readonly<Record<string, JsonObject>>;
  readonly peer: Peer;
}

/** A reply as a proxy reports it before its body. */
export interface ProcessedReply {
  readonly headers: Headers;
  /** Attributes that the proxy was configured to tell, such as `upstream.address`. */
  readonly attributes: Headers;
  readonly metadata: Readonly<Record<string, JsonObject>>;
}

/** The decision about a request: the proxy answers it itself, or sends it on. */
export type Processing =
  | {
      /** The proxy answers it itself. */
      readonly kind: "answered";
      readonly status: number;
      readonly headers: Headers;
      readonly body: Uint8Array;
      /** One word for the proxy's log. */
      readonly details: string;
    }
  | {
      readonly kind: "routed";
      /** Headers that the request gets. */
      readonly headers: Headers;
      /** Metadata that the proxy's other filters and its load balancer see, by namespace. */
      readonly metadata: JsonObject;
      /** The reply's headers have come, and have been answered. Called once at most. */
      replied(reply: ProcessedReply): void;
      /** The call has ended, with or without a reply. `broke` if the proxy or its client broke it off. Called once. */
      ended(broke: boolean): void;
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

/** One call, that is: one request of a client of the proxy. */
class Exchange {
  readonly #call: MethodCall;
  readonly #options: ProcessorOptions;
  #routed: (Processing & { kind: "routed" }) | undefined;
  #replied = false;
  /** The proxy sends headers only: nothing follows the headers of the reply. */
  #headersOnly = false;
  #heardAtMs = 0;
  /** Rejects when the proxy was silent for too long; one timer for all messages. */
  #silent: Promise<never> | undefined;
  #silence: Disposable | undefined;
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
      this.#routed?.ended(broke);
    }
  }

  /** The next message; throws when there is none for too long. The first one comes with the call. */
  #next(): Promise<Uint8Array | undefined> {
    const next = this.#call.next();
    if (!this.#routed) return next;
    this.#silent ??= this.#afterSilence();
    return Promise.race([next, this.#silent]);
  }

  #afterSilence(): Promise<never> {
    const { clock, silentMs = 900_000 } = this.#options;
    return new Promise((_resolve, reject) => {
      const wait = (ms: number): void => {
        this.#silence = clock.timer(ms, () => {
          const leftMs = this.#heardAtMs + silentMs - clock.nowMs();
          if (leftMs > 0) return wait(leftMs);
          const text = `the proxy said nothing of its request for ${silentMs} ms`;
          reject(new LongshoreError("deadline-exceeded", "transport", text));
        });
      };
      wait(silentMs);
    });
  }

  /** Answers one message; false when the call has ended. */
  async #take(message: ProcessingRequest): Promise<boolean> {
    const { request } = message;
    this.#heardAtMs = this.#options.clock.nowMs();
    if (request.case === "requestHeaders") return this.#begin(message, headersOf(request.value.headers));
    if (!this.#routed) throw wrong("the first message of a call must be the headers of its request");
    switch (request.case) {
      case "responseHeaders": {
        if (this.#replied) throw wrong("the headers of a reply came twice");
        this.#replied = true;
        const routed = this.#routed;
        const sent = this.#call.send(plainReply);
        routed.replied({
          headers: headersOf(request.value.headers),
          attributes: attributesOf(message),
          metadata: message.metadataContext?.filterMetadata ?? {},
        });
        await sent;
        return !this.#headersOnly;
      }
      case "requestBody":
        for (const answer of this.#requestEcho?.answers(request.value) ?? []) await this.#send(answer);
        return true;
      case "responseBody":
        for (const answer of this.#responseEcho?.answers(request.value) ?? []) await this.#send(answer);
        return true;
      case "requestTrailers":
      case "responseTrailers":
        await this.#send({ response: { case: request.case, value: {} } });
        return true;
      default:
        throw wrong("a message holds nothing that is known here");
    }
  }

  async #begin(message: ProcessingRequest, headers: Headers): Promise<boolean> {
    if (this.#routed) throw wrong("the headers of a request came twice");
    const { processor } = this.#options;
    const { call, peer } = this.#call;
    const metadata = message.metadataContext?.filterMetadata ?? {};
    const decided = processor.process({ headers, metadata, peer }, call);
    const processing = decided instanceof Promise ? await decided : decided;
    if (processing.kind === "answered") {
      const { status, headers: given, body, details } = processing;
      await this.#send({
        response: {
          case: "immediateResponse",
          value: { status: { code: status }, headers: mutationOf(given), body, details },
        },
      });
      return false;
    }
    this.#routed = processing;
    const { protocolConfig } = message;
    const { requestBodyMode, responseBodyMode } = protocolConfig ?? {};
    const isDuplex = (mode: number | undefined): boolean => mode === BodyMode.FULL_DUPLEX_STREAMED;
    this.#requestEcho = new Echo("requestBody", isDuplex(requestBodyMode));
    this.#responseEcho = new Echo("responseBody", isDuplex(responseBodyMode));
    this.#headersOnly = requestBodyMode === BodyMode.NONE && responseBodyMode === BodyMode.NONE;
    await this.#send({
      response: {
        case: "requestHeaders",
        value: { response: { headerMutation: mutationOf(processing.headers) } },
      },
      dynamicMetadata: processing.metadata,
      ...(this.#headersOnly ? {} : { modeOverride: headersOnly }),
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
