import { type LongshoreEvent, type Random, type Reason, reasons, type TraceContext } from "@longshore/core";
import { dropOldest, newSpanId } from "@longshore/core/internal";

/** Another span that one belongs to without lying in it. */
export interface SpanLink {
  readonly traceId: string;
  readonly spanId: string;
}

/** A finished span, as exporters take it. Times in milliseconds since the Unix epoch. */
export interface Span extends SpanLink {
  readonly parentSpanId?: string;
  readonly state?: string;
  readonly name: string;
  readonly kind: "server" | "client" | "internal";
  readonly startMs: number;
  readonly endMs: number;
  readonly attributes: Readonly<Record<string, string | number | boolean>>;
  readonly links: readonly SpanLink[];
  /** Undefined when it went well. */
  readonly failure?: string;
}

type EventOf<Kind extends LongshoreEvent["kind"]> = LongshoreEvent & { readonly kind: Kind };

interface Open {
  readonly trace: TraceContext;
  readonly parentSpanId: string | undefined;
  readonly startMs: number;
  readonly attributes: Record<string, string | number | boolean>;
  readonly isRpc: boolean;
  name: string;
  failure: Reason | undefined;
}

interface OpenBatch {
  readonly startMs: number;
  readonly members: readonly TraceContext[];
}

/** The attributes that OpenTelemetry's conventions for generative models require of requests for text. */
const generates = {
  "gen_ai.operation.name": "text_completion",
  "gen_ai.provider.name": "longshore",
  "gen_ai.output.type": "text",
};

/** A request by OpenTelemetry's conventions for HTTP servers or for gRPC. */
function wireAttributes(wire: NonNullable<EventOf<"exchange-began">["wire"]>): Span["attributes"] {
  const { method, path, pattern, encrypted, host, rpc } = wire;
  const server = host === undefined ? {} : addressAttributes(host);
  if (rpc !== undefined) return { "rpc.system.name": "grpc", "rpc.method": rpc, ...server };
  return {
    "http.request.method": method,
    "url.path": path,
    "url.scheme": encrypted ? "https" : "http",
    ...(pattern === undefined ? {} : { "http.route": pattern }),
    ...server,
  };
}

function addressAttributes(host: string): Span["attributes"] {
  const [, name = host, port] = /^(.*?)(?::(\d{1,5}))?$/.exec(host) ?? [];
  return {
    "server.address": name.replace(/^\[(.*)\]$/, "$1"),
    ...(port === undefined ? {} : { "server.port": Number(port) }),
  };
}

/** Requests that are traced at one time; the oldest goes. */
const maxOpen = 4096;

/** Makes spans of events and gives them away one by one. Events of requests that are not traced cost a look-up. */
export interface SpanMaker {
  exchangeBegan(event: EventOf<"exchange-began">): void;
  exchangeEnded(event: EventOf<"exchange-ended">): void;
  inferenceBegan(event: EventOf<"inference-began">): void;
  stageEnded(event: EventOf<"stage-ended">): void;
  batchStarted(event: EventOf<"batch-started">): void;
  batchRan(event: EventOf<"batch-run">): void;
  requestSent(event: EventOf<"request-sent">): void;
  planMade(event: EventOf<"plan-made">): void;
  legEnded(event: EventOf<"leg-ended">): void;
  failed(event: EventOf<"failure">): void;
  /** The trace that a request under way belongs to, for log lines. */
  traceOf(callId: string): TraceContext | undefined;
}

/**
 * @param wallOf Turns an instant of the clock into milliseconds since the Unix epoch.
 * @param give Takes a finished span; must not wait.
 */
