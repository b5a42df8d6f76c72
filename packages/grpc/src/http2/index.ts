export * from "./frame-words.ts";
export { type Block, HeaderBlocks } from "./header-blocks.ts";
export { headerBlock, noTable } from "./header-writer.ts";
export { type HeaderLimits, HeaderReader } from "./header-reader.ts";
export type { HeaderField } from "./header-table.ts";
export { FrameReader, type FrameTaker, number16, number31, number32 } from "./frame-reader.ts";
