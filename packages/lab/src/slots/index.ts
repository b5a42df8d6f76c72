export * from "./service.ts";
export { sharedProcessor } from "./shared-processor.ts";
export { stepSlots } from "./step-slots.ts";
