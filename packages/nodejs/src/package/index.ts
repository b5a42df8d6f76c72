export * from "./cache.ts";
export * from "./fetch-package.ts";
export * from "./package-store.ts";
