import { type ClientHttp2Stream, constants, type IncomingHttpHeaders } from "node:http2";
import type { ConnectionOptions } from "node:tls";
import {
  type Call,
  type Clock,
  type Credentials,
  defaultWireLimits,
  emptyBody,
  LongshoreError,
  readBody,
  type Transport,
  type WireLimits,
  type WireRequest,
  type WireResponse,
} from "@longshore/core";
import {
  abortError,
  checkCredentialTarget,
  credentialHeaders,
  inSteps,
  type InferReplyMessage,
  parseRoute,
  readWireError,
  turnWhileWanted,
  whenAborted,
} from "@longshore/core/internal";
import { createBufferedBytes, createPatience, prefixOf } from "../frame/index.ts";
import { encodeInferRequest, streamReplyWork } from "../message/index.ts";
import { replyOf, headersOfTrailers } from "../service/index.ts";
import { connectionTo, grpcUnreachable } from "./connection.ts";
import { nodeFrames } from "./node-frames.ts";

/** Where a transport leads, and what it tolerates on the way. */
export interface GrpcTransportOptions {
  /** `http://host:port` (HTTP/2 without TLS, as gRPC has it) or `https://host:port`. */
  readonly address: string;
  readonly clock: Clock;
  /** Time for a connection to come about, in milliseconds. Default 5,000. */
  readonly connectTimeoutMs?: number;
  /** Time in which no answer comes although one is waited for, in milliseconds. Default 60,000; a long run is silent too. */
  readonly idleTimeoutMs?: number;
  /** `maxBodyBytes` is the limit of one answer. */
  readonly limits?: WireLimits;
  /** Shown to this server with every request, and to no other. */
  readonly credentials?: Credentials;
  /** For `https`: authorities, client certificate, server name. */
  readonly tls?: Pick<ConnectionOptions, "ca" | "cert" | "key" | "servername" | "rejectUnauthorized">;
}

const method = "/inference.GRPCInferenceService/ModelStreamInfer";

/** Errors that end a call without a fault of this side. */
const kept: readonly string[] = ["cancelled", "no-answer", "unreachable", "bad-reply"];

/** `grpc-timeout`: at most eight digits. */
function timeoutText(leftMs: number): string {
  const ms = Math.max(1, Math.ceil(leftMs));
  return ms < 1e8 ? `${ms}m` : `${Math.min(99_999_999, Math.ceil(ms / 1000))}S`;
}

