import { abortError, type Call, childCall, LongshoreError } from "../../base/index.ts";
import type { TransferNote } from "../../estimate/index.ts";
import {
  acknowledgeHeader,
  defaultWireLimits,
  headerLengthOf,
  orcaFormatHeader,
  probePath,
  tookHeader,
} from "../../protocol/index.ts";
import type { Progress } from "../endpoint.ts";
import { bodyLength, readBody } from "../read-body.ts";
import type { WireRequest, WireResponse } from "../transport.ts";
import type { OipEndpointParts } from "./parts.ts";

/** A body below this is tiny: its time tells of the delay, not of the rate. One congestion window, about. */
const tinyBytes = 8192;

/**
 * Bytes between two acknowledgements: a sixteenth of the body, from 8 kB to 64 kB. A thin link passes 64 kB in a second; in
 * lumps of that size a slow link looks like a fast one that stalls.
 */
function acknowledgeStep(bodyBytes: number): number {
  return Math.min(65_536, Math.max(tinyBytes, Math.ceil(bodyBytes / 16)));
}

/** A whole exchange with a server. Times in milliseconds. */
export interface Exchange {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly bytes: Uint8Array;
  readonly sentBytes: number;
  /** From handing over the request until the reply was here. */
  readonly tookMs: number;
  /** Of it, what the server says it took for itself; undefined when it says nothing. */
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
  parts: OipEndpointParts,
  call: Call,
  bytes: number,
  acknowledges: boolean,
  probes: boolean,
  progress: Progress | undefined,
): { acknowledged(total: number): void; arrived(nowMs: number, serverMs: number): void; failed(): void } {
  const { clock, link, observer, info } = parts;
  let note: TransferNote | undefined =
    bytes >= tinyBytes || probes
      ? link?.sendStarted(bytes, "up", clock.nowMs(), acknowledges ? "acknowledged" : "none")
      : undefined;
  let most = 0;
  const seen = (total: number, nowMs: number): void => {
    // Acknowledgements come from outside: they only ever grow, and never beyond what was sent.
    if (!(total > most && total <= bytes)) return;
    most = total;
    // Without acknowledgements this moment is the reply's, and `ended` tells what of it was the server's work.
    if (acknowledges) note?.progressed(total, nowMs);
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
  };
}

async function receive(parts: OipEndpointParts, response: WireResponse): Promise<Uint8Array> {
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

/** Whatever is wrong with a reply is the server's fault: its reason becomes `bad-reply`, unless the call itself ended. */
export function badReply(from: string, thrown: unknown): LongshoreError {
  const error = LongshoreError.from(thrown, "transport", "reading the reply");
  const ours = ["cancelled", "deadline-exceeded", "no-answer", "unreachable", "bad-reply"];
  if (ours.includes(error.reason)) return error;
  return new LongshoreError(
    "bad-reply",
    error.stage,
    `${from} sent a reply that makes no sense: ${error.message}`,
    {
      cause: error,
    },
  );
}

/**
 * Sends a request and reads the whole reply, within the call's deadline. Tells the link what was seen on the way, and
 * the caller which bytes the server has. Rejects with `unreachable`, `no-answer`, `bad-reply`, `deadline-exceeded` or
 * the call's own error; any HTTP status is a result.
 */
export async function exchange(
  parts: OipEndpointParts,
  request: WireRequest,
  call: Call,
  progress?: Progress,
): Promise<Exchange> {
  const { clock, link, transport, info } = parts;
  const sentBytes = bodyLength(request.body) ?? 0;
  const step = parts.acknowledgeBytes ?? acknowledgeStep(sentBytes);
  const acknowledges = info.offers && transport.progress === "acknowledged" && step > 0 && sentBytes > step;
  const headers = {
    ...request.headers,
    ...(info.offers ? {} : { [orcaFormatHeader]: "json" }),
    ...(acknowledges ? { [acknowledgeHeader]: String(step) } : {}),
    ...parts.headers,
  };
  using child = childCall(call);
  const late = (): void =>
    child.cancel(
      new LongshoreError(
        "deadline-exceeded",
        "transport",
        `the deadline passed while waiting for ${info.id}`,
      ),
    );
  const startedMs = clock.nowMs();
  using _timer = call.deadlineMs === Infinity ? undefined : clock.timer(call.deadlineMs - startedMs, late);
  const probes = request.path === probePath && sentBytes > 0;
  const sending = upload(parts, call, sentBytes, acknowledges, probes, progress);
  try {
    const response = await transport.send({ ...request, headers }, child.call, sending.acknowledged);
    const headMs = clock.nowMs();
    const own = serverTime(response.headers, headMs - startedMs);
    // A server that answers early has not read the rest: only a good answer says that all of the body arrived.
    if (response.status === 200) sending.arrived(headMs, own ?? 0);
    const bytes = await receive(parts, response);
    const endMs = clock.nowMs();
    const tookMs = endMs - startedMs;
    if (own !== undefined && !probes && sentBytes < tinyBytes && bytes.byteLength < tinyBytes) {
      link?.roundTripSeen(tookMs - own, endMs);
    }
    return { status: response.status, headers: response.headers, bytes, sentBytes, tookMs, serverMs: own };
  } catch (thrown) {
    if (child.call.abort.aborted) throw abortError(child.call.abort, "transport");
    throw LongshoreError.from(thrown, "transport", `asking ${info.id}`);
  } finally {
    sending.failed();
  }
}
