import { float32Tensor, give, tensorsOf } from "@longshore/core";
import { housekeepingCall } from "@longshore/core/internal";
import type { InferenceSession, Runtime } from "@longshore/engine";
import { expect, it } from "vitest";
import { recordingRuntime } from "./recording-runtime.ts";

const call = housekeepingCall("recording");
const session: InferenceSession = {
  inputs: [],
  outputs: [],
  run: async (feeds) => feeds,
  idle: async () => undefined,
  release: async () => undefined,
};
const inner: Runtime = { name: "echo", load: async () => session, close: async () => undefined };

it("keeps some of many feeds, as copies of its own", async () => {
  const recorder = recordingRuntime(inner, { feeds: 8 });
  const artifact = { digest: "sha256:a", byteLength: 0, bytes: async () => new Uint8Array() };
  const loaded = await recorder.load(artifact, {}, call);
  for (let at = 0; at < 50; at++) {
    const given = give(float32Tensor("x", [1], Float32Array.of(at)));
    await loaded.run(tensorsOf(given), [], call);
    given.bytes.fill(0);
  }
  const { feeds, runs } = recorder.recorded("sha256:a");
  expect(runs).toBe(50);
  const values = feeds.map((one) => new Float32Array(one.get("x")!.bytes.slice().buffer)[0]);
  expect(values).toEqual([0, 8, 16, 24, 32, 40, 48]);
  for (const one of feeds) expect(Object.keys(one.get("x")!).sort()).toEqual(["bytes", "spec"]);
  expect(recorder.recorded("sha256:other")).toEqual({ feeds: [], runs: 0 });
});
