/**
 * Everything that the protocol addresses, as one table: it routes, it says which verbs a path has, and the server's OpenAPI
 * document is made from it, so that the three cannot differ.
 */

/** The purpose of a verb on a path. */
export interface RouteEntry {
  readonly kind: Exclude<Route["kind"], "options">;
  /** `GET` also answers `HEAD`. */
  readonly method: "GET" | "POST";
  /** With `{name}` where a name stands, and `{from}..{to}` where two cuts stand. */
  readonly path: string;
  /** The values that the path implies. */
  readonly fixed?: Readonly<Record<string, string>>;
  /** A request that clients send and no server here can serve: it is answered, but not listed in the OpenAPI document. */
  readonly refused?: true;
}

/** Takes bytes that only measure the link: they are read, dropped and answered with nothing. */
export const probePath = "/v2/probe";

const model = "/v2/models/{model}";
const version = "/v2/models/{model}/versions/{version}";
const variant = "/v2/models/{model}/versions/{version}/variants/{variant}";

function onBoth(kind: RouteEntry["kind"], method: RouteEntry["method"], tail: string): readonly RouteEntry[] {
  return [
    { kind, method, path: `${model}${tail}` },
    { kind, method, path: `${version}${tail}` },
  ];
}

function sharedMemory(memory: "system" | "cuda"): readonly RouteEntry[] {
  const root = `/v2/${memory}sharedmemory`;
  const fixed = { memory };
  const refused = memory === "cuda" ? ({ refused: true } as const) : {};
  return [
    { kind: "shared-status", method: "GET", path: `${root}/status`, fixed },
    { kind: "shared-status", method: "GET", path: `${root}/region/{region}/status`, fixed },
    { kind: "shared-register", method: "POST", path: `${root}/region/{region}/register`, fixed, ...refused },
    { kind: "shared-unregister", method: "POST", path: `${root}/unregister`, fixed },
    { kind: "shared-unregister", method: "POST", path: `${root}/region/{region}/unregister`, fixed },
  ];
}

/** The table. A fixed word comes before a name at the same position. Clients do not need the table: it is marked as free of effects, so that bundlers drop it. */
export const wireRoutes: readonly RouteEntry[] = /* @__PURE__ */ ((): readonly RouteEntry[] => [
  { kind: "server", method: "GET", path: "/v2" },
  { kind: "server", method: "GET", path: "/v2/" },
  { kind: "live", method: "GET", path: "/v2/health/live" },
  { kind: "ready", method: "GET", path: "/v2/health/ready" },
  // The names that Kubernetes and balancers use.
  { kind: "live", method: "GET", path: "/healthz" },
  { kind: "live", method: "GET", path: "/livez" },
  { kind: "ready", method: "GET", path: "/readyz" },
  { kind: "stats", method: "GET", path: "/v2/models/stats" },
  ...onBoth("model", "GET", ""),
  ...onBoth("model-ready", "GET", "/ready"),
  ...onBoth("config", "GET", "/config"),
  ...onBoth("stats", "GET", "/stats"),
  ...onBoth("infer", "POST", "/infer"),
  ...onBoth("generate", "POST", "/generate"),
  ...onBoth("generate-stream", "POST", "/generate_stream"),
  ...onBoth("offers", "GET", "/offers"),
  ...onBoth("explain", "GET", "/explain"),
  ...onBoth("sequence", "GET", "/sequence"),
  { kind: "infer", method: "POST", path: `${variant}/infer` },
  { kind: "infer", method: "POST", path: `${variant}/segments/{from}..{to}/infer` },
  { kind: "prepare", method: "POST", path: `${variant}/segments/{from}..{to}/prepare` },
  { kind: "head", method: "GET", path: `${variant}/head/{to}` },
  { kind: "index", method: "POST", path: "/v2/repository/index" },
  { kind: "load", method: "POST", path: "/v2/repository/models/{model}/load" },
  { kind: "unload", method: "POST", path: "/v2/repository/models/{model}/unload" },
  { kind: "log-settings", method: "GET", path: "/v2/logging" },
  { kind: "set-log-settings", method: "POST", path: "/v2/logging" },
  { kind: "trace-settings", method: "GET", path: "/v2/trace/setting" },
  { kind: "set-trace-settings", method: "POST", path: "/v2/trace/setting" },
  { kind: "trace-settings", method: "GET", path: `${model}/trace/setting` },
  { kind: "set-trace-settings", method: "POST", path: `${model}/trace/setting` },
  ...sharedMemory("system"),
  ...sharedMemory("cuda"),
  { kind: "package", method: "GET", path: `${model}/package` },
  { kind: "package", method: "GET", path: "/v2/packages/{package}" },
  { kind: "package-file", method: "GET", path: "/v2/packages/{package}/files/{file}" },
  { kind: "directory", method: "GET", path: "/v2/directory" },
  { kind: "directory-join", method: "POST", path: "/v2/directory/join" },
  { kind: "directory-leave", method: "POST", path: "/v2/directory/leave" },
  { kind: "directory-lease", method: "POST", path: "/v2/directory/lease" },
  { kind: "rollouts", method: "GET", path: "/v2/rollouts" },
  { kind: "rollout", method: "GET", path: "/v2/rollouts/{model}" },
  { kind: "rollout-change", method: "POST", path: "/v2/rollouts/{model}" },
  { kind: "probe", method: "POST", path: probePath },
  { kind: "openapi", method: "GET", path: "/v2/openapi.json" },
  { kind: "metrics", method: "GET", path: "/metrics" },
])();

/** Which model a path is about. */
export interface ModelAddress {
  readonly model: string;
  readonly version?: string;
  readonly variant?: string;
}

/** Everything that the protocol addresses. */
export type Route =
  | { readonly kind: "live" | "ready" | "server" | "index" | "metrics" | "probe" | "openapi" }
  | { readonly kind: "log-settings" | "set-log-settings" }
  /** The package of a model, or of a digest. */
  | { readonly kind: "package"; readonly model?: string; readonly package?: string }
  | { readonly kind: "package-file"; readonly package: string; readonly file: string }
  | { readonly kind: "directory" | "directory-join" | "directory-leave" | "directory-lease" }
  | { readonly kind: "rollouts" }
  /** `model` is the alias, at the position of a model's name. */
  | { readonly kind: "rollout" | "rollout-change"; readonly model: string }
  | { readonly kind: "trace-settings" | "set-trace-settings"; readonly model?: string }
  | ({ readonly kind: "stats" } & Partial<ModelAddress>)
  | ({ readonly kind: "model" | "model-ready" | "config" | "offers" | "explain" | "sequence" } & ModelAddress)
  | ({ readonly kind: "generate" | "generate-stream" } & ModelAddress)
  | { readonly kind: "load" | "unload"; readonly model: string }
  | ({ readonly kind: "infer"; readonly from?: string; readonly to?: string } & ModelAddress)
  | ({ readonly kind: "prepare"; readonly from: string; readonly to: string } & Required<ModelAddress>)
  | {
      readonly kind: "head";
      readonly model: string;
      readonly version: string;
      readonly variant: string;
      readonly to: string;
    }
  | {
      readonly kind: "shared-status" | "shared-register" | "shared-unregister";
      readonly memory: "system" | "cuda";
      /** Undefined for all regions. */
      readonly region?: string;
    }
  /** The verbs of a path. */
  | { readonly kind: "options"; readonly allow: string };
