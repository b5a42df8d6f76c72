export * from "./link-proxy.ts";
