import { LongshoreError } from "../../words/base/index.ts";
import { type RouteEntry, wireRoutes } from "./route-table.ts";
import type { ModelAddress, Route } from "./route-table.ts";

/** The most bytes of one probe. */
export const maxProbeBytes = 131_072;

/** The path of a model: `/v2/models/{m}[/versions/{v}[/variants/{variant}]]`. */
export function modelPath({ model, version, variant }: ModelAddress): string {
  const versions = version === undefined ? "" : `/versions/${encodeURIComponent(version)}`;
  const variants = variant === undefined ? "" : `/variants/${encodeURIComponent(variant)}`;
  return `/v2/models/${encodeURIComponent(model)}${versions}${variants}`;
}

/** The path on which a segment of a model runs, or is loaded. */
export function segmentPath(
  address: Required<ModelAddress>,
  from: string,
  to: string,
  verb: "infer" | "prepare" = "infer",
): string {
  return `${modelPath(address)}/segments/${from}..${to}/${verb}`;
}

const safeName = /^[^\p{Cc}/\\]{1,256}$/u;
const cutName = /^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$/;

function unknownRoute(): LongshoreError {
  return new LongshoreError("unknown-route", "admission", "there is nothing at this path");
}

/** A name out of a path: no separators, no control characters, no way up. */
function nameFrom(segment: string): string {
  let name: string;
  try {
    name = decodeURIComponent(segment);
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

function cutFrom(segment: string): string {
  if (!cutName.test(segment)) {
    throw new LongshoreError(
      "unknown-cut",
      "admission",
      "a cut is named by letters, digits, '.', '_' and '-'",
    );
  }
  return segment;
}

/** One pattern of the table with the verbs that it has. */
interface Pattern {
  readonly segments: readonly string[];
  readonly entries: readonly RouteEntry[];
}

/** Patterns by their number of segments: few are left to compare. */
const patterns: ReadonlyMap<number, readonly Pattern[]> = /* @__PURE__ */ ((): ReadonlyMap<
  number,
  readonly Pattern[]
> => {
  const byPath = new Map<string, RouteEntry[]>();
  for (const entry of wireRoutes) byPath.set(entry.path, [...(byPath.get(entry.path) ?? []), entry]);
  const byLength = new Map<number, Pattern[]>();
  for (const [path, entries] of byPath) {
    const segments = path.split("/");
    byLength.set(segments.length, [...(byLength.get(segments.length) ?? []), { segments, entries }]);
  }
  return byLength;
})();

const twoCuts = "{from}..{to}";

function fits(pattern: string, segment: string): boolean {
  if (pattern === twoCuts) return segment.split("..").length === 2;
  return pattern.startsWith("{") || pattern === segment;
}

function patternOf(
  path: string,
): { readonly pattern: Pattern; readonly segments: readonly string[] } | undefined {
  const segments = path.split("/");
  const pattern = patterns
    .get(segments.length)
    ?.find((one) => one.segments.every((word, index) => fits(word, segments[index] ?? "")));
  return pattern && { pattern, segments };
}

/** The names that stand in a path, checked. */
function namesIn(pattern: Pattern, segments: readonly string[]): Readonly<Record<string, string>> {
  const names: Record<string, string> = {};
  for (const [index, word] of pattern.segments.entries()) {
    if (!word.startsWith("{")) continue;
    const segment = segments[index] ?? "";
    if (word === twoCuts) {
      const [from = "", to = ""] = segment.split("..");
      names["from"] = cutFrom(from);
      names["to"] = cutFrom(to);
    } else if (word === "{to}") {
      names["to"] = cutFrom(segment);
    } else {
      names[word.slice(1, -1)] = nameFrom(segment);
    }
  }
  return names;
}

/** A path without its query. */
function pathOf(target: string): string {
  const at = target.indexOf("?");
  return at < 0 ? target : target.slice(0, at);
}

/** The path of the table that a target fits, such as `/v2/models/{model}/infer`; undefined where there is nothing at the path. */
export function pathPattern(target: string): string | undefined {
  return patternOf(pathOf(target))?.pattern.segments.join("/");
}

function verbsOf(entries: readonly RouteEntry[]): string {
  const verbs = new Set(entries.flatMap(({ method }) => (method === "GET" ? ["GET", "HEAD"] : [method])));
  return [...verbs, "OPTIONS"].join(", ");
}

/** The verbs that a path has, as the header `Allow` lists them; undefined where there is nothing at the path. */
export function allowedMethods(target: string): string | undefined {
  if (target === "*") return verbsOf(wireRoutes);
  const found = patternOf(pathOf(target));
  return found && verbsOf(found.pattern.entries);
}

/**
 * The target of a request. Throws `unknown-route`, `wrong-method`, `unknown-model` for names that cannot be one, and
 * `unknown-cut` likewise. A model called `stats` cannot be addressed without a version; its own routes can.
 */
export function parseRoute(
  method: string,
  target: string,
): { readonly route: Route; readonly query: URLSearchParams } {
  const path = pathOf(target);
  const query = new URLSearchParams(target.slice(path.length + 1));
  if (method === "OPTIONS") {
    const allow = allowedMethods(target);
    if (allow === undefined) throw unknownRoute();
    return { route: { kind: "options", allow }, query };
  }
  const found = patternOf(path);
  if (!found) throw unknownRoute();
  const { pattern, segments } = found;
  const names = namesIn(pattern, segments);
  const verb = method === "HEAD" ? "GET" : method;
  const entry = pattern.entries.find((one) => one.method === verb);
  if (!entry) {
    throw new LongshoreError(
      "wrong-method",
      "admission",
      `${method.slice(0, 32)} does not apply to this path`,
    );
  }
  // Each entry's pattern names the fields of its kind of route; the test of the table holds them together.
  return { route: { kind: entry.kind, ...entry.fixed, ...names } as Route, query };
}
