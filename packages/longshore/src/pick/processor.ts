import {
  type Call,
  type Clock,
  type EndpointId,
  type EndpointInfo,
  LongshoreError,
  type Rules,
} from "@longshore/core";
import {
  callFromHeaders,
  type EndpointPicker,
  isObjective,
  modelPath,
  ownCall,
  parseRoute,
  type Picked,
  type PickedReply,
  type Route,
  writeWireError,
} from "@longshore/core/internal";
import {
  type Decided,
  grpcMethodKind,
  grpcModelOf,
  grpcTimeoutMs,
  headersOfTrailers,
  httpStatusOf,
  type ProcessedReply,
  type ProcessedRequest,
  type RequestProcessor,
  statusOf,
  streamInferPath,
} from "@longshore/grpc";
import type { Addresses } from "./addresses.ts";
import type { LoggedRequests } from "./logged-requests.ts";
import type { PickEnd, PickMetrics } from "./metrics.ts";
import {
  destinationKey,
  destinationNamespace,
  fairnessHeaders,
  loggedKey,
  loggedNamespace,
  objectiveHeaders,
  modelHeader,
  modelVersionHeader,
  objectiveMsHeader,
  servedKey,
  subsetKey,
  subsetNamespace,
} from "./names.ts";

type Headers = Readonly<Record<string, string>>;

/** Inputs of `pickProcessor`. */
export interface ProcessorParts {
  readonly picker: EndpointPicker;
  readonly addresses: Addresses;
  /** Addresses for gRPC. Default: gRPC is not routed. */
  readonly grpcAddresses?: Addresses;
  /** Endpoints outside the pool: they get a request only if no endpoint of the pool may take it. Default: none is. */
  readonly isSpill?: (id: EndpointId) => boolean;
  readonly clock: Clock;
  /** Rules of requests that state none. */
  readonly unstatedRules: Rules;
  /** Requests whose end the proxy logs. Default: it sends replies to the processor. */
  readonly logged?: LoggedRequests;
  /** Default: nothing is counted. */
  readonly metrics?: Pick<PickMetrics, "decided" | "ended" | "arrived" | "spilled">;
}

/** Refusals for load: the client is to come again (429), and no retry elsewhere helps. */
const busy: ReadonlySet<string> = new Set(["rejected", "queue-full", "busier", "evicted", "tenant-limit"]);

/** gRPC's status for them. */
const resourceExhausted = 8;

/** The most characters of a text from a header that names a sender. */
const mostSender = 256;

function first(headers: Headers, names: readonly string[]): string | undefined {
  const name = names.find((one) => headers[one] !== undefined && headers[one] !== "");
  return name === undefined ? undefined : headers[name];
}

/** The endpoints that the gateway lets choose from, as `host:port`; undefined where it names none. */
export function subsetOf(metadata: ProcessedRequest["metadata"]): ReadonlySet<string> | undefined {
  const hint = metadata[subsetNamespace]?.[subsetKey];
  if (hint === undefined || hint === null) return undefined;
  const texts = Array.isArray(hint) ? hint : [hint];
  const names = texts.flatMap((one) => (typeof one === "string" ? one.split(",") : []));
  // An empty list, and one that cannot be read, names no endpoint.
  return new Set(names.map((one) => one.trim()).filter((one) => one !== ""));
}

function lengthOf(headers: Headers): number {
  const text = headers["content-length"];
  return text !== undefined && /^[0-9]{1,15}$/.test(text) ? Number(text) : 0;
}

function isGrpc(headers: Headers): boolean {
  return headers["content-type"]?.startsWith("application/grpc") === true;
}

/** The call that the headers of a request state. Throws what malformed headers and unknown rules are refused with. */
function callOf(headers: Headers, given: Call, { clock, unstatedRules }: ProcessorParts): Call {
  const base = ownCall(given);
  if (isGrpc(headers)) base.deadlineMs = clock.nowMs() + grpcTimeoutMs(headers["grpc-timeout"]);
  const sender = first(headers, fairnessHeaders);
  // The sender for whom failures pause an endpoint; it grants nothing.
  if (sender !== undefined) base.tenant = `fairness:${sender.slice(0, mostSender)}`;
  const call = ownCall(callFromHeaders(headers, base, clock.nowMs(), unstatedRules));
  const objective = first(headers, objectiveHeaders);
  // Names of others, such as those of InferenceObjectives, are ignored here.
  if (call.goal === undefined && objective !== undefined && isObjective(objective)) call.goal = objective;
  return call;
}

