import { type Call, LongshoreError, type WireResponse } from "@longshore/core";
import {
  abortError,
  childCall,
  emptyFinalParameter,
  idempotencyHeader,
  type InferReplyMessage,
  type InferRequestMessage,
  randomId,
} from "@longshore/core/internal";
import { encodeInferReply, encodeStreamReply, peek } from "../message/index.ts";
import {
  type CallContext,
  demandSomebody,
  failureOf,
  type Frame,
  type ServerCall,
  type ServiceParts,
} from "./call.ts";
import { askInfer, loadTrailers, messageOf } from "./infer.ts";
import { type GrpcStatus, ok, statusOf } from "./status.ts";

/**
 * `ModelStreamInfer`: requests of one stream are worked on side by side, up to a limit, beyond which the client is held
 * back. Answers come in the order of their requests; those of decoupled models come as they are made. An error of a
 * request is an answer, and the stream goes on. Requests of one sequence run one after another, so that a client may send
 * the next without waiting for the last.
 */

const finalParameter = "triton_final_response";
/** Metadata of a client that wants the first error of a request to end the stream with gRPC's own status. */
const endOnErrorHeader = "triton_grpc_error";

/** One request of the stream. */
interface Exchange {
  /** As the handler knows it. */
  readonly call: Call;
  /** The reply, or what went wrong. Never rejects. */
  readonly reply: Promise<WireResponse | LongshoreError>;
  /** The fields of the request, as far as it could be read. */
  readonly fields: () => { readonly id: string; readonly model: string; readonly emptyFinal: boolean };
  /** Settles when the message has been read or dropped, so that the next may come. */
  readonly consumed: Promise<void>;
  readonly over: () => void;
}

/** Lets requests of one sequence through one after another. */
function createTurns(): { wait(key: string, over: Promise<void>): Promise<void> } {
  const last = new Map<string, Promise<void>>();
  return {
    wait(key, over) {
      const before = last.get(key) ?? Promise.resolve();
      last.set(key, over);
      void over.then(() => {
        if (last.get(key) === over) last.delete(key);
      });
      return before;
    },
  };
}

function sequenceKey(model: string, { parameters }: InferRequestMessage): string | undefined {
  const id = Object.hasOwn(parameters, "sequence_id") ? parameters["sequence_id"] : undefined;
  return id === undefined || id === 0 || id === "" ? undefined : `${model}/${String(id)}`;
}

/** A key in the metadata stands for one request: each of a stream gets one of its own, the same when the stream comes again. */
function ofRequest({ call, headers, path, peer, surfaces }: ServerCall, at: number): CallContext {
  const key = headers[idempotencyHeader];
  const own = key === undefined ? headers : { ...headers, [idempotencyHeader]: `${key}.${at}` };
  return { call, headers: own, path, peer, ...(surfaces ? { surfaces } : {}) };
}

function begin(
  parts: ServiceParts,
  served: CallContext,
  frame: Frame,
  call: Call,
  turns: ReturnType<typeof createTurns>,
): Exchange {
  const names = peek(frame.head, [1, 3], parts.limits.maxNameLength).texts;
  let said = { id: names.get(3) ?? "", model: names.get(1) ?? "", emptyFinal: false };
  let consume = (): void => undefined;
  const consumed = new Promise<void>((resolve) => {
    consume = resolve;
  });
  let end = (): void => undefined;
  const over = new Promise<void>((resolve) => {
    end = resolve;
  });
  const arrived = async (message: InferRequestMessage): Promise<void> => {
    consume();
    said = { ...said, id: message.id ?? "", emptyFinal: message.parameters[emptyFinalParameter] === true };
    const key = sequenceKey(said.model, message);
    if (key !== undefined) await turns.wait(key, over);
  };
  const reply = askInfer(parts, served, frame, { stream: true, call, arrived })
    .catch((thrown: unknown) => {
      frame.skip();
      return failureOf(parts, thrown, call, "answering a request of the stream");
    })
    .finally(consume);
  return { call, reply, fields: () => said, consumed, over: () => end() };
}

