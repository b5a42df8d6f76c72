export { canonicalJson } from "./canonical.ts";
export * from "./signed.ts";
