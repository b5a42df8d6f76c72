export { allowedPlans, fixedPlans } from "./allowed-plans.ts";
export * from "./crowd.ts";
export { mean, sortedQuantile, wayFigures } from "./figures.ts";
export * from "./profiled-model.ts";
export * from "./scenario-file.ts";
export * from "./simulate.ts";
export * from "./simulation.ts";
export * from "./simulation-of.ts";
export { type SimulatedRun, simulationReport, waysTable } from "./simulation-report.ts";
