import { newSpanId, newTraceId, type Random, type TraceContext } from "@longshore/core";

/** Which requests are traced, in the terms of Triton's trace extension. */
export interface TraceSettings {
  /** `OFF` traces nothing; a trace context that comes in is still passed on. */
  readonly level: "OFF" | "TIMESTAMPS";
  /** One in so many requests that bring no decision of their own is traced. */
  readonly rate: number;
  /** So many more are traced, then no more; -1 for no end. */
  readonly count: number;
}

/** The span of an exchange, and the sender's. */
export interface Traced {
  /** What goes on with the request. */
  readonly trace?: TraceContext;
  /** Whether `trace` is a span of this place, which it has to tell of. */
  readonly recorded: boolean;
  readonly parentSpanId?: string;
}

/** Decides which requests are traced. A sender that traces, or says that it does not, has decided for us. */
export interface Tracing {
  /** Of all models, or of one where it has its own. */
  settings(model?: string): TraceSettings;
  /** Changes the settings of all models, or gives one model its own; `undefined` takes a model's own away again. */
  change(model: string | undefined, change: Partial<TraceSettings> | undefined): void;
  /** For a new exchange about `model`, with the context that came in. */
  begin(incoming: TraceContext | undefined, model: string | undefined): Traced;
}

/** Models with settings of their own; more are not kept. */
const maxModels = 1024;

/** @param initial Default: off, one in 1,000, no end. */
export function createTracing(random: Random, initial: Partial<TraceSettings> = {}): Tracing {
  let all: TraceSettings = { level: "OFF", rate: 1000, count: -1, ...initial };
  const own = new Map<string, TraceSettings>();
  const settings = (model?: string): TraceSettings => (model === undefined ? all : (own.get(model) ?? all));

  function change(model: string | undefined, changed: Partial<TraceSettings> | undefined): void {
    if (model === undefined) all = { ...all, ...changed };
    else if (changed === undefined) own.delete(model);
    else if (own.has(model) || own.size < maxModels) own.set(model, { ...settings(model), ...changed });
  }

  function chosen(model: string | undefined, { rate, count }: TraceSettings): boolean {
    if (count === 0 || rate < 1 || random.next() * rate >= 1) return false;
    if (count > 0) change(model !== undefined && own.has(model) ? model : undefined, { count: count - 1 });
    return true;
  }

  return {
    settings,
    change,
    begin(incoming, model) {
      const found = settings(model);
      const passedOn = { recorded: false, ...(incoming ? { trace: incoming } : {}) };
      if (found.level === "OFF") return passedOn;
      const sampled = incoming ? incoming.sampled : chosen(model, found);
      // Nobody looks at the spans of a request that is not sampled: what came in goes on as it is.
      if (!sampled) return passedOn;
      return {
        recorded: true,
        trace: {
          traceId: incoming?.traceId ?? newTraceId(random),
          spanId: newSpanId(random),
          sampled,
          ...(incoming?.state === undefined ? {} : { state: incoming.state }),
        },
        ...(incoming ? { parentSpanId: incoming.spanId } : {}),
      };
    },
  };
}
