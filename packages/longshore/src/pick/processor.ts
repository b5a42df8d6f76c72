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
  ownCall,
  parseRoute,
  type Picked,
  type Route,
  writeWireError,
} from "@longshore/core/internal";
import type { ProcessedReply, ProcessedRequest, Processing, RequestProcessor } from "@longshore/grpc";
import type { Addresses } from "./addresses.ts";
import type { PickEnd, PickMetrics } from "./metrics.ts";
import {
  destinationKey,
  destinationNamespace,
  firstDestinationKey,
  fairnessHeaders,
  objectiveHeaders,
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
  readonly clock: Clock;
  /** Rules of requests that state none. */
  readonly unstatedRules: Rules;
  /** Default: nothing is counted. */
  readonly metrics?: Pick<PickMetrics, "decided" | "ended" | "asked">;
}

/** Refusals for load: the client is to come again (429), and no retry elsewhere helps. */
const busy: ReadonlySet<string> = new Set(["rejected", "queue-full", "busier", "evicted", "tenant-limit"]);

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

/** The call that the headers of a request state. Throws what malformed headers and unknown rules are refused with. */
function callOf(headers: Headers, given: Call, { clock, unstatedRules }: ProcessorParts): Call {
  const base = ownCall(given);
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
  const { ":method": method = "", ":path": path = "", "content-type": type = "" } = headers;
  if (type.startsWith("application/grpc")) {
    throw new LongshoreError(
      "unsupported",
      "admission",
      "this picker reads the model from the path of HTTP and cannot route gRPC; give gRPC a route without it",
    );
  }
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

/** The refusal of a request, in the form of the gateway's error replies. */
function refusalOf(error: LongshoreError, callId: string): Processing {
  const { status, headers, bytes } = writeWireError(error, callId);
  const wait = error.retryAfterMs === undefined ? { "retry-after": "1" } : {};
  const isBusy = busy.has(error.reason);
  return {
    kind: "answered",
    status: isBusy ? 429 : status,
    headers: { ...headers, ...(isBusy ? wait : {}) },
    body: bytes,
    details: error.reason,
  };
}

/** The connection failure that the proxy reports if it replied instead of the endpoint. */
function failureOf({ attributes }: ProcessedReply): LongshoreError | undefined {
  const details = attributes["response.code_details"];
  if (details === undefined || details === "via_upstream") return undefined;
  const late = details.includes("timeout");
  return new LongshoreError(
    late ? "no-answer" : "unreachable",
    "transport",
    `the proxy had no answer of the endpoint (${details.slice(0, 100)})`,
  );
}

/** Endpoints that a proxy can reach, as of one moment. */
interface Reachable {
  readonly byId: ReadonlyMap<EndpointId, string>;
  readonly byAddress: ReadonlyMap<string, EndpointId>;
  /** All that may be chosen; undefined where every endpoint may be. */
  readonly among: ReadonlySet<EndpointId> | undefined;
}

/** Subsets whose endpoints are kept: gateways name few different ones. */
const mostSubsets = 64;
/** Longer ones are not kept, in characters: a client may have a part in them. */
const mostSubsetText = 65_536;

/** Reads endpoints and addresses once for each change of them, not for each request. */
function reachableOf(picker: EndpointPicker, addresses: Addresses) {
  let kept: Reachable | undefined;
  let keptOf: readonly number[] = [];
  const subsets = new Map<string, ReadonlySet<EndpointId>>();
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
    kept = { byId, byAddress, among: byId.size === endpoints.length ? undefined : new Set(byId.keys()) };
    return kept;
  };
  const narrowed = (all: Reachable, subset: ReadonlySet<string>): Reachable => {
    const key = [...subset].join(",");
    const found = subsets.get(key);
    const among =
      found ?? new Set(Array.from(subset, (one) => all.byAddress.get(one) ?? "").filter((id) => id !== ""));
    if (!found && key.length <= mostSubsetText) {
      subsets.set(key, among);
      if (subsets.size > mostSubsets) subsets.delete(subsets.keys().next().value ?? "");
    }
    return { ...all, among };
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
  const { picker, addresses, clock, metrics } = parts;

  const reachable = reachableOf(picker, addresses);

  const routed = (
    endpoints: readonly EndpointInfo[],
    { byId, byAddress }: Reachable,
    picked: Picked | undefined,
  ): Processing => {
    const chosen = endpoints.flatMap(({ id }) => byId.get(id) ?? []);
    const list = chosen.join(",");
    const first = endpoints[0]?.id ?? "";
    let over = false;
    const ended = (endpoint: string, end: PickEnd): void => {
      if (!over) metrics?.ended(endpoint, end);
      over = true;
    };
    return {
      kind: "routed",
      headers: { [destinationKey]: list, [firstDestinationKey]: chosen[0] ?? "" },
      metadata: { [destinationNamespace]: { [destinationKey]: list } },
      replied(reply) {
        const failure = failureOf(reply);
        if (failure) {
          picked?.failed(failure);
          ended(first, "failed");
        } else {
          const { headers, attributes, metadata } = reply;
          const served = metadata[destinationNamespace]?.[servedKey] ?? attributes["upstream.address"];
          const endpoint = typeof served === "string" ? byAddress.get(served) : undefined;
          picked?.answered({
            status: Number(headers[":status"] ?? 0),
            headers,
            ...(endpoint === undefined ? {} : { endpoint }),
          });
          ended(endpoint ?? first, "answered");
        }
      },
      ended() {
        picked?.dropped();
        ended(first, "dropped");
      },
    };
  };

  const decide = async ({ headers, metadata }: ProcessedRequest, given: Call): Promise<Processing> => {
    const route = routeOf(headers);
    const call = callOf(headers, given, parts);
    const found = reachable(subsetOf(metadata));
    const all = found instanceof Promise ? await found : found;
    const { among } = all;
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
        if (reason === "no-endpoint" || reason === "rejected") metrics?.asked(address.model);
        throw thrown;
      };
      const picking = picker.pick(
        {
          ...address,
          ...(variant === undefined ? {} : { variant }),
          bytes: lengthOf(headers),
          among,
          evenLate: aim.evenLate,
        },
        aim.call,
      );
      const picked = await picking.catch(counted);
      metrics?.asked(address.model);
      return routed(picked.endpoints, all, picked);
    }
    const well = await picker.well(among, address, call);
    if (well.length === 0) {
      throw new LongshoreError("no-endpoint", "plan", "no endpoint that may take the request answers now", {
        retryAfterMs: 1000,
      });
    }
    return routed(well.slice(0, 3), all, undefined);
  };

  return {
    async process(request, call) {
      const startedMs = clock.nowMs();
      let reason: string | undefined;
      try {
        return await decide(request, call);
      } catch (thrown) {
        const error = LongshoreError.from(thrown, "plan", "picking an endpoint");
        ({ reason } = error);
        return refusalOf(error, call.id);
      } finally {
        metrics?.decided(reason, clock.nowMs() - startedMs);
      }
    },
  };
}
