export * from "./datatype.ts";
export * from "./fingerprint.ts";
export * from "./give.ts";
export * from "./half.ts";
export * from "./ragged.ts";
export * from "./release.ts";
export * from "./tensor.ts";
export * from "./views.ts";
