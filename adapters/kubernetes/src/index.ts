/**
 * Kubernetes as a directory: the pods of an InferencePool, or the addresses behind services. Both are watched, so that a change is known
 * within a moment, and survive an API server that restarts or forgets.
 *
 * @module
 */
export {
  type ListQuery,
  type KubernetesApi,
  type KubernetesObject,
  type ListPage,
  type WatchEvent,
} from "./api.ts";
export { connectKubernetes, type ClusterOptions } from "./connect.ts";
export type { EndpointTerms } from "./pods.ts";
export { poolSource, type PoolSourceOptions, type KubernetesPoolState } from "./pool-source.ts";
export { serversLabel, serviceSource, type ServiceSourceOptions } from "./service-source.ts";
