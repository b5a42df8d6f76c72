/**
 * A request that is sent again with its idempotency key is not done again.
 *
 * A client without an answer cannot know whether the request or the answer was lost, so it sends the request again. Running it
 * again costs device time at best; a step of a sequence that is counted here (as Triton's clients leave it to the server) would
 * be made twice, and the state be wrong from then on. So the answer of each request that came with a key is kept for a while,
 * and a request that comes with a key of one under way waits for that one.
 *
 * Invariant: for one key of one tenant and one content at most one run is under way, and after it was answered, as long as the
 * answer is kept, none begins. A request that failed may be sent again: no answer was given. A step that only this server
 * counts is not made again either where its answer was too large to be kept, or had to go, as far as 16 MiB of memory for such
 * steps go.
 */
import {
  type Call,
  type Clock,
  type Endpoint,
  type EndpointCapabilities,
  type InferenceRequest,
  type InferenceResponse,
  LongshoreError,
  type Observer,
  type Progress,
} from "@longshore/core";
import {
  copied,
  exactJson,
  fingerprint,
  inputBytes,
  inputsHere,
  nextStep,
  wrapEndpoint,
  totalBytes,
  type Writable,
} from "@longshore/core/internal";
import { entryBytes, fromMemory } from "./answer-copy.ts";
import { rulesKey } from "./answer-key.ts";
import { answerStore } from "./answer-store.ts";
import { noReservation } from "./cached-endpoint.ts";
import { singleFlight } from "./single-flight.ts";

/** The parts that keep answers for a repeated request. */
export interface OnceParts {
  readonly clock: Clock;
  readonly observer: Observer;
  /** Memory for answers, in bytes; the one that was used least recently goes. Default 16 MiB. */
  readonly maxBytes?: number;
  /** A larger answer is not kept: to run a large request again costs less than to hold many of them. Default 1 MiB. */
  readonly maxAnswerBytes?: number;
  /** For how long an answer is kept, in milliseconds. Default 120,000: clients that try again have given up by then. */
  readonly keptMs?: number;
}

/** Inputs above this many bytes are compared by their names, datatypes and shapes only: reading them takes time. */
const mostReadBytes = 256 * 1024;

/** Memory for which steps were made, beside that for answers, in bytes. */
const maxStepBytes = 16 * 2 ** 20;

/** The memory of a finished step besides its request and its key. */
const stepBytes = 128;

interface Made {
  /** The request's content, to notice a key that comes with another request. */
  readonly contentKey: string;
  readonly atMs: number;
}

interface Answered extends Made {
  readonly response: InferenceResponse;
}

/** The content of a request, without its deadline and its rank in queues. */
function questionOf(
  { segment, outputs, classes, sequence, parameters, inputs }: InferenceRequest,
  call: Call,
): string {
  const specs = [...inputs.values()].map((input) => [
    input.spec.name,
    input.spec.datatype,
    input.spec.shape,
    inputBytes(input),
  ]);
  const question = exactJson([
    [segment.variant, segment.from, segment.to],
    outputs ?? null,
    classes ? [...classes] : null,
    sequence ? [sequence.id, sequence.step, sequence.end, sequence.wantState] : null,
    parameters ?? null,
    rulesKey(call.rules),
    specs,
  ]);
  return fingerprint(question, inputsHere(inputs), mostReadBytes) ?? question;
}

function otherQuestion({ model }: InferenceRequest["segment"]): LongshoreError {
  return new LongshoreError(
    "invalid-input",
    "admission",
    `the idempotency key came before with another request to model ${model}: a key stands for one request`,
  );
}

/** By tenant and key, for steps, which no other content of the model repeats either. */
function stepKey({ model }: InferenceRequest["segment"], { tenant }: Call, idempotencyKey: string): string {
  return JSON.stringify([tenant, model, idempotencyKey]);
}

/** The same by content: an answer of content that was replaced does not answer a request now. */
function keyOf(segment: InferenceRequest["segment"], call: Call, idempotencyKey: string): string {
  return `${segment.version} ${segment.digest} ${stepKey(segment, call, idempotencyKey)}`;
}

/**
 * Whether a step would be made again unseen: one without a number, and the first one. Others are known to the model's sequences by
 * their numbers, and a caller that carries the state may repeat the step from it.
 */
function isCountedHere({ sequence }: InferenceRequest): boolean {
  return sequence !== undefined && !sequence.state && (sequence.step === nextStep || sequence.step === 0);
}

