import type { Surface } from "@longshore/core";
import type { Route } from "@longshore/core/internal";
import type { Right } from "./identity.ts";

/** Where a route is served, and which right it needs. */
export interface RouteAccess {
  /** `all`: on every listener. */
  readonly surface: Surface | "all";
  /** `none` is open to all, with or without credentials; `any` requires at least one right. */
  readonly right: Right | "none" | "any";
}

/** Every kind of route, so that a new one cannot be forgotten here. */
export const routeAccess: Readonly<Record<Route["kind"], RouteAccess>> = {
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
  sequence: { surface: "data", right: "infer" },
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
