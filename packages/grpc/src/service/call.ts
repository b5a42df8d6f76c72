import {
  type Call,
  type Clock,
  emptyBody,
  type Handler,
  LongshoreError,
  type Observer,
  type Peer,
  type Random,
  type Surface,
  type WireLimits,
  type WireRequest,
  type WireResponse,
} from "@longshore/core";
import { failureEvent, internalErrorText, withoutAddresses, type Writable } from "@longshore/core/internal";
import type { Parts } from "../message/index.ts";
import type { Method } from "./methods.ts";
import { errorOf } from "./status.ts";

/** A message that is looked at while it arrives. */
export interface ArrivingFrame {
  /** Its first bytes once more, at least this many of them if it has as many. */
  more(bytes: number): Promise<Uint8Array>;
  /**
   * All of it as it comes, in chunks with memory of their own that are given away, instead of `read`; its sender is held back
   * to the pace of the reader.
   */
  chunks(): AsyncIterable<Uint8Array>;
}

/** One message of a call, which may still be arriving. The next one comes only when this one was read or skipped. */
export interface Frame {
  /** Bytes of the whole message, as far as known: inflated if it is compressed. */
  readonly byteLength: number;
  /** The first bytes of it; all of a short message. */
  readonly head: Uint8Array;
  /**
   * All of it, in a buffer of its own. Can be called once.
   *
   * @param alignAt A position in the message that shall lie at a multiple of 8 in memory.
   * @param memory See `IncomingMessage.read`.
   */
  read(alignAt?: number, memory?: (byteLength: number) => ArrayBuffer): Promise<Uint8Array>;
  /** How to look at it while it arrives. Absent where it is one piece, because it is compressed. */
  readonly arriving?: ArrivingFrame;
  /** Drops it, or what is left of its `chunks`. Does nothing after `read`. */
  skip(): void;
}

/** A call as the listener hands it to the service, without HTTP/2. */
export interface ServerCall {
  /** `/package.Service/Method`. */
  readonly path: string;
  /** Metadata with lower-case names, `host` among them. */
  readonly headers: Readonly<Record<string, string>>;
  readonly peer: Peer;
  /** The surfaces of the listener; undefined for all. */
  readonly surfaces?: readonly Surface[];
  /** Has id, abort and deadline. */
  readonly call: Call;
  /** Fires when the server begins to drain. */
  readonly draining: AbortSignal;
  /** The next message; undefined when the client has sent its last. */
  next(): Promise<Frame | undefined>;
  /** Sends a message; resolves when another may follow. `metadata` is sent before the first. */
  send(message: Parts, metadata?: Readonly<Record<string, string>>): Promise<void>;
}

/** The sender of a request and its headers. */
export type CallContext = Pick<ServerCall, "call" | "headers" | "path" | "peer" | "surfaces">;

/** The parts of the service. */
export interface ServiceParts {
  readonly handler: Handler;
  readonly clock: Clock;
  readonly observer: Observer;
  /** For the ids of calls inside streams. */
  readonly random: Random;
  readonly limits: WireLimits;
  /** Frees memory of its own that is not read any more. */
  readonly release: (bytes: Uint8Array) => void;
  /** Requests of one stream that are worked on at one time. */
  readonly maxStreamInFlight: number;
  /** Interval at which watchers of health are told of changes, in milliseconds. */
  readonly watchIntervalMs: number;
  /** Methods of other services, by `/package.Service/Method`. */
  readonly methods?: ReadonlyMap<string, Method>;
  /** Names for health checks besides those of inference, each with the path over HTTP that answers. */
  readonly healthNames?: ReadonlyMap<string, string>;
}

/** Asks the handler on behalf of a call. */
export function ask(
  { handler }: ServiceParts,
  served: CallContext,
  request: Pick<WireRequest, "method" | "path" | "body" | "message">,
  call: Call = served.call,
): Promise<WireResponse> {
  const { method, path, body, message } = request;
  const { headers, peer, surfaces } = served;
  // Assigned one by one, as in `ownCall`.
  const asked: Writable<WireRequest> = {
    method,
    path,
    headers,
    body,
    peer,
    rpc: served.path.slice(1),
  };
  if (message) asked.message = message;
  if (surfaces) asked.surfaces = surfaces;
  return handler(asked, call);
}

/**
 * The status of a call that threw. An error without a reason of ours may hold paths or tensors: it goes to the log, where the
 * operator finds it by the call's id. The handler has recorded its own failures, under the same id.
 */
export function failureOf(
  { observer, clock }: ServiceParts,
  thrown: unknown,
  { id }: Call,
  attempted: string,
): LongshoreError {
  const error = LongshoreError.from(thrown, "execute", attempted);
  const { stage, reason, message } = error;
  const logged = internalErrorText(id);
  const open = withoutAddresses(message);
  if (reason !== "internal" && open !== message) {
    const { retryAfterMs } = error;
    return new LongshoreError(reason, stage, open, retryAfterMs === undefined ? {} : { retryAfterMs });
  }
  if (reason !== "internal" || message === logged) return error;
  observer.record(failureEvent(error, { id }, clock.nowMs()));
  return new LongshoreError(reason, stage, logged);
}

/** Refuses a call, before anything of it is looked at, whose sender may nothing here at all. */
export async function demandSomebody(parts: ServiceParts, served: ServerCall): Promise<void> {
  const response = await ask(parts, served, { method: "GET", path: "/v2", body: emptyBody });
  if (response.status !== 200) throw await errorOf(response);
}
