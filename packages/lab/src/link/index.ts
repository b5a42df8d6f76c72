export * from "./emulated-link.ts";
export * from "./emulated-transport.ts";
