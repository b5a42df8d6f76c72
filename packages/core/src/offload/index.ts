export * from "./offloader.ts";
