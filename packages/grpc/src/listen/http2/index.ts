export { maxFrameBytes } from "./client-settings.ts";
export { Http2Connection } from "./connection.ts";
export { codes } from "./frame-words.ts";