export function spanMaker(
  random: Random,
  wallOf: (atMs: number) => number,
  give: (span: Span) => void,
): SpanMaker {
  const open = new Map<string, Open>();
  /** Both events of a batch carry the same list of calls. */
  const batches = new WeakMap<readonly string[], OpenBatch>();

  /** Mostly nothing is traced, and a look-up takes longer than to see that. */
  const find = (callId: string): Open | undefined => (open.size === 0 ? undefined : open.get(callId));

  function inside(
    callId: string,
    name: string,
    atMs: number,
    tookMs: number,
    attributes: Span["attributes"],
  ): void {
    const request = find(callId);
    if (!request) return;
    const { trace } = request;
    give({
      traceId: trace.traceId,
      spanId: newSpanId(random),
      parentSpanId: trace.spanId,
      name,
      kind: "internal",
      startMs: wallOf(atMs - tookMs),
      endMs: wallOf(atMs),
      attributes,
      links: [],
    });
  }

  return {
    traceOf: (callId) => open.get(callId)?.trace,
    exchangeBegan({ callId, trace, parentSpanId, atMs, route, tenant, wire }) {
      if (!trace?.sampled) return;
      // A span whose reply is never read never ends.
      dropOldest(open, maxOpen - 1);
      open.set(callId, {
        trace,
        parentSpanId,
        startMs: atMs,
        attributes: {
          "longshore.route": route,
          "longshore.tenant": tenant,
          "longshore.request": callId,
          ...(wire ? wireAttributes(wire) : {}),
          ...(route.startsWith("generate") ? generates : {}),
        },
        isRpc: wire?.rpc !== undefined,
        name: route,
        failure: undefined,
      });
    },
    inferenceBegan({ callId, model, version }) {
      const request = find(callId);
      if (!request) return;
      request.name = `${request.name} ${model}`;
      request.attributes["longshore.model"] = model;
      request.attributes["longshore.version"] = version;
      if ("gen_ai.operation.name" in request.attributes) request.attributes["gen_ai.request.model"] = model;
    },
    exchangeEnded({ callId, atMs, status }) {
      const request = find(callId);
      if (!request) return;
      open.delete(callId);
      const { trace, parentSpanId, startMs, attributes, name, failure, isRpc } = request;
      const outcome = isRpc
        ? { "rpc.response.status_code": failure === undefined ? "OK" : reasons[failure].code }
        : { "http.response.status_code": status };
      give({
        traceId: trace.traceId,
        spanId: trace.spanId,
        ...(parentSpanId === undefined ? {} : { parentSpanId }),
        ...(trace.state === undefined ? {} : { state: trace.state }),
        name,
        kind: "server",
        startMs: wallOf(startMs),
        endMs: wallOf(atMs),
        attributes: { ...attributes, ...outcome },
        links: [],
        // By convention what the sender did wrong is no failure of the server's span.
        ...(status >= 500 ? { failure: failure ?? `status ${status}` } : {}),
      });
    },
    stageEnded({ callId, stage, name, atMs, tookMs }) {
      if (!find(callId)) return;
      inside(callId, name === "" ? stage : `${stage} ${name}`, atMs, tookMs, { "longshore.stage": stage });
    },
    batchStarted({ callIds, atMs }) {
      if (open.size === 0) return;
      const members = [...new Set(callIds)].flatMap((id) => open.get(id)?.trace ?? []);
      if (members.length > 0) batches.set(callIds, { startMs: atMs, members });
    },
    batchRan({ callIds, model, size, atMs }) {
      const batch = callIds && batches.get(callIds);
      const first = batch?.members[0];
      if (!batch || !first) return;
      give({
        traceId: first.traceId,
        spanId: newSpanId(random),
        parentSpanId: first.spanId,
        name: `batch ${model}`,
        kind: "internal",
        startMs: wallOf(batch.startMs),
        endMs: wallOf(atMs),
        attributes: { "longshore.stage": "batch", "longshore.model": model, "longshore.batch.rows": size },
        links: batch.members.map(({ traceId, spanId }) => ({ traceId, spanId })),
      });
    },
    requestSent({ trace, parentSpanId, endpoint, model, atMs, tookMs, sentBytes, outcome }) {
      if (!trace?.sampled) return;
      give({
        traceId: trace.traceId,
        spanId: trace.spanId,
        ...(parentSpanId === undefined ? {} : { parentSpanId }),
        name: `infer ${model}`,
        kind: "client",
        startMs: wallOf(atMs - tookMs),
        endMs: wallOf(atMs),
        attributes: {
          "longshore.endpoint": endpoint,
          "longshore.model": model,
          "longshore.sent_bytes": sentBytes,
        },
        links: [],
        ...(outcome === "answered" ? {} : { failure: outcome }),
      });
    },
    planMade({ callId, atMs, endpoint, cut, candidates, predictedMs }) {
      inside(callId, "plan", atMs, 0, {
        "longshore.stage": "plan",
        "longshore.endpoint": endpoint,
        "longshore.cut": cut,
        "longshore.candidates": candidates,
        "longshore.predicted_ms": predictedMs,
      });
    },
    legEnded({ callId, atMs, tookMs, leg, endpoint, outcome }) {
      inside(callId, `leg ${leg}`, atMs, tookMs, {
        "longshore.stage": "leg",
        "longshore.endpoint": endpoint,
        "longshore.outcome": outcome,
      });
    },
    failed({ callId, reason }) {
      const request = open.get(callId);
      if (!request) return;
      request.failure = reason;
      request.attributes["error.type"] = reason;
    },
  };
}
