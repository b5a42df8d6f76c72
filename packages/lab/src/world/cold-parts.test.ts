import { expect, it } from "vitest";
import { tensorOf } from "@longshore/core";
import { loadingParts } from "../fixtures/loading-parts.ts";
import { endpointInfo, toyModel } from "../fixtures/toy-model.ts";
import { constantTrace } from "../trace/index.ts";
import { offloadWorld } from "./index.ts";

const x = tensorOf("x", "UINT8", [1, 100_000], new Uint8Array(100_000));
const loadMs = 700;

it("no request waits for a head to load here if the whole model is loaded, nor for the part after it elsewhere", async () => {
  const trace = constantTrace(5e6);
  const { loads, wrap } = loadingParts(loadMs);
  // A device of 100 ms, and an edge box ten times as quick on a link that is too thin for the input.
  const { clock, offloader } = offloadWorld({
    models: [toyModel()],
    seed: 5,
    device: { speed: 1, info: endpointInfo("device", "device") },
    endpoints: [{ info: endpointInfo("edge", "edge"), speed: 10, up: trace, down: trace, delayMs: 5 }],
    defaults: { dataClass: "public" },
    wrap,
  });
  await clock.runUntil(offloader.infer("toy", { x }, { zones: ["device"] }));
  const answers: { readonly tookMs: number; readonly where: string }[] = [];
  for (let request = 0; request < 40; request++) {
    const dueMs = clock.nowMs() + 250;
    answers.push(await clock.runUntil(offloader.infer("toy", { x })));
    await clock.advance(Math.max(0, dueMs - clock.nowMs()));
  }
  expect(answers.at(-1)?.where).toBe("edge");
  expect(loads.filter((one) => one.startsWith("device")).length).toBeGreaterThan(1);
  expect(Math.max(...answers.map(({ tookMs }) => tookMs))).toBeLessThan(loadMs / 2);
});
