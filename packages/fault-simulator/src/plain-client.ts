import {
  type Clock,
  type Endpoint,
  endCut,
  type InferenceResponse,
  LongshoreError,
  type Random,
  startCut,
  type Tensor,
  type Tensors,
  tensorsOf,
} from "@longshore/core";
import { housekeepingCall, nextStep, randomId, withTime } from "@longshore/core/internal";

/** Sequences of a client that knows the plain protocol only. */
export interface PlainClient {
  sequence(): PlainSequence;
  close(): Promise<void>;
}

/** The answer to a step. */
export interface PlainAnswer {
  readonly outputs: Tensors;
  readonly where: string;
}

/** One sequence. Its steps have no numbers: the server counts them. */
export interface PlainSequence extends AsyncDisposable {
  next(
    inputs: { readonly x: Tensor },
    limits: { readonly deadlineMs?: number; readonly idempotencyKey?: string; readonly end?: boolean },
  ): Promise<PlainAnswer>;
}

/** The pause before a step is sent again, in milliseconds. */
const againMs = 400;

/** A client that sends each step with its key until it is answered, as users of Triton's clients with retries do. */
export function plainClient(server: Endpoint, clock: Clock, random: Random): PlainClient {
  const pause = (ms: number): Promise<void> => new Promise((resolve) => void clock.timer(ms, resolve));
  let attempts = 0;

  function sequence(): PlainSequence {
    const id = randomId(random);
    let began = false;
    return {
      async next({ x }, { deadlineMs = Infinity, idempotencyKey, end = false }) {
        const untilMs = clock.nowMs() + deadlineMs;
        for (;;) {
          try {
            const answer = await once(x, untilMs, idempotencyKey, end);
            began = true;
            return { outputs: answer.outputs, where: server.info.id };
          } catch (thrown) {
            const { reason } = LongshoreError.from(thrown, "execute", "a step");
            if (final.has(reason) || clock.nowMs() + againMs >= untilMs) throw thrown;
            await pause(againMs);
          }
        }
      },
      [Symbol.asyncDispose]: () => Promise.resolve(),
    };

    async function once(
      x: Tensor,
      untilMs: number,
      idempotencyKey: string | undefined,
      end: boolean,
    ): Promise<InferenceResponse> {
      const late = (): LongshoreError =>
        new LongshoreError("deadline-exceeded", "execute", "a step took too long");
      // A connection whose other end was lost says nothing: the client does not wait for ever.
      const own = withTime(
        {
          ...housekeepingCall(`plain-${++attempts}`),
          rules: { dataClass: "public", leastTrust: "none" },
          ...(idempotencyKey === undefined ? {} : { idempotencyKey }),
        },
        clock,
        Math.min(longestMs, untilMs - clock.nowMs()),
        late,
      );
      using _ends = own;
      const segment = {
        model: "count",
        version: "1",
        digest: "",
        variant: "default",
        from: startCut,
        to: endCut,
      };
      const position = { id, step: began ? nextStep : 0, end, wantState: false };
      return await server.infer({ segment, inputs: tensorsOf(x), codecs: {}, sequence: position }, own.call);
    }
  }

  return { sequence, close: () => server.close() };
}

/** The longest that one attempt waits for its answer, in milliseconds. */
const longestMs = 36_000;

/** Errors that no second attempt cures. */
const final: ReadonlySet<string> = new Set([
  "sequence-unknown",
  "sequence-step",
  "sequence-lost",
  "invalid-input",
  "policy-denied",
  "not-permitted",
  "unauthenticated",
]);
