import {
  type Call,
  emptyBody,
  type Handler,
  LongshoreError,
  readBody,
  reasons,
  type TenantId,
  type WireRequest,
  type WireResponse,
} from "@longshore/core";
import {
  abortError,
  allowedMethods,
  inSteps,
  type Failed,
  failureEvent,
  loadHeader,
  maxProbeBytes,
  ownCall,
  bodyLength,
  checksumHeader,
  type Route,
  tookHeader,
  writeWireError,
  turnWhileWanted,
} from "@longshore/core/internal";
import { ExchangeEvents, statisticsOf } from "../telemetry/index.ts";
import { directory } from "./directory.ts";
import type { Right } from "../identify/index.ts";
import { createGate } from "./gate.ts";
import { findModel } from "./find-model.ts";
import { generate } from "./generate.ts";
import { infer } from "./infer/index.ts";
import { modelConfiguration } from "./configuration.ts";
import { modelMetadata, modelReady, serverMetadata } from "./metadata.ts";
import { explain, modelOffers } from "./offers.ts";
import { sequenceStanding } from "./sequence-standing.ts";
import {
  type Api,
  completeParts,
  type HandlerParts,
  type IncomingRequest,
  type Served,
  type ServerHealth,
  type ServerState,
} from "./parts.ts";
import { prepare } from "./prepare.ts";
import { packageFile, packageManifest } from "./package.ts";
import { jsonReply, listReply, stateChecksum, textReply, toldLoad } from "./replies.ts";
import { refuseStrayPage } from "./stray-page.ts";
import { openApiDocument } from "../openapi/index.ts";
import { rollouts } from "./rollouts.ts";
import { modelHead, repositoryControl, repositoryIndex } from "./repository.ts";
import { logSettings, setLogSettings, setTraceSettings, traceSettings } from "./settings.ts";
import { limited } from "./limited.ts";
import { acknowledging } from "./acknowledging.ts";
import { sharedMemory } from "./shared-memory.ts";

async function health({ life, available }: ServerHealth, kind: "live" | "ready"): Promise<WireResponse> {
  const well =
    kind === "live" || (life.state === "ready" && (available === undefined || (await available())));
  const reply = jsonReply(kind === "live" ? { live: true } : { ready: well });
  return well ? reply : { ...reply, status: reasons["shutting-down"].httpStatus };
}

/** Reads and drops bytes that measure the link. The time until they have arrived is the link's, which is the point. */
async function probed(incoming: IncomingRequest): Promise<WireResponse> {
  const { body } = incoming.request;
  const arrived = acknowledging(incoming, bodyLength(body));
  await readBody(body, { maxBytes: maxProbeBytes, ...(arrived ? { arrived } : {}) });
  const reply = textReply("", "text/plain");
  return { ...reply, headers: { ...reply.headers, [tookHeader]: "0" } };
}

/**
 * Statistics of all requests for senders with the right to observe, otherwise of the sender's own tenant; only of models that the sender
 * may see.
 */
async function statistics(
  api: Served,
  route: Route & { kind: "stats" },
  incoming: IncomingRequest,
): Promise<WireResponse> {
  const { rights, tenant, sees } = incoming.identity;
  const counters = rights.has("observe") ? api.telemetry.counters : api.telemetry.tenantCounters(tenant);
  if (route.model === undefined) {
    const seen = counters.all().filter(({ model }) => sees?.(model) !== false);
    const pause = (): Promise<void> => turnWhileWanted(api.clock, incoming.call.abort, "encode");
    return listReply(seen, (one) => statisticsOf(one, counters), ['{"model_stats":[', "]}"], pause);
  }
  const { description } = await findModel(api, route.model, route.version, incoming.call);
  const one = counters.version(description.name, description.version);
  return jsonReply({ model_stats: [statisticsOf(one, counters)] });
}

/** `GET metrics`: OpenMetrics if the request accepts it, otherwise the Prometheus text format; only of models that the sender may see. */
async function metrics(
  { telemetry, clock }: Pick<Api, "telemetry" | "clock">,
  { request, identity, call }: IncomingRequest,
): Promise<WireResponse> {
  const { pieces, type } = telemetry.metricsPage(request.headers["accept"], identity.sees);
  const parts = await inSteps(pieces, () => turnWhileWanted(clock, call.abort, "encode"));
  return { status: 200, headers: { "content-type": type }, body: { kind: "parts", parts } };
}

