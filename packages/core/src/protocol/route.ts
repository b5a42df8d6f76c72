import { LongshoreError } from "../base/index.ts";

/** Which model a path is about. */
export interface ModelAddress {
  readonly model: string;
  readonly version?: string;
  readonly variant?: string;
}

/** Everything that the protocol addresses. */
export type Route =
  | { readonly kind: "live" | "ready" | "server" | "index" | "metrics" | "probe" }
  | ({ readonly kind: "stats" } & Partial<ModelAddress>)
  | ({ readonly kind: "model" | "model-ready" | "config" | "offers" } & ModelAddress)
  | { readonly kind: "load" | "unload"; readonly model: string }
  | ({ readonly kind: "infer"; readonly from?: string; readonly to?: string } & ModelAddress)
  | {
      readonly kind: "head";
      readonly model: string;
      readonly version: string;
      readonly variant: string;
      readonly to: string;
    };

/** Takes bytes that only measure the link: they are read, dropped and answered with nothing. */
export const probePath = "/v2/probe";

/** The most bytes of one probe. */
export const maxProbeBytes = 131_072;

/** The path of a model: `/v2/models/{m}[/versions/{v}[/variants/{variant}]]`. */
export function modelPath({ model, version, variant }: ModelAddress): string {
  const versions = version === undefined ? "" : `/versions/${encodeURIComponent(version)}`;
  const variants = variant === undefined ? "" : `/variants/${encodeURIComponent(variant)}`;
  return `/v2/models/${encodeURIComponent(model)}${versions}${variants}`;
}

/** The path on which a segment of a model runs. */
export function segmentPath(address: Required<ModelAddress>, from: string, to: string): string {
  return `${modelPath(address)}/segments/${from}..${to}/infer`;
}

const safeName = /^[^\p{Cc}/\\]{1,256}$/u;
const cutName = /^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$/;

function unknownRoute(): LongshoreError {
  return new LongshoreError("unknown-route", "admission", "there is nothing at this path");
}

/** A name out of a path: no separators, no control characters, no way up. */
function nameFrom(segment: string | undefined): string {
  let name: string;
  try {
    name = decodeURIComponent(segment ?? "");
  } catch {
    throw unknownRoute();
  }
  if (!safeName.test(name) || name === "." || name === "..") {
    throw new LongshoreError(
      "unknown-model",
      "admission",
      "the name in the path is not one that a model can have",
    );
  }
  return name;
}

function cutFrom(segment: string | undefined): string {
  if (segment === undefined || !cutName.test(segment)) {
    throw new LongshoreError(
      "unknown-cut",
      "admission",
      "a cut is named by letters, digits, '.', '_' and '-'",
    );
  }
  return segment;
}

function onModel(rest: readonly string[]): Route | undefined {
  const model = nameFrom(rest[0]);
  const versioned = rest[1] === "versions";
  const address: ModelAddress = { model, ...(versioned ? { version: nameFrom(rest[2]) } : {}) };
  const tail = rest.slice(versioned ? 3 : 1);
  const [what, name, next, , ...more] = tail;
  if (tail.length === 0) return { kind: "model", ...address };
  if (tail.length === 1) {
    if (what === "ready") return { kind: "model-ready", ...address };
    if (what === "config" || what === "stats" || what === "infer" || what === "offers") {
      return { kind: what, ...address };
    }
    return undefined;
  }
  if (what !== "variants" || address.version === undefined) return undefined;
  const variant = nameFrom(name);
  const { version } = address;
  if (tail.length === 3 && next === "infer") return { kind: "infer", ...address, variant };
  if (tail.length === 4 && next === "head")
    return { kind: "head", model, version, variant, to: cutFrom(tail[3]) };
  if (tail.length === 5 && next === "segments" && more[0] === "infer") {
    const cuts = (tail[3] ?? "").split("..");
    if (cuts.length !== 2) throw unknownRoute();
    return { kind: "infer", ...address, variant, from: cutFrom(cuts[0]), to: cutFrom(cuts[1]) };
  }
  return undefined;
}

function onRepository(rest: readonly string[]): Route | undefined {
  if (rest.length === 1 && rest[0] === "index") return { kind: "index" };
  if (rest.length === 3 && rest[0] === "models" && (rest[2] === "load" || rest[2] === "unload")) {
    return { kind: rest[2], model: nameFrom(rest[1]) };
  }
  return undefined;
}

function routeOf(path: string): Route | undefined {
  if (path === "/v2" || path === "/v2/") return { kind: "server" };
  if (path === "/metrics") return { kind: "metrics" };
  if (path === probePath) return { kind: "probe" };
  const [root, version, room, ...rest] = path.split("/");
  if (root !== "" || version !== "v2") return undefined;
  if (room === "health" && rest.length === 1 && (rest[0] === "live" || rest[0] === "ready")) {
    return { kind: rest[0] };
  }
  if (room === "repository") return onRepository(rest);
  if (room !== "models" || rest.length === 0) return undefined;
  if (rest.length === 1 && rest[0] === "stats") return { kind: "stats" };
  return onModel(rest);
}

const posts: readonly Route["kind"][] = ["infer", "index", "load", "unload", "probe"];

/**
 * What a request is about. Throws `unknown-route`, `wrong-method`, `unknown-model` for names that cannot be one, and
 * `unknown-cut` likewise. A model called `stats` cannot be addressed without a version; its own routes can.
 */
export function parseRoute(
  method: string,
  target: string,
): { readonly route: Route; readonly query: URLSearchParams } {
  const at = target.indexOf("?");
  const path = at < 0 ? target : target.slice(0, at);
  const route = routeOf(path);
  if (!route) throw unknownRoute();
  const wanted = posts.includes(route.kind) ? method === "POST" : method === "GET" || method === "HEAD";
  if (!wanted) {
    throw new LongshoreError("wrong-method", "admission", `${method} does not apply to this path`);
  }
  return { route, query: new URLSearchParams(at < 0 ? "" : target.slice(at + 1)) };
}
