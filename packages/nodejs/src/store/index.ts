export * from "./folder-store.ts";
export * from "./sha256.ts";