/** Writes what answers one request. */
async function answer(
  parts: ServiceParts,
  served: ServerCall,
  exchange: Exchange,
  reply: WireResponse | LongshoreError,
): Promise<void> {
  const { id, model, emptyFinal } = exchange.fields();
  const final = { [finalParameter]: true };
  const empty: InferReplyMessage = { modelName: model, id, parameters: {}, outputs: [] };
  try {
    if (reply instanceof Error) throw reply;
    if (!reply.messages) {
      await served.send(encodeStreamReply(encodeInferReply(await messageOf(reply), final, true)));
      return;
    }
    let last = empty;
    for await (const message of reply.messages) {
      await served.send(encodeStreamReply(encodeInferReply(message, { [finalParameter]: false })));
      last = { ...message, parameters: {}, outputs: [] };
    }
    if (emptyFinal) await served.send(encodeStreamReply(encodeInferReply(last, final)));
  } catch (thrown) {
    if (served.call.abort.aborted) throw abortError(served.call.abort, "transport");
    const error = failureOf(parts, thrown, exchange.call, "answering a request of the stream");
    if (served.headers[endOnErrorHeader] === "true") throw error;
    await served.send(encodeStreamReply(encodeInferReply(empty, final), error.message));
  }
}

/** The next message, or nothing when there is none or one of `ends` fires before it comes. */
async function nextUnless(served: ServerCall, ends: readonly AbortSignal[]): Promise<Frame | undefined> {
  if (ends.some((end) => end.aborted)) return undefined;
  let stop = (): void => undefined;
  const ended = new Promise<undefined>((resolve) => {
    stop = () => resolve(undefined);
  });
  for (const end of ends) end.addEventListener("abort", stop, { once: true });
  try {
    return await Promise.race([served.next(), ended]);
  } finally {
    for (const end of ends) end.removeEventListener("abort", stop);
  }
}

/** A load report of a stream that is older tells nothing of how busy this endpoint is. */
const newsMs = 1000;

/** `ModelStreamInfer`. */
export async function modelStreamInfer(parts: ServiceParts, served: ServerCall): Promise<GrpcStatus> {
  await demandSomebody(parts, served);
  const turns = createTurns();
  const open = new Set<Promise<void>>();
  using whole = childCall(served.call);
  let inOrder: Promise<void> = Promise.resolve();
  let failed: LongshoreError | undefined;
  /** The endpoint's load when it began to answer the last request, which has ended by now: sent while it is recent. */
  let told: Pick<WireResponse, "headers" | "perSecond"> = { headers: {} };
  let toldAtMs = -Infinity;
  const behind = (status: GrpcStatus): GrpcStatus => {
    if (parts.clock.nowMs() - toldAtMs >= newsMs) return status;
    return { ...status, trailers: { ...loadTrailers(told, toldAtMs, 1), ...status.trailers } };
  };
  const fail = (thrown: unknown, call: Call): void => {
    failed ??= failureOf(parts, thrown, call, "answering the stream");
    whole.cancel(failed);
  };
  const room = async (): Promise<void> => {
    while (open.size >= parts.maxStreamInFlight) await Promise.race(open);
  };
  const serve = async (exchange: Exchange, before: Promise<void>, passed: () => void): Promise<void> => {
    try {
      const reply = await exchange.reply;
      await before;
      // A decoupled model may take long over its answers: others need not wait for the last of them.
      if (!(reply instanceof Error) && reply.messages) passed();
      if (!(reply instanceof Error)) {
        toldAtMs = parts.clock.nowMs();
        told = { headers: reply.headers, perSecond: reply.perSecond ?? 0 };
      }
      if (!failed) await answer(parts, served, exchange, reply);
    } catch (thrown) {
      fail(thrown, exchange.call);
    } finally {
      passed();
      exchange.over();
    }
  };
  const ends = [served.draining, whole.call.abort];
  try {
    for (let at = 0; ; at++) {
      const frame = await nextUnless(served, ends);
      if (!frame) break;
      const call = { ...whole.call, id: randomId(parts.random) };
      const exchange = begin(parts, ofRequest(served, at), frame, call, turns);
      const before = inOrder;
      let passed = (): void => undefined;
      inOrder = new Promise<void>((resolve) => {
        passed = resolve;
      });
      const work = serve(exchange, before, passed);
      open.add(work);
      void work.then(() => open.delete(work));
      await exchange.consumed;
      await room();
    }
  } catch (thrown) {
    fail(thrown, served.call);
  }
  await Promise.all(open);
  if (failed) return behind(statusOf(failed));
  if (served.draining.aborted) {
    const why = "the server is shutting down; send the request to another one";
    return behind(statusOf(new LongshoreError("shutting-down", "admission", why)));
  }
  return behind(ok);
}
