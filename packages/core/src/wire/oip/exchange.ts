import {
  abortError,
  type Call,
  type EndingCall,
  LongshoreError,
  untilDeadline,
  whenAborted,
  type Writable,
} from "../../words/base/index.ts";
import { tinyBytes, type TransferNote } from "../transport/index.ts";
import {
  type BodyCheck,
  bodyCheck,
  defaultWireLimits,
  headerLengthOf,
  orcaFormatHeader,
  tookHeader,
} from "../protocol/index.ts";
import type { Progress, WireForm } from "../endpoint/index.ts";
import {
  bodyLength,
  isUnderWay,
  readBody,
  readParts,
  type StreamBody,
  watched,
  watchedChunks,
} from "../body/index.ts";
import type { WireRequest, WireResponse } from "../transport/index.ts";
import type { OipEndpointParts } from "./parts.ts";
import { type OwnRequest, Upload } from "./upload.ts";

/** A whole exchange with a server. Times in milliseconds. */
export interface Exchange {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** The body, or what of it is here when `rest` is still arriving. */
  readonly bytes: Uint8Array;
  readonly rest?: AsyncIterable<Uint8Array>;
  /** Where there is a rest: ends the exchange without it. */
  leave?(): void;
  /** Where there is a rest: resolves when nothing of it is on its way any more. Never rejects. */
  readonly over?: Promise<void>;
  /** Bytes of the body, all in all. */
  readonly receivedBytes: number;
  readonly sentBytes: number;
  /** Nothing looks at the body that was sent any more. */
  readonly written?: true;
  /** From handing over the request until the reply was here. */
  readonly tookMs: number;
  /** The part of it that the server says it took for itself; undefined when it says nothing. */
  readonly serverMs: number | undefined;
}

/** Reads what a server says of its own time: a number that fits into the time that passed here. */
function serverTime(headers: Readonly<Record<string, string>>, tookMs: number): number | undefined {
  const value = headers[tookHeader];
  if (value === undefined || !/^[0-9]{1,12}(\.[0-9]{1,9})?$/.test(value)) return undefined;
  return Math.min(Number(value), tookMs);
}

/** The body of a reply; at once where it is here, and so short that it tells nothing of the link. */
function receive(parts: OipEndpointParts, response: WireResponse): Uint8Array | Promise<Uint8Array> {
  const { body, headers } = response;
  if (body.kind !== "parts" || (bodyLength(body) ?? 0) >= tinyBytes) return receiveAll(parts, response);
  const { maxBodyBytes: maxBytes } = parts.limits ?? defaultWireLimits;
  try {
    return readParts(body, { maxBytes, headerLength: headerLengthOf(headers) ?? 0 });
  } catch (thrown) {
    throw badReply(parts.info.id, thrown);
  }
}

async function receiveAll(parts: OipEndpointParts, response: WireResponse): Promise<Uint8Array> {
  const { clock, link } = parts;
  const limits = parts.limits ?? defaultWireLimits;
  const length = bodyLength(response.body);
  const note =
    length !== undefined && length >= tinyBytes
      ? link?.sendStarted(length, "down", clock.nowMs())
      : undefined;
  try {
    const bytes = await readBody(response.body, {
      maxBytes: limits.maxBodyBytes,
      headerLength: headerLengthOf(response.headers) ?? 0,
      arrived: (total) => note?.progressed(total, clock.nowMs()),
    });
    note?.ended(clock.nowMs(), true);
    return bytes;
  } catch (thrown) {
    note?.ended(clock.nowMs(), false);
    throw badReply(parts.info.id, thrown);
  }
}

/** Longer replies are worth passing on before all of them is here. */
const longBytes = 262_144;
/** The JSON of a reply that is passed on has at most this many bytes. */
const maxHeadBytes = 65_536;

/** The beginning of a reply that is read on later: all of its JSON, and what came with it. */
async function beginning(
  parts: OipEndpointParts,
  body: AsyncIterable<Uint8Array>,
  headBytes: number,
): Promise<{
  readonly bytes: Uint8Array;
  readonly rest: AsyncIterable<Uint8Array>;
  leave(): Promise<unknown>;
}> {
  const chunks = body[Symbol.asyncIterator]();
  const rest: AsyncIterable<Uint8Array> = { [Symbol.asyncIterator]: () => chunks };
  let bytes: Uint8Array = new Uint8Array(0);
  while (bytes.byteLength < headBytes) {
    const { done, value } = await chunks.next();
    if (done === true) throw badReply(parts.info.id, new Error("it ended within its JSON"));
    if (bytes.byteLength === 0) bytes = value;
    else {
      const joined = new Uint8Array(bytes.byteLength + value.byteLength);
      joined.set(bytes);
      joined.set(value, bytes.byteLength);
      bytes = joined;
    }
  }
  const leave = async (): Promise<unknown> => chunks.return?.().catch(() => undefined);
  return { bytes, rest, leave };
}

