import { compressorContract } from "@longshore/testkit";
import { expect, it } from "vitest";
import { platformCompressor } from "./platform-compressor.ts";

compressorContract("DecompressionStream", platformCompressor);

it("does not compress, so that codecs send plain levels", () => {
  expect(platformCompressor().deflate).toBeUndefined();
});
