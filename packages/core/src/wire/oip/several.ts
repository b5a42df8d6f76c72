import { abortError, type Call, childCall, LongshoreError } from "../../words/base/index.ts";
import {
  answersHeader,
  answersType,
  defaultWireLimits,
  headerLengthHeader,
  type InferReplyMessage,
  type KnownHeads,
  readAnswerFrames,
  readWireError,
} from "../protocol/index.ts";
import type { TensorSpec } from "../../words/tensor/index.ts";
import type { InferenceRequest, InferenceResponse, LoadReport } from "../endpoint/index.ts";
import { bodyLength, readBody } from "../body/index.ts";
import type { WireRequest, WireResponse } from "../transport/index.ts";
import { ClientSpan } from "./client-span.ts";
import { badReply, type Exchange, withinDeadline } from "./exchange.ts";
import { readLoadHeaders } from "./load-headers.ts";
import type { OipEndpointParts } from "./parts.ts";
import { type Answered, readResponse, responseOfReply } from "./reply.ts";

const noBytes = new Uint8Array(0);

async function failed(
  { info, limits = defaultWireLimits }: OipEndpointParts,
  response: WireResponse,
): Promise<never> {
  const { status, headers, body } = response;
  throw readWireError(status, headers, await readBody(body, { maxBytes: limits.maxBodyBytes }), info.id);
}

/** The request, and the facts that its answers are checked against. */
interface AskedSeveral {
  readonly request: InferenceRequest;
  readonly expected: readonly TensorSpec[] | undefined;
  readonly heads: KnownHeads<InferReplyMessage>;
  /** Called with the load that the server reports after its answers, if any. */
  heard(load: LoadReport | undefined): void;
}

/**
 * Sends a request that may be answered any number of times, and gives each answer as it comes: the next is read when the one
 * before was taken, so that a slow reader holds the server back. A model that gives one answer gives it as it always does. A
 * reader that stops early ends the exchange. Fails as `exchange` does, and with the server's error for an answer that failed.
 */
export async function* severalAnswers(
  parts: OipEndpointParts,
  { request, expected, heads, heard }: AskedSeveral,
  given: Call,
  message: (call: Call) => Promise<WireRequest>,
): AsyncIterable<InferenceResponse> {
  const { clock, info } = parts;
  // The plain protocol has several answers to a request over gRPC only.
  const transport = info.offers ? parts.transport : (parts.streams ?? parts.transport);
  const { maxBodyBytes } = parts.limits ?? defaultWireLimits;
  const span = new ClientSpan(parts, request.segment.model, given);
  const { call } = span;
  let outcome: Parameters<ClientSpan["tell"]>[0] = "answered";
  const own = childCall(call);
  const until = withinDeadline(parts, own.call);
  const ending = until?.call ?? own.call;
  const { abort } = ending;
  let sinceMs = clock.nowMs();
  let sentBytes = 0;
  let allBytes = 0;
  const exchanged = (
    headers: WireResponse["headers"],
    bytes: Uint8Array,
    receivedBytes = bytes.byteLength,
  ): Exchange => {
    const tookMs = clock.nowMs() - sinceMs;
    return { status: 200, headers, bytes, receivedBytes, sentBytes, tookMs, serverMs: undefined };
  };
  const checked = async (
    reading: () => InferenceResponse | Promise<InferenceResponse>,
  ): Promise<InferenceResponse> => {
    try {
      return await reading();
    } catch (thrown) {
      throw badReply(info.id, thrown);
    }
  };
  const answeredBy = (one: Exchange): Answered => ({
    request,
    exchanged: one,
    expected,
    codingStages: [],
    load: readLoadHeaders(one.headers, clock.nowMs()),
  });
  const read = (one: Exchange): Promise<InferenceResponse> =>
    checked(() => readResponse(parts, answeredBy(one), heads, call));
  const answered = (): void => {
    sinceMs = clock.nowMs();
    sentBytes = 0;
  };
  try {
    const asked = await message(ending);
    allBytes = sentBytes = asked.message?.byteLength ?? bodyLength(asked.body) ?? 0;
    const several = info.offers ? { [answersHeader]: "several" } : {};
    const headers = { ...asked.headers, ...several, ...parts.headers };
    const response = await transport.send({ ...asked, headers, endless: true }, ending);
    if (response.status !== 200) await failed(parts, response);
    const { headers: told, body, message: single, messages = single && [single] } = response;
    if (messages) {
      for await (const one of messages) {
        const receivedBytes = one.outputs.reduce((sum, { bytes }) => sum + bytes.byteLength, 0);
        const came = exchanged(told, noBytes, receivedBytes);
        yield await checked(() => responseOfReply(parts, answeredBy(came), one, call));
        answered();
      }
      heard(readLoadHeaders(response.trailers?.() ?? {}, clock.nowMs()));
      return;
    }
    if (told["content-type"] !== answersType || body.kind === "parts") {
      const headerLength = Number(told[headerLengthHeader] ?? 0);
      yield await read(exchanged(told, await readBody(body, { maxBytes: maxBodyBytes, headerLength })));
      return;
    }
    for await (const frame of readAnswerFrames(body.read(), maxBodyBytes)) {
      if (frame.kind === "error") throw readWireError(500, {}, frame.bytes, info.id);
      const { headerLength, bytes } = frame;
      yield await read(exchanged({ ...told, [headerLengthHeader]: String(headerLength) }, bytes));
      answered();
    }
  } catch (thrown) {
    const came = abort.aborted
      ? abortError(abort, "transport")
      : LongshoreError.from(thrown, "transport", `asking ${info.id}`);
    const error = came.reason === "body-mismatch" ? badReply(info.id, came) : came;
    outcome = error.reason;
    throw error;
  } finally {
    span.tell(outcome, allBytes);
    // When the reader leaves, the rest of the exchange ends here.
    own.cancel(new LongshoreError("cancelled", "transport", "nobody waits for more answers"));
    until?.[Symbol.dispose]();
    own[Symbol.dispose]();
  }
}
