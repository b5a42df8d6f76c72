// A device that knows only an edge box. The edge box has one model; for all others it forwards to the cloud. Start both first:
//   longshore serve samples/repository --tier cloud --id cloud --zone eu/de --port 8100
//   longshore serve samples/repository --model-control explicit --load-model anomaly --tier edge --id edge --zone eu/de/store-7 \
//     --port 8000 --at http://127.0.0.1:8100 --at-zone eu/de
//   node examples/edge-and-cloud/device.mjs
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { openOffloader, textElements } from "longshore";

const offloader = await openOffloader({
  servers: [
    {
      address: process.env["EDGE"] ?? "http://127.0.0.1:8000",
      tier: "edge",
      zone: "eu/de",
      trust: "operated",
    },
  ],
});
const limits = { dataClass: "internal", zones: ["eu"], deadlineMs: 60_000 };

/** The way of a request: the edge box, and what it forwarded to. */
const wayOf = ({ where, accounts }) =>
  [where, ...accounts.flatMap((one) => one.forwarded.map(({ endpoint }) => endpoint))].join(" > ");

const readings = new Float32Array(32 * 4096);
const judged = await offloader.infer("anomaly", { readings }, limits);
console.log(`anomaly ran at ${wayOf(judged)}`);

const image = new Uint8Array(
  await readFile(fileURLToPath(new URL("../../samples/inputs/images/receipt-1.jpg", import.meta.url))),
);
const read = await offloader.infer("ocr", { image }, limits);
console.log(`ocr ran at ${wayOf(read)}: ${textElements(read.outputs.get("text"))[0]}`);
await offloader.close();
