import {
  abortError,
  type Call,
  type EndingCall,
  LongshoreError,
  untilDeadline,
  whenAborted,
} from "../../words/base/index.ts";
import {
  acknowledgeStep,
  type LinkLearner,
  probeHeadBytes,
  probeStep,
  tinyBytes,
  type TransferNote,
} from "../transport/index.ts";
import {
  acknowledgeHeader,
  type BodyCheck,
  bodyCheck,
  defaultWireLimits,
  headerLengthOf,
  orcaFormatHeader,
  probePath,
  tookHeader,
} from "../protocol/index.ts";
import type { Progress, WireForm } from "../endpoint/index.ts";
import { bodyLength, isUnderWay, readBody, readParts, watched, watchedChunks } from "../body/index.ts";
import type { WireRequest, WireResponse } from "../transport/index.ts";
import type { OipEndpointParts } from "./parts.ts";

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

/** Follows the upload of one body for the caller and for the belief about the link. */
function upload(
  parts: Pick<OipEndpointParts, "clock" | "observer" | "info"> & { readonly link?: LinkLearner | undefined },
  call: Call,
  bytes: number,
  acknowledges: boolean,
  /** For a train that only measures the link: the bytes before the body. Else 0, since they are unknown. */
  headBytes: number,
  progress: Progress | undefined,
): {
  acknowledged(total: number): void;
  arrived(nowMs: number, serverMs: number): void;
  failed(): void;
  broke(): void;
} {
  const { clock, link, observer, info } = parts;
  let note: TransferNote | undefined =
    bytes >= tinyBytes || headBytes > 0
      ? link?.sendStarted(headBytes + bytes, "up", clock.nowMs(), acknowledges ? "acknowledged" : "none")
      : undefined;
  if (note && acknowledges) progress?.onItsWay?.(note);
  let most = 0;
  const seen = (total: number, nowMs: number): void => {
    // Acknowledgements come from outside: they only ever grow, and never beyond what was sent.
    if (!(total > most && total <= bytes)) return;
    most = total;
    // Without acknowledgements this moment is the reply's, and `ended` tells what of it was the server's work.
    if (acknowledges) note?.progressed(headBytes + total, nowMs);
    progress?.acknowledged(total);
    observer.record({
      kind: "bytes-acknowledged",
      atMs: nowMs,
      callId: call.id,
      endpoint: info.id,
      bytes: total,
    });
  };
  const end = (nowMs: number, complete: boolean, otherMs: number): void => {
    note?.ended(nowMs, complete, otherMs);
    note = undefined;
  };
  return {
    acknowledged(total) {
      const nowMs = clock.nowMs();
      seen(total, nowMs);
      if (most === bytes) end(nowMs, true, 0);
    },
    arrived(nowMs, serverMs) {
      if (bytes > 0) seen(bytes, nowMs);
      end(nowMs, true, serverMs);
    },
    failed: () => end(clock.nowMs(), false, 0),
    broke() {
      note?.broke?.(clock.nowMs());
      if (note?.broke) note = undefined;
    },
  };
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
  const message = `the deadline passed while waiting for ${info.id}`;
  return untilDeadline(call, clock, () => new LongshoreError("deadline-exceeded", "transport", message));
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
  request: WireRequest,
  call: Call,
  progress?: Progress,
  form?: WireForm,
  usualMs = 0,
): Promise<Exchange> {
  const { clock, link, transport, info } = parts;
  const sentBytes = bodyLength(request.body) ?? 0;
  const probes = request.path === probePath && sentBytes > 0;
  const step = parts.acknowledgeBytes ?? (probes ? probeStep(sentBytes) : acknowledgeStep(sentBytes));
  const tells = info.offers && transport.progress === "acknowledged" && step > 0;
  const acknowledges = tells && sentBytes > step;
  const headers: Record<string, string> = { ...request.headers };
  if (!info.offers) headers[orcaFormatHeader] = "json";
  if (acknowledges) headers[acknowledgeHeader] = String(step);
  Object.assign(headers, parts.headers);
  let startedMs = clock.nowMs();
  const waits = form !== undefined && isUnderWay(form.body);
  const body =
    waits && request.body.kind === "stream"
      ? watched(request.body, { chunk: () => void (startedMs = clock.nowMs()) })
      : request.body;
  const until = withinDeadline(parts, call);
  const own = until?.call ?? call;
  const { abort } = own;
  const learning = waits ? { ...parts, link: undefined } : parts;
  // A train is answered as soon as it is there: the answer acknowledges the last of it, and silence before says something.
  const headBytes = probes ? probeHeadBytes : 0;
  const sending = upload(learning, call, sentBytes, acknowledges || (tells && probes), headBytes, progress);
  let goesOn = false;
  try {
    const { method, path, endless, message, repeatable = false } = request;
    const asked =
      endless || message ? { ...request, headers, body } : { method, path, headers, body, repeatable };
    const response = await transport.send(asked, own, sending.acknowledged);
    const { status, headers: told } = response;
    const headMs = clock.nowMs();
    const serverMs = serverTime(told, headMs - startedMs);
    // A server that answers early has not read the rest: only a good answer says that all of the body arrived.
    if (status === 200) sending.arrived(headMs, serverMs ?? Math.min(usualMs, headMs - startedMs));
    // Errors tell of themselves.
    const check =
      parts.crc32 && status === 200 ? bodyCheck(told, `the reply of ${info.id}`, parts.crc32) : undefined;
    const length = bodyLength(response.body) ?? 0;
    const toldBytes = headerLengthOf(told) ?? 0;
    if (
      form?.takesArriving &&
      status === 200 &&
      response.body.kind === "stream" &&
      length > longBytes &&
      toldBytes > 0 &&
      toldBytes <= maxHeadBytes
    ) {
      const note = link?.sendStarted(length, "down", headMs);
      const begun = await beginning(parts, response.body.read(), toldBytes);
      check?.add(begun.bytes);
      if (begun.bytes.byteLength === length) check?.finish();
      goesOn = true;
      const going = untilOver(own, () => until?.[Symbol.dispose]());
      const rest = restOf(parts, begun.rest, length, note, going.end, begun.bytes.byteLength, check);
      const tookMs = clock.nowMs() - startedMs;
      const leave = (): void => {
        void begun.leave();
        going.end();
      };
      const figures = { receivedBytes: length, sentBytes, tookMs, serverMs };
      return { status, headers: told, bytes: begun.bytes, rest, leave, over: going.over, ...figures };
    }
    const received = receive(parts, response);
    const bytes = received instanceof Promise ? await received : received;
    check?.add(bytes);
    check?.finish();
    const tookMs = clock.nowMs() - startedMs;
    const receivedBytes = bytes.byteLength;
    // A long reply begins as soon as a short one.
    if (serverMs !== undefined && !probes && sentBytes < tinyBytes) {
      link?.roundTripSeen(headMs - startedMs - serverMs, headMs, serverMs);
    }
    const written = response.written ? ({ written: true } as const) : {};
    return { status, headers: told, bytes, receivedBytes, sentBytes, tookMs, serverMs, ...written };
  } catch (thrown) {
    if (abort.aborted) throw abortError(abort, "transport");
    const error = LongshoreError.from(thrown, "transport", `asking ${info.id}`);
    if (isBroken(error)) sending.broke();
    throw error;
  } finally {
    sending.failed();
    if (!goesOn) until?.[Symbol.dispose]();
  }
}
