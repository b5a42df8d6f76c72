export { type EnvoyOptions, startEnvoy } from "./envoy.ts";
export { startKserve } from "./kserve.ts";
export { startLitserve } from "./litserve.ts";
export { command, type OwnServerOptions, startGateway, startLongshore, startOwn } from "./longshore.ts";
export { startMlserver } from "./mlserver.ts";
export { type PickedEnvoy, startPickedEnvoy } from "./pick.ts";
export { freePort, type ServerProcess, startServerProcess, usageOf } from "./process.ts";
export type { RunningPeer, ServedModel, ServerEndpoint, Spread } from "./served-model.ts";
export { scripts, startTriton, startTritonPython, type TritonOptions } from "./triton.ts";
