export * from "./cache.ts";
export * from "./fetch-package.ts";
export * from "./package-store.ts";
export * from "./kept-manifests.ts";
export * from "./told-packages.ts";
