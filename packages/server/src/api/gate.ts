import { endCut, LongshoreError, startCut, type Surface, type WireRequest } from "@longshore/core";
import { parseRoute, rightToRun, type Route } from "@longshore/core/internal";
import { demandRight, type Identity, type Right } from "../identify/index.ts";
import { unknownModel } from "./find-model.ts";

/** Where a route is served, and which right it needs. */
interface RouteFacts {
  /** `all`: on every listener. */
  readonly surface: Surface | "all";
  /** `none` is open to all, with or without credentials; `any` requires at least one right. */
  readonly right: Right | "none" | "any";
}

/** Every kind of route, so that a new one cannot be forgotten here. */
const facts: Readonly<Record<Route["kind"], RouteFacts>> = {
  // Balancers and probes have no credentials, and learn one bit.
  live: { surface: "all", right: "none" },
  ready: { surface: "all", right: "none" },
  server: { surface: "all", right: "any" },
  model: { surface: "data", right: "infer" },
  "model-ready": { surface: "data", right: "infer" },
  config: { surface: "data", right: "infer" },
  stats: { surface: "data", right: "infer" },
  offers: { surface: "data", right: "infer" },
  explain: { surface: "data", right: "infer" },
  infer: { surface: "data", right: "infer" },
  prepare: { surface: "data", right: "infer" },
  generate: { surface: "data", right: "infer" },
  "generate-stream": { surface: "data", right: "infer" },
  probe: { surface: "data", right: "infer" },
  head: { surface: "data", right: "head:read" },
  package: { surface: "data", right: "model:read" },
  "package-file": { surface: "data", right: "model:read" },
  directory: { surface: "data", right: "directory:read" },
  "directory-join": { surface: "data", right: "directory:join" },
  "directory-leave": { surface: "data", right: "directory:join" },
  "directory-lease": { surface: "data", right: "directory:join" },
  index: { surface: "manage", right: "manage" },
  load: { surface: "manage", right: "manage" },
  unload: { surface: "manage", right: "manage" },
  rollouts: { surface: "manage", right: "manage" },
  rollout: { surface: "manage", right: "manage" },
  "rollout-change": { surface: "manage", right: "manage" },
  "log-settings": { surface: "manage", right: "manage" },
  "set-log-settings": { surface: "manage", right: "manage" },
  "trace-settings": { surface: "manage", right: "manage" },
  "set-trace-settings": { surface: "manage", right: "manage" },
  "shared-status": { surface: "manage", right: "manage" },
  "shared-register": { surface: "manage", right: "manage" },
  "shared-unregister": { surface: "manage", right: "manage" },
  metrics: { surface: "observe", right: "observe" },
  openapi: { surface: "all", right: "any" },
  options: { surface: "all", right: "any" },
};

/** The right that a request needs: a part of a model is another matter than a whole one. */
function rightFor(route: Route): RouteFacts["right"] {
  if (route.kind === "infer" || route.kind === "prepare")
    return rightToRun(route.from ?? startCut, route.to ?? endCut);
  return facts[route.kind].right;
}

function demand(identity: Identity, right: RouteFacts["right"]): void {
  if (right === "none" || (right === "any" && identity.rights.size > 0)) return;
  demandRight(identity, right === "any" ? "infer" : right);
}

/** Refuses unidentified senders everything but health, so that they learn neither paths nor models. */
function demandSomebody(identity: Identity): void {
  if (identity.known === false && identity.rights.size === 0) demandRight(identity, "infer");
}

/**
 * Stands between identity and everything else: parses the route, and checks the sender's right to it on the listener of the request. A
 * model that the sender may not see gets the same error as a missing one. Throws what `parseRoute` throws, `unauthenticated`,
 * `not-permitted`, `unknown-route` and `unknown-model`.
 */
export function createGate(): (identity: Identity, request: WireRequest) => Parsed {
  const parse = knownRoutes();
  return (identity, request) => admit(identity, request, parse);
}

type Parsed = ReturnType<typeof parseRoute>;

/** Paths whose rights are remembered: clients use few paths, again and again. */
const mostPaths = 256;
/** Longer paths are not remembered. */
const longestPath = 256;

/** A `parseRoute` that caches the routes of inferences. */
function knownRoutes(): typeof parseRoute {
  const known = new Map<string, Parsed>();
  return (method, target) => {
    const found = method === "POST" ? known.get(target) : undefined;
    if (found) return found;
    const parsed = parseRoute(method, target);
    if (parsed.route.kind !== "infer" || target.length > longestPath) return parsed;
    const [oldest] = known.keys();
    if (known.size >= mostPaths && oldest !== undefined) known.delete(oldest);
    known.set(target, parsed);
    return parsed;
  };
}

function admit(identity: Identity, request: WireRequest, parse: typeof parseRoute): Parsed {
  let parsed: Parsed;
  try {
    parsed = parse(request.method, request.path);
  } catch (thrown) {
    demandSomebody(identity);
    throw thrown;
  }
  const { route } = parsed;
  const { surface } = facts[route.kind];
  if (rightFor(route) !== "none") demandSomebody(identity);
  if (surface !== "all" && request.surfaces?.includes(surface) === false) {
    throw new LongshoreError("unknown-route", "admission", "there is nothing at this path");
  }
  demand(identity, rightFor(route));
  if ("model" in route && route.model !== undefined && identity.sees?.(route.model) === false) {
    throw unknownModel(route.model);
  }
  return parsed;
}
