export { controlPlane, type ControlPlane } from "./cluster.ts";
export { cacheFolder, Unavailable } from "./cache.ts";
export { collector } from "./otel.ts";
export { keda, type Keda } from "./keda.ts";
export { keycloak } from "./keycloak.ts";
export { must, run, type Ended, type RunOptions } from "./run.ts";
export type { DebianTools } from "./debian.ts";
export { quantise, type Quantised, type QuantiseInput, type QuantiseRequest } from "./quantise.ts";
export type { PythonTools } from "./python.ts";
export {
  chromium,
  envoy,
  helm,
  imageRoot,
  installAll,
  h2spec,
  kserve,
  litserve,
  loadGenerators,
  mlserver,
  monitoringTools,
  type MonitoringTools,
  nameServer,
  natsServer,
  openIdProvider,
  perfAnalyzer,
  podman,
  quantiser,
  registryServer,
  schemathesis,
  softwareGpu,
  tritonClient,
  tritonServer,
  type Program,
} from "./tools.ts";
