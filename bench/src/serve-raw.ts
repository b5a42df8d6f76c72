/**
 * The ceiling: ONNX Runtime alone in a loop, in a process held to the same cores as the servers. Told a number of seconds on
 * a line of standard input, it runs the graph for that long and prints runs a second.
 *
 * Arguments: file of the graph, threads, name of the input, its shape as JSON.
 */
import { createInterface } from "node:readline";
import { InferenceSession, Tensor } from "onnxruntime-node";

const [, , file = "", threads = "1", input = "", shapeText = "[]"] = process.argv;
const shape = JSON.parse(shapeText) as number[];
const session = await InferenceSession.create(file, {
  intraOpNumThreads: Number(threads),
  interOpNumThreads: 1,
  extra: { session: { intra_op: { allow_spinning: Number(threads) > 1 ? "1" : "0" } } },
});
const size = shape.reduce((product, one) => product * one, 1);
const values = Float32Array.from({ length: size }, (_, index) => ((index * 37) % 200) / 100 - 1);
const feeds = { [input]: new Tensor("float32", values, shape) };
for (let run = 0; run < 3; run++) await session.run(feeds);
console.log("ready");
for await (const line of createInterface({ input: process.stdin })) {
  const untilMs = performance.now() + Number(line) * 1000;
  const startedMs = performance.now();
  let runs = 0;
  while (performance.now() < untilMs) {
    await session.run(feeds);
    runs++;
  }
  console.log(`${(runs / (performance.now() - startedMs)) * 1000}`);
}
