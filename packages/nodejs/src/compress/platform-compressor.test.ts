import { deflateRawSync } from "node:zlib";
import { compressorContract } from "@longshore/testkit";
import { expect, it } from "vitest";
import { platformCompressor } from "./platform-compressor.ts";

compressorContract("zlib of Node.js", platformCompressor);

it.each([100, 40_000])("refuses bytes after the end of a stream of %i bytes", async (size) => {
  const body = Buffer.concat([deflateRawSync(new Uint8Array(size)), Uint8Array.of(0)]);
  await expect(platformCompressor().inflate(body, size)).rejects.toThrow("bytes follow its end");
});
