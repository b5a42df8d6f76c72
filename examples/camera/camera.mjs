// A camera that sees faster than the model reads: the newest frame replaces the one that waits, and every dropped frame is
// reported.
//   node examples/camera/camera.mjs
import { readFile } from "node:fs/promises";
import { setTimeout as after } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { openOffloader } from "longshore";

const path = (name) => fileURLToPath(new URL(`../../samples/${name}`, import.meta.url));

/** Stands for a camera: a frame every 200 ms. */
async function* camera(frames) {
  const shots = await Promise.all(
    ["receipt-1", "shelf-1", "receipt-2"].map((name) => readFile(path(`inputs/images/${name}.jpg`))),
  );
  for (let frame = 0; frame < frames; frame++) {
    yield { image: new Uint8Array(shots[frame % shots.length]) };
    await after(200);
  }
}

const offloader = await openOffloader({
  repository: path("repository"),
  servers: process.env["EDGE"] ? [process.env["EDGE"]] : [],
});
const limits = { keep: "latest", maxInFlight: 2, deadlineMs: 60_000 };
for await (const one of offloader.stream("ocr", camera(12), limits)) {
  if (one.kind === "answered") {
    const lines = one.result.outputs.get("text").spec.shape[0];
    console.log(`frame ${one.frame}: ${lines} lines, ${one.result.where}`);
  } else if (one.kind === "dropped") console.log(`frame ${one.frame}: ${one.count} dropped (${one.why})`);
  else console.log(`frame ${one.frame}: failed, ${one.error.message}`);
}
await offloader.close();
