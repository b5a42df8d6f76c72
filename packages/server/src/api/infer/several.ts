import {
  emptyBody,
  type InferenceRequest,
  type InferenceResponse,
  LongshoreError,
  type WireResponse,
} from "@longshore/core";
import { answersOf, answersType, type InferReplyMessage } from "@longshore/core/internal";
import { framesOf } from "../../body/index.ts";
import type { Inference } from "./inference.ts";
import { inferReply } from "./reply.ts";
import type { ParsedInference } from "./request.ts";
import { renewedRequest } from "./run.ts";

/**
 * Replies with the answers as they come. The reply begins with the first answer, so that an earlier failure has its own status. Work on the
 * next answer starts when the previous one was taken.
 */
export async function replySeveral(inference: Inference, question: ParsedInference): Promise<WireResponse> {
  const { api, incoming, events } = inference;
  const { message, request, call, bodyMs } = question;
  let { description } = inference.head.knowledge;
  // Released when the last answer was sent, or when the reader has left.
  const held = inference.held.handOver();
  const begin = (asks: InferenceRequest): AsyncIterator<InferenceResponse> =>
    answersOf(api.endpoint, asks, call)[Symbol.asyncIterator]();
  let answers = begin(request);
  let over = false;
  const finish = (thrown?: unknown): void => {
    if (over) return;
    over = true;
    call.abort.removeEventListener("abort", left);
    if (thrown === undefined) events.answered();
    else events.failed(thrown);
    held[Symbol.dispose]();
  };
  // The next answer of an abandoned reply is never read, so the reader's leaving has to be detected here.
  const left = (): void => {
    finish(call.abort.reason);
    void answers.return?.().catch(() => undefined);
  };
  call.abort.addEventListener("abort", left, { once: true });

  const firstResult = async (): ReturnType<typeof answers.next> => {
    try {
      return await answers.next();
    } catch (thrown) {
      const anew = over ? undefined : await renewedRequest(inference, request, false, thrown);
      if (!anew || over) throw thrown;
      description = anew.knowledge.description;
      answers = begin(anew.request);
      return answers.next();
    }
  };

  const next = async (result = answers.next()): Promise<InferenceResponse | undefined> => {
    try {
      const { done, value } = await result;
      if (done !== true) return value;
      finish();
    } catch (thrown) {
      finish(thrown);
      throw thrown;
    }
    return undefined;
  };

  const written = async (response: InferenceResponse): Promise<WireResponse> => {
    const answeredMs = api.clock.nowMs();
    const reply = await inferReply(api, incoming, message, description, response, call, bodyMs);
    events.stage("encode", "outputs", answeredMs);
    events.answer(response, reply);
    return reply;
  };

  const first = await next(firstResult());
  async function* replies(): AsyncIterable<WireResponse> {
    try {
      for (let response = first; response; response = await next()) yield await written(response);
    } finally {
      // The reader left early, or a reply could not be written.
      if (!over) {
        finish(new LongshoreError("cancelled", "transport", "the reader of the answers left"));
        await answers.return?.().catch(() => undefined);
      }
    }
  }
  if (incoming.request.message) {
    return { status: 200, headers: {}, body: emptyBody, messages: messagesOf(replies()) };
  }
  return {
    status: 200,
    headers: { "content-type": answersType, "cache-control": "no-store" },
    body: { kind: "stream", byteLength: undefined, read: () => framesOf(replies(), call) },
  };
}

async function* messagesOf(replies: AsyncIterable<WireResponse>): AsyncIterable<InferReplyMessage> {
  // The sender's listener encodes its replies, so each has a message.
  for await (const { message } of replies) if (message) yield message;
}