/**
 * The rest of a reply of `bytes` bytes in all, of which `cameBefore` have arrived. It reports each chunk to the belief about the link,
 * and calls `over` when reading ends. The last chunk of a reply that fails its check is withheld.
 */
function restOf(
  parts: OipEndpointParts,
  chunks: AsyncIterable<Uint8Array>,
  bytes: number,
  note: TransferNote | undefined,
  over: () => void,
  cameBefore: number,
  check: BodyCheck | undefined,
): AsyncIterable<Uint8Array> {
  let came = cameBefore;
  let complete = false;
  return watchedChunks(chunks, {
    chunk(chunk) {
      came += chunk.byteLength;
      note?.progressed(came, parts.clock.nowMs());
      check?.add(chunk);
      if (came === bytes) check?.finish();
    },
    complete() {
      complete = came === bytes;
      if (!complete) throw badReply(parts.info.id, new Error(`${came} bytes came of ${bytes}`));
    },
    over() {
      note?.ended(parts.clock.nowMs(), complete);
      over();
    },
  });
}

/** Waits for the end of a reply that is read later: `end` is called at its own end, or when its reader has gone. */
function untilOver({ abort }: Call, ended: () => void): { readonly over: Promise<void>; end(): void } {
  let end = ended;
  const over = new Promise<void>((resolve) => {
    const stopListening = whenAborted(abort, resolve);
    end = () => {
      stopListening();
      ended();
      resolve();
    };
    if (abort.aborted) end();
  });
  return { over, end };
}

/** Whether the connection was refused or closed before a reply began. */
function isBroken({ reason, stage }: LongshoreError): boolean {
  return stage === "transport" && (reason === "unreachable" || reason === "no-answer");
}

/** Any problem with a reply is the server's fault: its reason becomes `bad-reply`, unless the call itself ended. */
export function badReply(from: string, thrown: unknown): LongshoreError {
  const error = LongshoreError.from(thrown, "transport", "reading the reply");
  const ours = [
    "cancelled",
    "deadline-exceeded",
    "no-answer",
    "unreachable",
    "bad-reply",
    "checksum-mismatch",
  ];
  if (ours.includes(error.reason)) return error;
  const message = `${from} sent a reply that makes no sense: ${error.message}`;
  return new LongshoreError("bad-reply", error.stage, message, { cause: error });
}

/** The call, ended at its deadline while it waits for the server. Undefined where it has no deadline. */
export function withinDeadline({ clock, info }: OipEndpointParts, call: Call): EndingCall | undefined {
  return untilDeadline(call, clock, () => {
    const message = `the deadline passed while waiting for ${info.id}`;
    return new LongshoreError("deadline-exceeded", "transport", message);
  });
}

/** A reply whose body is still to be read. */
interface Reply {
  readonly response: WireResponse;
  /** When its head was here. */
  readonly headMs: number;
  /** The time that the server says it took. */
  readonly serverMs: number | undefined;
  readonly check: BodyCheck | undefined;
}

/** A reply that has begun: what its head says of the way there, and how to check its body. */
function begunReply(
  { clock, info, crc32 }: OipEndpointParts,
  upload: Upload,
  response: WireResponse,
  usualMs: number,
): Reply {
  const { status, headers } = response;
  const headMs = clock.nowMs();
  const tookMs = headMs - upload.startedMs;
  const serverMs = serverTime(headers, tookMs);
  // A server that answers early has not read the rest: only a good answer says that all of the body arrived.
  if (status === 200) upload.arrived(headMs, serverMs ?? Math.min(usualMs, tookMs));
  const check = crc32 && bodyCheck(headers, `the reply of ${info.id}`, crc32);
  return { response, headMs, serverMs, check };
}

/** The request as it is sent. */
function sentRequest(
  { clock, info, headers }: OipEndpointParts,
  request: OwnRequest,
  upload: Upload,
  waits: boolean,
): WireRequest {
  if (!info.offers) request.headers[orcaFormatHeader] = "json";
  Object.assign(request.headers, headers);
  if (!waits || request.body.kind !== "stream") return request;
  const chunk = (): void => void (upload.startedMs = clock.nowMs());
  return { ...request, body: watched(request.body, { chunk }) };
}

