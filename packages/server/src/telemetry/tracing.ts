import type { Random, TraceContext } from "@longshore/core";
import { newSpanId, newTraceId } from "@longshore/core/internal";

/** Which requests are traced, in the terms of Triton's trace extension. */
export interface TraceSettings {
  /** `OFF` traces nothing; a trace context that comes in is still passed on. */
  readonly level: "OFF" | "TIMESTAMPS";
  /** One in this many requests without a decision of their own is traced. */
  readonly rate: number;
  /** So many more are traced, then no more; -1 for no end. */
  readonly count: number;
}

/** A change of settings; null takes one back. */
export type TraceChange = { readonly [Name in keyof TraceSettings]?: TraceSettings[Name] | null };

/** The span of an exchange, and the sender's. */
export interface Traced {
  /** The context that goes on with the request. */
  readonly trace?: TraceContext;
  /** Whether `trace` is a span of this endpoint, which it has to tell of. */
  readonly recorded: boolean;
  readonly parentSpanId?: string;
}

/** Decides which requests are traced. A sender that traces, or says that it does not, has decided for us. */
export interface Tracing {
  /** Of all models, or of one: its own, and those of all models where it has none. */
  settings(model?: string): TraceSettings;
  /**
   * Changes the settings of all models, or gives one model its own. A setting that is reset is as at the start, or for a model
   * as for all.
   */
  change(model: string | undefined, change: TraceChange): void;
  /** For a new exchange about `model`, with the context that came in. */
  begin(incoming: TraceContext | undefined, model: string | undefined): Traced;
}

const untraced: Traced = { recorded: false };

/** Models with settings of their own; more are not kept. */
const maxModels = 1024;

/** The settings after a change; a reset one is as in `back`. */
function changed<S extends Partial<TraceSettings>>(settings: S, change: TraceChange, back: S): S {
  const entries = Object.entries({ ...settings, ...change }).filter(([, value]) => value !== null);
  // A change has the type of what it changes, and where it says null `back` is looked at.
  return { ...back, ...Object.fromEntries(entries) };
}

/** @param initial Default: off, one in 1,000, no end. */
export function createTracing(random: Random, initial: Partial<TraceSettings> = {}): Tracing {
  const start: TraceSettings = { level: "OFF", rate: 1000, count: -1, ...initial };
  let all = start;
  const own = new Map<string, Partial<TraceSettings>>();
  const ownOf = (model: string | undefined): Partial<TraceSettings> | undefined =>
    model === undefined ? undefined : own.get(model);

  function settings(model?: string): TraceSettings {
    const apart = ownOf(model);
    return apart ? { ...all, ...apart } : all;
  }

  function change(model: string | undefined, change: TraceChange): void {
    if (model === undefined) {
      all = changed(all, change, start);
      return;
    }
    const apart = changed(own.get(model) ?? {}, change, {});
    if (Object.keys(apart).length === 0) own.delete(model);
    else if (own.has(model) || own.size < maxModels) own.set(model, apart);
  }

  function chosen(model: string | undefined, { rate, count }: TraceSettings): boolean {
    if (count === 0 || rate < 1 || random.next() * rate >= 1) return false;
    if (count > 0) change(ownOf(model)?.count === undefined ? undefined : model, { count: count - 1 });
    return true;
  }

  return {
    settings,
    change,
    begin(incoming, model) {
      const found = settings(model);
      const passedOn: Traced = incoming ? { recorded: false, trace: incoming } : untraced;
      if (found.level === "OFF") return passedOn;
      const sampled = incoming ? incoming.sampled : chosen(model, found);
      // The spans of a request that is not sampled are not recorded: its incoming context goes on as it is.
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
