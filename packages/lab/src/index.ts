/**
 * The laboratory: recorded and synthetic networks, links that follow them, a world on a virtual clock, a TCP relay
 * and reports. Everything is seeded and replays.
 *
 * @module
 */
export * from "./fleet/index.ts";
export * from "./link/index.ts";
export * from "./proxy/index.ts";
export * from "./report/index.ts";
export * from "./simulate/index.ts";
export * from "./trace/index.ts";
export { fifoSlots, type Slots, type StepWork } from "./slots/index.ts";
export * from "./world/index.ts";