function answer(api: Api, route: Route, incoming: IncomingRequest): WireResponse | Promise<WireResponse> {
  switch (route.kind) {
    case "live":
    case "ready":
      return health(api.health, route.kind);
    case "server":
      return serverMetadata(api);
    case "model":
      return modelMetadata(api, route, incoming);
    case "model-ready":
      return modelReady(api, route, incoming);
    case "config":
      return modelConfiguration(api, route, incoming);
    case "stats":
      return statistics(api, route, incoming);
    case "offers":
      return modelOffers(api, route, incoming);
    case "explain":
      return explain(api, route, incoming);
    case "sequence":
      return sequenceStanding(api, route, incoming);
    case "infer":
      return infer(api, route, incoming);
    case "prepare":
      return prepare(api, route, incoming);
    case "generate":
    case "generate-stream":
      return generate(api, route, incoming);
    case "head":
      return modelHead(api, route, incoming);
    case "index":
      return repositoryIndex(api, incoming);
    case "load":
    case "unload":
      return repositoryControl(api, route, incoming);
    case "log-settings":
      return logSettings(api);
    case "set-log-settings":
      return setLogSettings(api, incoming);
    case "trace-settings":
      return traceSettings(api, route, incoming);
    case "set-trace-settings":
      return setTraceSettings(api, route, incoming);
    case "shared-status":
    case "shared-register":
    case "shared-unregister":
      return sharedMemory(api, route, incoming);
    case "openapi":
      return jsonReply(openApiDocument(api.about.name, api.about.version));
    case "options":
      return { status: 204, headers: { allow: route.allow }, body: emptyBody };
    case "package":
      return packageManifest(api, route, incoming);
    case "package-file":
      return packageFile(api, route, incoming);
    case "directory":
    case "directory-join":
    case "directory-leave":
    case "directory-lease":
      return directory(api, route.kind, incoming);
    case "rollouts":
    case "rollout":
    case "rollout-change":
      return rollouts(api, route, incoming);
    case "probe":
      return probed(incoming);
    case "metrics":
      return metrics(api, incoming);
  }
}

/** When to ask again for a model that is not here yet, in milliseconds. */
const loadingRetryMs = 1000;

/**
 * While models are being loaded, one that is not here may come: `starting` instead of `unknown-model`. The same is said of a model that
 * the sender does not see.
 */
function whileLoading({ health: { life } }: ServerState, error: LongshoreError): LongshoreError {
  const { reason, stage } = error;
  if (!life.loading || (reason !== "unknown-model" && reason !== "unknown-version")) return error;
  const message = "the server is starting: not all of its models are loaded yet";
  return new LongshoreError("starting", stage, message, { cause: error, retryAfterMs: loadingRetryMs });
}

function failure(
  api: Served & ServerState,
  thrown: unknown,
  call: Call,
  path: string,
  about: Pick<Failed, "tenant" | "model">,
): WireResponse {
  const error = call.abort.aborted
    ? abortError(call.abort, "transport")
    : whileLoading(api, LongshoreError.from(thrown, "execute", "answering the request"));
  const { reason } = error;
  api.observer.record(failureEvent(error, { ...about, id: call.id }, api.clock.nowMs()));
  const { status, headers, bytes } = writeWireError(error, call.id);
  const allow = reason === "wrong-method" ? { allow: allowedMethods(path) ?? "" } : {};
  return { status, headers: { ...headers, ...allow }, body: { kind: "parts", parts: [bytes] } };
}

/** Load, time and, if requested, the checksum on every reply that does not carry them yet. */
function told(api: Api, request: WireRequest, response: WireResponse, startedMs: number): WireResponse {
  const { headers, body } = response;
  if (headers[loadHeader] !== undefined && headers[tookHeader] !== undefined) return response;
  const load = api.health.load?.();
  const own: Record<string, string> = load ? toldLoad(api, load, request) : {};
  own[tookHeader] = Math.max(0, api.clock.nowMs() - startedMs).toFixed(3);
  if (headers[checksumHeader] === undefined) stateChecksum(api, request, own, body);
  return { ...response, headers: Object.assign(own, headers) };
}

/** The rights of identities as calls carry them; an identity's set is made once for many requests. */
const rightsOf = (): ((rights: ReadonlySet<Right>) => readonly Right[]) => {
  const known = new WeakMap<ReadonlySet<Right>, readonly Right[]>();
  return (rights) => {
    const found = known.get(rights) ?? [...rights];
    known.set(rights, found);
    return found;
  };
};

/**
 * The server of the Open Inference Protocol v2 with Longshore's extension, over any endpoint and without sockets. It answers every request:
 * a handler never rejects. Identity is determined once, before routing, for all paths.
 */
export function createHandler(parts: HandlerParts): Handler {
  const api = completeParts(parts);
  const listed = rightsOf();
  const gate = createGate();
  return async (request, base, received) => {
    const startedMs = api.clock.nowMs();
    const events = new ExchangeEvents(api, request, startedMs);
    let call = base;
    let response: WireResponse;
    let tenant: TenantId | undefined;
    let model: string | undefined;
    try {
      if (parts.pages !== undefined) refuseStrayPage(request, parts.pages);
      const known = api.access.identify(request);
      const identity = known instanceof Promise ? await known : known;
      const own = ownCall(base);
      own.tenant = identity.tenant;
      ({ tenant } = identity);
      own.rights = listed(identity.rights);
      call = own;
      const { route, query } = gate(identity, request);
      call = events.begin(call, route);
      if ("model" in route) ({ model } = route);
      const incoming = { request, query, identity, call, received };
      response = await (api.limits.quotas
        ? limited(api, route, incoming, answer)
        : answer(api, route, incoming));
    } catch (thrown) {
      if (!events.begun) call = events.begin(call, undefined);
      response = failure(api, thrown, call, request.path, { tenant, model });
    }
    return told(api, request, events.end(response), startedMs);
  };
}
