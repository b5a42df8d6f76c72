import {
  type Call,
  emptyBody,
  type InferenceRequest,
  type InferenceResponse,
  LongshoreError,
  type ModelDescription,
  type ModelKnowledge,
  type WireRequest,
  type WireResponse,
} from "@longshore/core";
import {
  answersHeader,
  answersOf,
  answersType,
  type InferReplyMessage,
  type InferRequestMessage,
} from "@longshore/core/internal";
import { framesOf } from "../body/index.ts";
import type { InferenceEvents } from "../telemetry/index.ts";
import type { Api, Asked } from "./parts.ts";
import { inferReply } from "./respond.ts";

/** A request for what has taken the place of what was asked, and what is known of that. */
export interface Anew {
  readonly request: InferenceRequest;
  readonly knowledge: ModelKnowledge;
}

/** An inference that was let in and read, of a model that gives several answers. */
export interface StreamedInference {
  readonly message: InferRequestMessage;
  readonly description: ModelDescription;
  readonly request: InferenceRequest;
  readonly call: Call;
  readonly bodyMs: number;
  readonly events: InferenceEvents;
  /** What to ask instead where that is why nothing was answered. */
  readonly anew: (thrown: unknown) => Promise<Anew | undefined>;
  /** Disposed of when the last answer is through, or nobody waits for one any more. */
  readonly held: Disposable;
}

/** Whether the sender takes any number of answers. Over HTTP it says so in a header. */
export function takesSeveral({ message, headers }: WireRequest): boolean {
  if (message) return message.stream;
  const value = headers[answersHeader];
  if (value === undefined || value === "several") return value !== undefined;
  throw new LongshoreError("invalid-input", "admission", `${answersHeader} can only be 'several'`);
}

/**
 * The reply with the answers as they come. It begins with the first of them, so that what fails before it has a status of
 * its own; the next is worked on when the one before was taken.
 */
export async function inferAnswers(
  api: Api,
  asked: Asked,
  inference: StreamedInference,
): Promise<WireResponse> {
  const { request, call, events, held } = inference;
  let { description } = inference;
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
  // A reply that nobody reads any more is never asked for its next answer, so leaving has to be noticed here.
  const left = (): void => {
    finish(call.abort.reason);
    void answers.return?.().catch(() => undefined);
  };
  call.abort.addEventListener("abort", left, { once: true });

  const firstResult = async (): ReturnType<typeof answers.next> => {
    try {
      return await answers.next();
    } catch (thrown) {
      const anew = over ? undefined : await inference.anew(thrown);
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
    const { message, bodyMs } = inference;
    const answeredMs = api.clock.nowMs();
    const reply = await inferReply(api, asked, message, description, response, call, bodyMs);
    events.stage("encode", "outputs", answeredMs);
    events.answer(response, reply);
    return reply;
  };

  const first = await next(firstResult());
  async function* replies(): AsyncIterable<WireResponse> {
    try {
      for (let response = first; response; response = await next()) yield await written(response);
    } finally {
      // The reader has left early, or a reply could not be written.
      if (!over) {
        finish(new LongshoreError("cancelled", "transport", "the reader of the answers left"));
        await answers.return?.().catch(() => undefined);
      }
    }
  }
  if (asked.request.message) {
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
