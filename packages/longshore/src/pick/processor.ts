import { type Call, type Clock, type EndpointInfo, LongshoreError, type Rules } from "@longshore/core";
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
  readonly metrics?: Pick<PickMetrics, "decided" | "ended">;
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

/** A processor that sends each request to the endpoint that a picker chooses. */
export function pickProcessor(parts: ProcessorParts): RequestProcessor {
  const { picker, addresses, clock, metrics } = parts;

  /** The endpoints that a request may go to, with their addresses as they are now. */
  const candidates = async (subset: ReadonlySet<string> | undefined) => {
    const byId = new Map<string, string>();
    await Promise.all(
      picker.endpoints.map(async (info) => {
        const address = await addresses.of(info);
        if (address !== undefined && (!subset || subset.has(address))) byId.set(info.id, address);
      }),
    );
    return byId;
  };

  const routed = (
    endpoints: readonly EndpointInfo[],
    byId: ReadonlyMap<string, string>,
    picked: Picked | undefined,
  ): Processing => {
    const list = endpoints.flatMap(({ id }) => byId.get(id) ?? []).join(",");
    const first = endpoints[0]?.id ?? "";
    let over = false;
    const ended = (endpoint: string, end: PickEnd): void => {
      if (!over) metrics?.ended(endpoint, end);
      over = true;
    };
    return {
      kind: "routed",
      headers: { [destinationKey]: list },
      metadata: { [destinationNamespace]: { [destinationKey]: list } },
      replied(reply) {
        const failure = failureOf(reply);
        if (failure) {
          picked?.failed(failure);
          ended(first, "failed");
        } else {
          const { headers, attributes, metadata } = reply;
          const served = metadata[destinationNamespace]?.[servedKey] ?? attributes["upstream.address"];
          const endpoint = [...byId].find(([, address]) => address === served)?.[0];
          picked?.answered({
            status: Number(headers[":status"] ?? 0),
            headers,
            ...(endpoint === undefined ? {} : { endpoint }),
          });
          ended(endpoint ?? first, "answered");
        }
        return {};
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
    const byId = await candidates(subsetOf(metadata));
    const among = ({ id }: EndpointInfo): boolean => byId.has(id);
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
      const picked = await picker.pick(
        {
          ...address,
          ...(variant === undefined ? {} : { variant }),
          bytes: lengthOf(headers),
          among,
          evenLate: aim.evenLate,
        },
        aim.call,
      );
      return routed(picked.endpoints, byId, picked);
    }
    const well = await picker.well(among, address, call);
    if (well.length === 0) {
      throw new LongshoreError("no-endpoint", "plan", "no endpoint that may take the request answers now", {
        retryAfterMs: 1000,
      });
    }
    return routed(well.slice(0, 3), byId, undefined);
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