/** The call with the time that the gateway wants the answer in, and whether that is all that its deadline is. */
function aimed(
  call: Call,
  headers: Headers,
  nowMs: number,
): { readonly call: Call; readonly evenLate: boolean } {
  const text = headers[objectiveMsHeader];
  if (call.deadlineMs !== Infinity || text === undefined || !/^[0-9]{1,9}(\.[0-9]+)?$/.test(text)) {
    return { call, evenLate: false };
  }
  const deadlineMs = nowMs + Math.max(1, Number(text));
  return { call: Object.assign(ownCall(call), { deadlineMs }), evenLate: true };
}

/** Routes that change a server, or apply to one server only. */
const ofOneServer: ReadonlySet<Route["kind"]> = new Set<Route["kind"]>([
  "load",
  "unload",
  "set-log-settings",
  "set-trace-settings",
  "shared-register",
  "shared-unregister",
  "shared-status",
  "directory-join",
  "directory-leave",
  "rollout-change",
  "prepare",
]);

function routeOf(headers: Headers): Route {
  const { ":method": method = "", ":path": path = "" } = headers;
  const { route } = parseRoute(method, path);
  if (ofOneServer.has(route.kind)) {
    throw new LongshoreError(
      "unsupported",
      "admission",
      "this request is for one server, and a picker chooses any; send it to that server",
    );
  }
  return route;
}

/** The route of a request over HTTP that asks the same as one over gRPC. */
function routeOfModel(model: string, version: string, isInference: boolean): Route {
  if (model === "") throw new LongshoreError("invalid-input", "decode", "model_name must name a model");
  const path = modelPath({ model, ...(version === "" ? {} : { version }) });
  return isInference ? parseRoute("POST", `${path}/infer`).route : parseRoute("GET", path).route;
}

/** A request whose model is known, or which has none. */
interface Aimed {
  readonly route: Route;
  /** Of its body; 0 if unknown. */
  readonly bytes: number;
}

/** The most bytes of a body in which the name of a model is looked for. */
const mostHeadBytes = 16_384;

/** The purpose of a gRPC call by its headers alone. Undefined if its first message has to be read. */
function grpcAim(headers: Headers): Aimed | undefined {
  const { ":path": path = "", [modelHeader]: model, [modelVersionHeader]: version = "" } = headers;
  const kind = grpcMethodKind(path);
  if (kind === "about-server") return { route: parseRoute("GET", "/v2").route, bytes: 0 };
  if (model === undefined) return undefined;
  return { route: routeOfModel(model, version, kind === "infer"), bytes: 0 };
}

/** The purpose of a gRPC call by the beginning of its body. Undefined if more of it is needed. */
function grpcAimOf(headers: Headers, head: Uint8Array, whole: boolean): Aimed | undefined {
  if (whole && head.byteLength === 0) {
    const why = `the model of a request over gRPC must be named in the header ${modelHeader}, or the gateway must send the body (request_body_mode)`;
    throw new LongshoreError("unsupported", "admission", why);
  }
  const named = grpcModelOf(head, whole);
  if (!named) return undefined;
  const isInference = grpcMethodKind(headers[":path"] ?? "") === "infer";
  return { route: routeOfModel(named.model, named.version, isInference), bytes: named.byteLength };
}

