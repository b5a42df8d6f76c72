/**
 * Functions that profile and compare models on this machine, for benches and for tools that advise.
 *
 * @module
 */
export { type Effort, measuredModel, type MeasuredModel } from "./advise/measured-model.ts";
export { platformCodecs } from "./engine/codecs.ts";
export { wholeMs } from "./profile/merge-profile.ts";
export { answerAgreement, sampleTensors } from "./profile/measure.ts";
export { type OpenedEngine, openEngine } from "./engine/open-engine.ts";
export { recordingRuntime } from "./profile/recording-runtime.ts";
export { radioTowards } from "./compose/device-radio.ts";
export { dial, serverInfo } from "./connect/dial.ts";
export { type DemoEndpoint, startEndpoint } from "./demo/endpoint.ts";
export { profiledStore } from "./demo/profiled-store.ts";
