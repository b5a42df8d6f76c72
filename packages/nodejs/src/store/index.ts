export * from "./folder-store.ts";
export * from "./sha256.ts";
export { stateKey } from "./state-key.ts";
export { verdictFolder } from "./verdict-folder.ts";
