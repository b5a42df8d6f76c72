import {
  type Call,
  type LongshoreEvent,
  newSpanId,
  ownCall,
  type Reason,
  type TraceContext,
  type Writable,
} from "../../words/base/index.ts";
import type { OipEndpointParts } from "./parts.ts";

/** A request to another server as a span of its own inside the span of its call. Untraced calls are recorded, too. */
export class ClientSpan {
  /** The call to send the request with. */
  readonly call: Call;
  readonly #parts: OipEndpointParts;
  readonly #model: string;
  readonly #startedMs: number;
  /** The span around it. */
  readonly #parent: TraceContext | undefined;

  constructor(parts: OipEndpointParts, model: string, call: Call) {
    this.#parts = parts;
    this.#model = model;
    this.#startedMs = parts.clock.nowMs();
    const { trace } = call;
    this.call = call;
    if (!trace?.sampled) return;
    const own = ownCall(call);
    own.trace = { ...trace, spanId: newSpanId(parts.random) };
    this.call = own;
    this.#parent = trace;
  }

  /** Records the outcome. */
  tell(outcome: "answered" | Reason, sentBytes: number): void {
    const { clock, observer, info } = this.#parts;
    const { id: callId, trace } = this.call;
    const parent = this.#parent;
    const atMs = clock.nowMs();
    const event: Writable<Extract<LongshoreEvent, { kind: "request-sent" }>> = {
      kind: "request-sent",
      atMs,
      callId,
      endpoint: info.id,
      model: this.#model,
      tookMs: atMs - this.#startedMs,
      sentBytes,
      outcome,
    };
    if (trace && parent) {
      event.trace = trace;
      event.parentSpanId = parent.spanId;
    }
    observer.record(event);
  }
}