/** The refusal of a request, in the form of the gateway's error replies, or as a status of gRPC. */
function refusalOf(error: LongshoreError, callId: string, grpc: boolean): Decided {
  const isBusy = busy.has(error.reason);
  if (grpc) {
    const waitMs = error.retryAfterMs ?? (isBusy ? 1000 : undefined);
    const told = statusOf(
      waitMs === undefined
        ? error
        : new LongshoreError(error.reason, error.stage, error.message, { retryAfterMs: waitMs }),
    );
    return {
      kind: "answered",
      status: 200,
      headers: told.trailers,
      body: new TextEncoder().encode(told.message),
      details: error.reason,
      grpcStatus: isBusy ? resourceExhausted : told.code,
    };
  }
  const { status, headers, bytes } = writeWireError(error, callId);
  const wait = error.retryAfterMs === undefined ? { "retry-after": "1" } : {};
  return {
    kind: "answered",
    status: isBusy ? 429 : status,
    headers: { ...headers, ...(isBusy ? wait : {}) },
    body: bytes,
    details: error.reason,
  };
}

/** The connection failure that the proxy reports if it replied instead of the endpoint. */
function failureOf(details: string | undefined): LongshoreError | undefined {
  if (details === undefined || details === "via_upstream") return undefined;
  const late = details.includes("timeout");
  return new LongshoreError(
    late ? "no-answer" : "unreachable",
    "transport",
    `the proxy had no answer of the endpoint (${details.slice(0, 100)})`,
  );
}

const pushbackTrailer = "grpc-retry-pushback-ms";

/** A reply of gRPC as the same over HTTP has it: the status, and headers about load. */
function grpcReply({ headers, trailers }: ProcessedReply): { status: number; headers: Headers } {
  const code = trailers["grpc-status"] ?? headers["grpc-status"];
  const pushback = Number(trailers[pushbackTrailer] ?? headers[pushbackTrailer]);
  const wait = pushback > 0 ? { "retry-after": String(Math.ceil(pushback / 1000)) } : {};
  const all = { ...headers, ...trailers };
  const status = Number(headers[":status"] ?? 0);
  return {
    status: status === 200 && code !== undefined ? httpStatusOf(Number(code)) : status,
    headers: { ...headers, ...headersOfTrailers(all), ...wait },
  };
}

/** Endpoints that a proxy can reach, as of one moment. */
interface Reachable {
  readonly byId: ReadonlyMap<EndpointId, string>;
  readonly byAddress: ReadonlyMap<string, EndpointId>;
  /** Those of the pool that may be chosen; undefined where every endpoint may be. */
  readonly among: ReadonlySet<EndpointId> | undefined;
  /** Those of `among` outside the pool; undefined where there is none. */
  readonly beyond: ReadonlySet<EndpointId> | undefined;
}

/** Refusals of the pool that endpoints outside it may be able to avoid. */
const spills: ReadonlySet<string> = new Set([...busy, "no-endpoint", "policy-denied", "starting"]);

/** Splits endpoints into those of the pool and those outside it. */
function split(
  all: ReadonlySet<EndpointId>,
  isSpill: (id: EndpointId) => boolean,
): Pick<Reachable, "among" | "beyond"> {
  const beyond = new Set([...all].filter(isSpill));
  if (beyond.size === 0) return { among: all, beyond: undefined };
  return { among: new Set([...all].filter((id) => !beyond.has(id))), beyond };
}

/** Subsets whose endpoints are kept: gateways name few different ones. */
const mostSubsets = 64;
/** Longer ones are not kept, in characters: a client may have a part in them. */
const mostSubsetText = 65_536;

