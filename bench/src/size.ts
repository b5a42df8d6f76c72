import { gzipSync } from "node:zlib";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import type { Bench, Measured, Row } from "./harness.ts";

const entries: Readonly<Record<string, string>> = {
  // The bundle of a page that only runs models elsewhere.
  remoteClientGzipKb: 'export { connect } from "@longshore/web";',
  // The same with codecs for its inputs, beside it for comparison.
  remoteClientWithCodecsGzipKb:
    'export { connect } from "@longshore/web"; export { codecSet, fp16Codec, int8Codec, rawCodec, uint8Codec } from "@longshore/core";',
};

/** The bytes that a browser downloads for a remote-only client: one minified module of the built packages, gzipped. */
export const bench: Bench = {
  name: "size",
  about: "what a browser downloads, minified by esbuild and compressed by gzip -9, in thousands of bytes",
  bars: { remoteClientGzipKb: { atMost: 30 } },
  async run(context): Promise<Measured> {
    const rows: Row[] = [];
    const figures: Record<string, number> = {};
    for (const [figure, contents] of Object.entries(entries)) {
      const { outputFiles, metafile } = await build({
        stdin: { contents, resolveDir: fileURLToPath(new URL(".", import.meta.url)) },
        bundle: true,
        minify: true,
        format: "esm",
        platform: "browser",
        write: false,
        metafile: true,
      });
      const bytes = outputFiles[0]?.contents ?? new Uint8Array();
      const gzipBytes = gzipSync(bytes, { level: 9 }).byteLength;
      figures[figure] = gzipBytes / 1000;
      context.say(`${figure}: ${bytes.byteLength} bytes minified, ${gzipBytes} gzipped`);
      for (const output of Object.values(metafile.outputs)) {
        for (const [file, { bytesInOutput }] of Object.entries(output.inputs)) {
          if (bytesInOutput > 0)
            rows.push({ figure, file: file.replace(/^.*packages\//, ""), bytesInOutput });
        }
      }
      rows.push({ figure, file: "all", bytesInOutput: bytes.byteLength, gzipBytes });
    }
    return { figures, rows };
  },
};