function answerGone({ segment, sequence }: InferenceRequest): LongshoreError {
  return new LongshoreError(
    "sequence-step",
    "admission",
    `the step of sequence ${String(sequence?.id).slice(0, 80)} of model ${segment.model} that came with this key was made; its answer is not kept any more`,
  );
}

/**
 * Keeps answers of requests with an idempotency key, by tenant, model, content and key, so that one that is sent again gets the
 * same answer without a run. A key that comes with another request is `invalid-input`, one of a step whose answer is not kept
 * `sequence-step`. Requests without a key, and those for several answers, pass through; failures are not kept. At admission no
 * request is refused whose answer is kept or on its way: it takes no slot.
 */
export function onceEndpoint(inner: Endpoint, parts: OnceParts): Endpoint {
  const { clock, observer, maxBytes = 16 * 2 ** 20, maxAnswerBytes = 2 ** 20, keptMs = 120_000 } = parts;
  const answers = answerStore<Answered>(maxBytes);
  const steps = answerStore<Made>(maxStepBytes);
  const flights = singleFlight<InferenceResponse>(clock);
  /** The content of requests under way, by key. */
  const under = new Map<string, string>();

  function keep(key: string, asked: string, step: string | undefined, response: InferenceResponse): void {
    const { outputs, state } = response;
    const bytes = totalBytes(outputs) + (state ? totalBytes(state) : 0);
    const made = { contentKey: asked, atMs: clock.nowMs() };
    if (step !== undefined) steps.put(step, made, asked.length + step.length + stepBytes);
    if (bytes > maxAnswerBytes) return;
    answers.put(key, { ...made, response: own(response) }, bytes + key.length + entryBytes);
  }

  function isKept(made: Made | undefined): made is Made {
    return made !== undefined && clock.nowMs() - made.atMs <= keptMs;
  }

  function again(response: InferenceResponse, call: Call): InferenceResponse {
    const { model, version } = response.account.segment;
    observer.record({ kind: "request-repeated", atMs: clock.nowMs(), callId: call.id, model, version });
    return { ...own(response), account: fromMemory(response.account, model, 0) };
  }

  async function infer(
    request: InferenceRequest,
    call: Call,
    idempotencyKey: string,
    progress: Progress | undefined,
  ): Promise<InferenceResponse> {
    const key = keyOf(request.segment, call, idempotencyKey);
    const step = isCountedHere(request) ? stepKey(request.segment, call, idempotencyKey) : undefined;
    const asked = questionOf(request, call);
    const fresh = <T extends Made>(made: T | undefined): T | undefined => {
      if (!isKept(made)) return undefined;
      if (made.contentKey !== asked) throw otherQuestion(request.segment);
      return made;
    };
    const found = fresh(answers.get(key));
    if (found) return again(found.response, call);
    if (step !== undefined && fresh(steps.get(step))) throw answerGone(request);
    if ((under.get(key) ?? asked) !== asked) throw otherQuestion(request.segment);
    const { value, joined, shared } = await flights.fly(key, call, async (flight) => {
      under.set(key, asked);
      try {
        const response = await inner.infer(request, flight, progress);
        keep(key, asked, step, response);
        return response;
      } finally {
        under.delete(key);
      }
    });
    if (joined) return again(value, call);
    return shared ? own(value) : value;
  }

  const { admit: judge } = inner.capabilities;
  const admit: EndpointCapabilities["admit"] =
    judge &&
    ((segment, call, least) => {
      const key = call.idempotencyKey === undefined ? undefined : keyOf(segment, call, call.idempotencyKey);
      if (key !== undefined && (isKept(answers.get(key)) || flights.under(key))) return noReservation;
      return judge(segment, call, least);
    });
  return wrapEndpoint(inner, {
    capabilities: { admit },
    infer(request, call, progress) {
      const { idempotencyKey } = call;
      if (idempotencyKey === undefined) return inner.infer(request, call, progress);
      return infer(request, call, idempotencyKey, progress);
    },
    async close() {
      answers.clear();
      steps.clear();
      await inner.close();
    },
  });
}

/**
 * The same answer in memory of its own: every caller owns its answer. The form in which it came is the first one's. Assigned
 * one by one, since this is done for every small answer.
 */
function own({
  outputs,
  account,
  confidenceRatio,
  load,
  state,
  stateSeal,
}: InferenceResponse): InferenceResponse {
  const mine: Writable<InferenceResponse> = {
    outputs: copied(outputs),
    account,
  };
  if (confidenceRatio !== undefined) mine.confidenceRatio = confidenceRatio;
  if (load) mine.load = load;
  if (state) mine.state = copied(state);
  if (stateSeal !== undefined) mine.stateSeal = stateSeal;
  return mine;
}
