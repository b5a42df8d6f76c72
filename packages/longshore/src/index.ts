/**
 * Inference offloading for Node.js: one call decides for every request where a machine-learning inference runs - here, on
 * an edge server, in a cloud, or split between them - and runs it there.
 *
 * @module
 */
export {
  type Answer,
  type Availability,
  type Credentials,
  type Infeasible,
  type Inputs,
  isInfeasible,
  type Limits,
  type NamedInputs,
  type Only,
  type Outputs,
  type OutputTensor,
  LongshoreError,
  type OffloadDefaults,
  type Offloader,
  type Plan,
  type Policy,
  type Reason,
  type Result,
  type Sequence,
  standardPolicy,
  type StepLimits,
  tablePolicy,
  type Tensor,
  type Tensors,
  float32Tensor,
  float32View,
  typedView,
  tensorOf,
  textElements,
} from "@longshore/core";
export {
  type DirectoryOptions,
  type DirectoryOpening,
  openDirectory,
  type OpenedRegistry,
  openRegistry,
  type RegistryOptions,
} from "./connect/directory.ts";
export type { JoinOptions } from "./connect/join.ts";
export type { ServerOptions } from "./connect/server-options.ts";
export type { ServerTls } from "./connect/server-tls.ts";
export { gateway, type GatewayOptions } from "./compose/forwarding.ts";
export type { ListenersOptions, TlsFiles } from "./compose/listeners.ts";
export type { RuntimeName } from "./engine/open-engine.ts";
export { openModel, type OpenedModel } from "./engine/open-model.ts";
export { openOffloader } from "./compose/open-offloader.ts";
export { type OpenOptions } from "./compose/open-options.ts";
export type { Online, OnlineOptions } from "./compose/put-online.ts";
export { type RunningServer, serve, type ServeFolderOptions, type ServeOptions } from "./compose/serve.ts";