/** A reply whose bytes are all here. */
function wholeExchange(
  { clock, link }: OipEndpointParts,
  upload: Upload,
  { response: { status, headers, written }, headMs, serverMs, check }: Reply,
  bytes: Uint8Array,
): Exchange {
  check?.add(bytes);
  check?.finish();
  // A long reply begins as soon as a short one.
  if (serverMs !== undefined && !upload.probes && upload.bytes < tinyBytes) {
    link?.roundTripSeen(headMs - upload.startedMs - serverMs, headMs, serverMs);
  }
  const exchanged: Writable<Exchange> = {
    status,
    headers,
    bytes,
    receivedBytes: bytes.byteLength,
    sentBytes: upload.bytes,
    tookMs: clock.nowMs() - upload.startedMs,
    serverMs,
  };
  if (written) exchanged.written = true;
  return exchanged;
}

/** The body of a reply that its reader takes while it arrives, if that is worth it. */
function passedOn(
  form: WireForm | undefined,
  { status, headers, body }: WireResponse,
): StreamBody | undefined {
  if (!form?.takesArriving || status !== 200 || body.kind !== "stream") return undefined;
  const headBytes = headerLengthOf(headers) ?? 0;
  const isLong = (body.byteLength ?? 0) > longBytes && headBytes > 0 && headBytes <= maxHeadBytes;
  return isLong ? body : undefined;
}

/** The beginning of a long reply, whose rest is read later. `ended` is called when nothing of it is on its way any more. */
async function begunExchange(
  parts: OipEndpointParts,
  call: Call,
  upload: Upload,
  { response: { status, headers }, headMs, serverMs, check }: Reply,
  body: StreamBody,
  ended: () => void,
): Promise<Exchange> {
  const length = body.byteLength ?? 0;
  const note = parts.link?.sendStarted(length, "down", headMs);
  const begun = await beginning(parts, body.read(), headerLengthOf(headers) ?? 0);
  check?.add(begun.bytes);
  if (begun.bytes.byteLength === length) check?.finish();
  const going = untilOver(call, ended);
  return {
    status,
    headers,
    bytes: begun.bytes,
    rest: restOf(parts, begun.rest, length, note, going.end, begun.bytes.byteLength, check),
    leave() {
      void begun.leave();
      going.end();
    },
    over: going.over,
    receivedBytes: length,
    sentBytes: upload.bytes,
    tookMs: parts.clock.nowMs() - upload.startedMs,
    serverMs,
  };
}

/**
 * Sends a request and reads the whole reply, within the call's deadline. Tells the link what was seen on the way, and
 * the caller which bytes the server has. Rejects with `unreachable`, `no-answer`, `bad-reply`, `deadline-exceeded` or
 * the call's own error; any HTTP status is a result.
 *
 * @param form What the body is taken from. While it is still on its way here, nothing is learned from its pace, and time counts
 *   from its last bytes. Where its sender takes it, the rest of a long reply is given while it is still arriving: to be read,
 *   or left.
 * @param usualMs What such a request usually takes the server itself, for those that do not say what it took: the rest is the
 *   way's.
 */
export async function exchange(
  parts: OipEndpointParts,
  request: OwnRequest,
  call: Call,
  progress?: Progress,
  form?: WireForm,
  usualMs = 0,
): Promise<Exchange> {
  const waits = form !== undefined && isUnderWay(form.body);
  const upload = new Upload(parts, request, call, progress, waits);
  const until = withinDeadline(parts, call);
  const own = until?.call ?? call;
  let begun = false;
  try {
    const sent = sentRequest(parts, request, upload, waits);
    const response = await parts.transport.send(sent, own, upload.acknowledged);
    const reply = begunReply(parts, upload, response, usualMs);
    const long = passedOn(form, response);
    if (long) {
      const exchanged = await begunExchange(parts, own, upload, reply, long, () => until?.[Symbol.dispose]());
      begun = true;
      return exchanged;
    }
    const received = receive(parts, response);
    const bytes = received instanceof Promise ? await received : received;
    return wholeExchange(parts, upload, reply, bytes);
  } catch (thrown) {
    if (own.abort.aborted) throw abortError(own.abort, "transport");
    const error = LongshoreError.from(thrown, "transport", `asking ${parts.info.id}`);
    if (isBroken(error)) upload.broke();
    throw error;
  } finally {
    upload.over();
    if (!begun) until?.[Symbol.dispose]();
  }
}
