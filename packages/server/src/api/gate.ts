import { endCut, LongshoreError, startCut, type WireRequest } from "@longshore/core";
import { parseRoute, rightToRun, type Route } from "@longshore/core/internal";
import { demandRight, type Identity, type RouteAccess, routeAccess } from "../identify/index.ts";
import { unknownModel } from "./find-model.ts";

/** The right that a request needs: a part of a model is another matter than a whole one. */
function rightFor(route: Route): RouteAccess["right"] {
  if (route.kind === "infer" || route.kind === "prepare")
    return rightToRun(route.from ?? startCut, route.to ?? endCut);
  return routeAccess[route.kind].right;
}

function demand(identity: Identity, right: RouteAccess["right"]): void {
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
export function createGate(): (identity: Identity, request: WireRequest) => Target {
  const parse = knownRoutes();
  return (identity, request) => admit(identity, request, parse);
}

/** The route of a request, and the right to it. */
interface Target extends ReturnType<typeof parseRoute> {
  readonly right: RouteAccess["right"];
}

/** Paths whose rights are remembered: clients use few paths, again and again. */
const mostPaths = 256;
/** Longer paths are not remembered. */
const longestPath = 256;

/** Parses a target, and remembers those of inferences. */
function knownRoutes(): typeof parsedTarget {
  const known = new Map<string, Target>();
  return (method, target) => {
    const found = method === "POST" ? known.get(target) : undefined;
    if (found) return found;
    const parsed = parsedTarget(method, target);
    if (parsed.route.kind !== "infer" || target.length > longestPath) return parsed;
    const [oldest] = known.keys();
    if (known.size >= mostPaths && oldest !== undefined) known.delete(oldest);
    known.set(target, parsed);
    return parsed;
  };
}

function parsedTarget(method: string, target: string): Target {
  const { route, query } = parseRoute(method, target);
  return { route, query, right: rightFor(route) };
}

function admit(identity: Identity, request: WireRequest, parse: typeof parsedTarget): Target {
  let parsed: Target;
  try {
    parsed = parse(request.method, request.path);
  } catch (thrown) {
    demandSomebody(identity);
    throw thrown;
  }
  const { route, right } = parsed;
  const { surface } = routeAccess[route.kind];
  if (right !== "none") demandSomebody(identity);
  if (surface !== "all" && request.surfaces?.includes(surface) === false) {
    throw new LongshoreError("unknown-route", "admission", "there is nothing at this path");
  }
  demand(identity, right);
  if ("model" in route && route.model !== undefined && identity.sees?.(route.model) === false) {
    throw unknownModel(route.model);
  }
  return parsed;
}