function unescaped(text: unknown): string {
  if (typeof text !== "string") return "";
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** How a call ended: the trailers, or the headers where there was no answer. */
type Ending = Readonly<Record<string, unknown>>;

/** Sends the message; the tensors of it are lent until then. */
function put(stream: ClientHttp2Stream, message: ReturnType<typeof encodeInferRequest>): void {
  stream.cork();
  stream.write(prefixOf(message.byteLength, false));
  for (const part of message.parts) stream.write(part);
  // One request, after whose answers the server ends the stream: so nothing has to mark the last of them.
  stream.end();
  stream.uncork();
}

/**
 * A transport for requests that may be answered any number of times, to a server that speaks the Open Inference Protocol over
 * gRPC: each goes out as the one request of a `ModelStreamInfer`, and its answers come as `messages`, the next of which is
 * taken off the wire when the one before was. Other requests are refused. One connection serves all calls. It never retries:
 * fails with `unreachable` (the server has most likely not seen the request), `no-answer`, `bad-reply` or the call's own error;
 * the server's error for an answer that failed is thrown under its own reason.
 */
export function grpcTransport(options: GrpcTransportOptions): Transport {
  const { clock, credentials, tls, connectTimeoutMs = 5000, idleTimeoutMs = 60_000 } = options;
  const { limits = defaultWireLimits } = options;
  const url = URL.canParse(options.address) ? new URL(options.address) : undefined;
  if (!url || !/^https?:$/.test(url.protocol) || !/^\/?$/.test(url.pathname)) {
    throw new LongshoreError(
      "invalid-configuration",
      "resolve",
      "gRPC is spoken at an address such as http://host:8001, without a path",
    );
  }
  checkCredentialTarget(url, credentials);
  const connection = connectionTo({ url, clock, connectTimeoutMs, ...(tls ? { tls } : {}) });
  const arrival = createPatience(clock, idleTimeoutMs);

  const begin = async (request: WireRequest, call: Call) => {
    const { route } = parseRoute(request.method, request.path);
    const { message } = request;
    if (!message?.stream || route.kind !== "infer" || route.from !== undefined) {
      throw new LongshoreError("internal", "transport", "only whole models are asked for several answers");
    }
    const shown = await credentialHeaders(credentials);
    const session = await connection.open(call.abort);
    const { model, version = "" } = route;
    const encoded = encodeInferRequest({ model, version, message: await message.read() });
    if (call.abort.aborted) throw abortError(call.abort, "transport");
    const leftMs = call.deadlineMs - clock.nowMs();
    try {
      const stream = session.request({
        ":method": "POST",
        ":path": method,
        "content-type": "application/grpc",
        te: "trailers",
        // Without `triton_grpc_error`, which would tell the kind of an error: Triton 2.51 then loses answers that it has not written yet,
        // and crashes where a model says that its answers are over after one that failed.
        ...(leftMs === Infinity ? {} : { "grpc-timeout": timeoutText(leftMs) }),
        ...request.headers,
        ...shown,
      });
      stream.on("error", () => undefined);
      put(stream, encoded);
      connection.moved();
      return { session, stream };
    } catch (thrown) {
      throw grpcUnreachable(url, "the connection was closed", thrown);
    }
  };

  return {
    progress: "none",
    connecting: () => connection.connecting(),
    async send(request, call) {
      const { session, stream } = await begin(request, call);
      let ending: Ending = {};
      let wrong: string | undefined;
      const listen = (headers: IncomingHttpHeaders): void => {
        if ("grpc-status" in headers) ending = headers;
        // Trailers have no status of their own.
        const status = Number(headers[":status"] ?? 200);
        if (status !== 200) wrong = `HTTP status ${status}`;
      };
      stream.on("response", listen).on("trailers", listen);
      const broken = (): LongshoreError =>
        stream.rstCode === constants.NGHTTP2_REFUSED_STREAM
          ? grpcUnreachable(url, "the server takes no more calls on it")
          : new LongshoreError("no-answer", "transport", `${url.host} did not answer: the call was cut off`);
      const frames = nodeFrames(stream, {
        maxBytes: limits.maxBodyBytes,
        encoding: "identity",
        arrival,
        patient: false,
        held: createBufferedBytes(Infinity),
        closed: broken,
      });
      const left = (): void => {
        stream.close(constants.NGHTTP2_CANCEL);
        if (!stream.readableEnded) connection.doubt(session);
      };
      const stopListening = whenAborted(call.abort, left);
      const over = (): void => {
        stopListening();
        frames[Symbol.dispose]();
        if (!stream.closed) left();
      };

      /** The next answer; the server's error instead; or undefined after the last one. */
      const next = async (): Promise<InferReplyMessage | WireResponse | undefined> => {
        try {
          for (;;) {
            const frame = await frames.next();
            if (!frame) break;
            connection.moved();
            const work = streamReplyWork(await frame.read(), limits);
            const { error, reply } = await inSteps(work, () =>
              turnWhileWanted(clock, call.abort, "transport"),
            );
            if (error !== "") return replyOf(2, error);
            // A reply without outputs only marks the end.
            if (reply && reply.outputs.length > 0) return reply;
          }
        } catch (thrown) {
          if (call.abort.aborted) throw abortError(call.abort, "transport");
          const error = LongshoreError.from(thrown, "transport", `asking ${url.host}`);
          if (kept.includes(error.reason)) throw error;
          if (error.reason === "deadline-exceeded") {
            const why = `${url.host} did not answer: nothing came for ${idleTimeoutMs} ms`;
            throw new LongshoreError("no-answer", "transport", why, { cause: error });
          }
          const why = `${url.host} sent a reply that makes no sense: ${error.message}`;
          throw new LongshoreError("bad-reply", "transport", why, { cause: error });
        }
        // A call that is closed here ends as one that the server has ended.
        if (call.abort.aborted) throw abortError(call.abort, "transport");
        if (wrong !== undefined) {
          throw new LongshoreError("bad-reply", "transport", `${url.host} does not speak gRPC: ${wrong}`);
        }
        const code = Number(ending["grpc-status"] ?? NaN);
        if (Number.isNaN(code)) throw broken();
        return code === 0 ? undefined : replyOf(code, unescaped(ending["grpc-message"]), ending);
      };

      async function* answers(first: InferReplyMessage | undefined): AsyncIterable<InferReplyMessage> {
        try {
          for (let one: InferReplyMessage | WireResponse | undefined = first; one; one = await next()) {
            if ("status" in one) {
              const bytes = await readBody(one.body, { maxBytes: limits.maxBodyBytes });
              throw readWireError(one.status, one.headers, bytes, url?.host ?? "");
            }
            yield one;
          }
        } finally {
          over();
        }
      }

      let goesOn = false;
      try {
        const first = await next();
        if (first && "status" in first) return first;
        goesOn = true;
        const trailers = (): Readonly<Record<string, string>> => headersOfTrailers(ending);
        return { status: 200, headers: {}, body: emptyBody, messages: answers(first), trailers };
      } finally {
        if (!goesOn) over();
      }
    },
    async close() {
      connection.close();
    },
  };
}
