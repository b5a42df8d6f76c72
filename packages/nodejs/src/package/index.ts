export * from "./cache.ts";
export * from "./fetch-package.ts";
export * from "./folder-packages.ts";
export * from "./oci-packages.ts";
export * from "./package-store.ts";
export * from "./kept-manifests.ts";
export * from "./listed-packages.ts";
