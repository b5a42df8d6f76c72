export { platformCompressor } from "./platform-compressor.ts";
