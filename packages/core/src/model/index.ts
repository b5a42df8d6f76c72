export { checkSingle, checkVariant } from "./check-asked.ts";
export * from "./cut.ts";
export * from "./features.ts";
export * from "./for-each.ts";
export * from "./inputs.ts";
export * from "./model.ts";
export * from "./profile.ts";
export * from "./step-model.ts";