/** Reads endpoints and addresses once for each change of them, not for each request. */
function reachableOf(
  picker: EndpointPicker,
  addresses: Addresses,
  isSpill: (id: EndpointId) => boolean = () => false,
) {
  let kept: Reachable | undefined;
  let keptOf: readonly number[] = [];
  const subsets = new Map<string, Pick<Reachable, "among" | "beyond">>();
  const now = (): Reachable => {
    addresses.renew();
    const of = [picker.changes, addresses.changes];
    if (kept && of.every((one, at) => one === keptOf[at])) return kept;
    subsets.clear();
    const byId = new Map<EndpointId, string>();
    const byAddress = new Map<string, EndpointId>();
    const { endpoints } = picker;
    for (const info of endpoints) {
      const address = addresses.of(info);
      if (address === undefined) continue;
      byId.set(info.id, address);
      byAddress.set(address, info.id);
    }
    keptOf = of;
    const { among, beyond } = split(new Set(byId.keys()), isSpill);
    const isAll = byId.size === endpoints.length && !beyond;
    kept = { byId, byAddress, among: isAll ? undefined : among, beyond };
    return kept;
  };
  const narrowed = (all: Reachable, subset: ReadonlySet<string>): Reachable => {
    const key = [...subset].join(",");
    const found = subsets.get(key);
    const ids = (): ReadonlySet<EndpointId> =>
      new Set(Array.from(subset, (one) => all.byAddress.get(one) ?? "").filter((id) => id !== ""));
    const among = found ?? split(ids(), isSpill);
    if (!found && key.length <= mostSubsetText) {
      subsets.set(key, among);
      if (subsets.size > mostSubsets) subsets.delete(subsets.keys().next().value ?? "");
    }
    return { ...all, ...among };
  };
  return (subset: ReadonlySet<string> | undefined): Reachable | Promise<Reachable> => {
    const narrow = (all: Reachable): Reachable => (subset ? narrowed(all, subset) : all);
    const all = now();
    // A request waits for the first look-up of names only if no endpoint is known without it.
    const { coming } = addresses;
    return all.byId.size === 0 && coming ? coming.then(() => narrow(now())) : narrow(all);
  };
}

