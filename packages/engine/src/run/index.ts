export { type Action, actionsOf, dropsOf, type ModelAction, modelActions, type Part } from "./actions.ts";
export { type ElementBudget, elementBudget } from "./element-budget.ts";
export { stateName } from "./model-step.ts";
export { type PipelineRoom, pipelineRoom } from "./pipeline-room.ts";
export type { SegmentRun } from "./run-action.ts";
export { runAnswers, runSegment, type SegmentResult } from "./run-segment.ts";