/** A processor that sends each request to the endpoint that a picker chooses. */
export function pickProcessor(parts: ProcessorParts): RequestProcessor {
  const { picker, addresses, grpcAddresses, isSpill, clock, metrics, logged } = parts;

  const overHttp = reachableOf(picker, addresses, isSpill);
  const overGrpc = grpcAddresses && reachableOf(picker, grpcAddresses, isSpill);

  const routed = (
    endpoints: readonly EndpointInfo[],
    { byId, byAddress }: Reachable,
    picked: Picked | undefined,
    { isLogged }: ProcessedRequest,
    wantsTrailers: boolean,
  ): Decided => {
    const chosen = endpoints.flatMap(({ id }) => byId.get(id) ?? []);
    const list = chosen.join(",");
    const first = endpoints[0]?.id ?? "";
    let over = false;
    const ended = (endpoint: string, end: PickEnd): void => {
      if (!over) metrics?.ended(endpoint, end);
      over = true;
    };
    const failed = (failure: LongshoreError): void => {
      picked?.failed(failure);
      ended(first, "failed");
    };
    const answered = (served: unknown, reply: PickedReply): void => {
      const endpoint = typeof served === "string" ? byAddress.get(served) : undefined;
      picked?.answered(endpoint === undefined ? reply : { ...reply, endpoint });
      ended(endpoint ?? first, "answered");
    };
    const dropped = (): void => {
      picked?.dropped();
      ended(first, "dropped");
    };
    const route = { [destinationNamespace]: { [destinationKey]: list } };
    const waits = isLogged
      ? logged?.begin((request) => {
          if (!request || (request.cancelled && request.status === 0)) return dropped();
          const failure = request.cancelled ? undefined : failureOf(request.details);
          if (failure) return failed(failure);
          const { status, headers, tookMs, upstream } = request;
          answered(upstream, { status, headers, ...(tookMs === undefined ? {} : { tookMs }) });
        })
      : undefined;
    return {
      kind: "routed",
      headers: { [destinationKey]: list },
      metadata: waits ? { ...route, [loggedNamespace]: { [loggedKey]: waits.name } } : route,
      ...(wantsTrailers ? { wantsTrailers } : {}),
      replied(reply) {
        const { attributes, metadata, headers } = reply;
        const failure = failureOf(attributes["response.code_details"]);
        if (failure) return failed(failure);
        const served = metadata[destinationNamespace]?.[servedKey] ?? attributes["upstream.address"];
        answered(
          served,
          isGrpc(headers) ? grpcReply(reply) : { status: Number(headers[":status"] ?? 0), headers },
        );
      },
      ended: waits ? () => waits.closed() : dropped,
    };
  };

  const decide = async (
    { route, bytes }: Aimed,
    request: ProcessedRequest,
    given: Call,
  ): Promise<Decided> => {
    const { headers, metadata } = request;
    const call = callOf(headers, given, parts);
    const grpc = isGrpc(headers);
    const reachable = grpc ? overGrpc : overHttp;
    const found = reachable?.(subsetOf(metadata));
    const all = found instanceof Promise ? await found : found;
    if (!all || (grpc && all.byId.size === 0 && picker.endpoints.length > 0)) {
      const why = "where the servers speak gRPC is not known: start the picker with --at-grpc :PORT";
      throw new LongshoreError("unsupported", "admission", why);
    }
    // A stream may be open for hours, and its trailers tell nothing of one request.
    const wantsTrailers = grpc && headers[":path"] !== streamInferPath;
    const { among, beyond } = all;
    const address =
      "model" in route && route.model !== undefined
        ? {
            model: route.model,
            ...("version" in route && route.version !== undefined ? { version: route.version } : {}),
          }
        : undefined;
    if (
      address &&
      (route.kind === "infer" || route.kind === "generate" || route.kind === "generate-stream")
    ) {
      const { variant } = route;
      const aim = aimed(call, headers, clock.nowMs());
      // Requests for models that are not there do not count: their names are the senders' own.
      const counted = (thrown: unknown): never => {
        const { reason } = LongshoreError.from(thrown, "plan", "picking an endpoint");
        if (reason === "no-endpoint" || reason === "rejected") metrics?.arrived(address.model);
        throw thrown;
      };
      const wanted = { ...address, ...(variant === undefined ? {} : { variant }), bytes };
      const pick = (from: typeof among, evenLate: boolean): Promise<Picked> =>
        picker.pick({ ...wanted, among: from, evenLate }, aim.call);
      /** A late answer of the pool is the last resort, after one in time from outside it. */
      const pickBeyond = async (outside: typeof among, first: unknown): Promise<Picked> => {
        const { reason } = LongshoreError.from(first, "plan", "picking an endpoint");
        if (!spills.has(reason)) throw first;
        try {
          const picked = await pick(outside, false);
          metrics?.spilled();
          return picked;
        } catch (second) {
          if (aim.evenLate) return pick(among, true);
          // To come again helps where only the endpoints outside are full; else the reason of the pool tells more.
          const isBusy = busy.has(LongshoreError.from(second, "plan", "picking an endpoint").reason);
          throw isBusy && !busy.has(reason) ? second : first;
        }
      };
      const picking = beyond
        ? pick(among, false).catch((first: unknown) => pickBeyond(beyond, first))
        : pick(among, aim.evenLate);
      const picked = await picking.catch(counted);
      metrics?.arrived(address.model);
      return routed(picked.endpoints, all, picked, request, wantsTrailers);
    }
    const inPool = await picker.well(among, address, call);
    const well = inPool.length === 0 && beyond ? await picker.well(beyond, address, call) : inPool;
    if (well.length === 0) {
      throw new LongshoreError("no-endpoint", "plan", "no endpoint that may take the request answers now", {
        retryAfterMs: 1000,
      });
    }
    return routed(well.slice(0, 3), all, undefined, request, wantsTrailers);
  };

  return {
    async process(request, call) {
      const { headers } = request;
      const startedMs = clock.nowMs();
      const grpc = isGrpc(headers);
      /** Decides, counts the decision, and makes a refusal of an error. Undefined if `aim` needs more. */
      const settle = async (aim: Aimed): Promise<Decided> => {
        const decided = await decide(aim, request, call);
        metrics?.decided(undefined, clock.nowMs() - startedMs);
        return decided;
      };
      const refuse = (thrown: unknown): Decided => {
        const error = LongshoreError.from(thrown, "plan", "picking an endpoint");
        metrics?.decided(error.reason, clock.nowMs() - startedMs);
        return refusalOf(error, call.id, grpc);
      };
      try {
        if (!grpc) return await settle({ route: routeOf(headers), bytes: lengthOf(headers) });
        const aim = grpcAim(headers);
        if (aim) return await settle(aim);
      } catch (thrown) {
        return refuse(thrown);
      }
      return {
        kind: "undecided",
        mostBytes: mostHeadBytes,
        decide(head, whole) {
          try {
            const aim = grpcAimOf(headers, head, whole);
            return aim && settle(aim).catch(refuse);
          } catch (thrown) {
            return refuse(thrown);
          }
        },
      };
    },
  };
}
