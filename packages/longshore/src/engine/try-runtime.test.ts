import { expect, it } from "vitest";
import { float32Tensor, float32View, LongshoreError } from "@longshore/core";
import type { Runtime } from "@longshore/engine";
import { onnxRuntime } from "@longshore/nodejs";
import { tryProvider } from "./try-runtime.ts";

/** ONNX Runtime whose trials run on the processor under another name, with answers this many times as large. */
function planted(factor: number): Runtime {
  const inner = onnxRuntime();
  const trial: Runtime = {
    name: "planted",
    async load(artifact, options, call) {
      const session = await inner.load(artifact, { ...options, providers: ["cpu"] }, call);
      const run: typeof session.run = async (...asked) =>
        new Map(
          Array.from(await session.run(...asked), ([name, tensor]) => [
            name,
            float32Tensor(
              name,
              tensor.spec.shape,
              float32View(tensor).map((value) => value * factor),
            ),
          ]),
        );
      return {
        ...session,
        inputs: session.inputs,
        outputs: session.outputs,
        run,
        release: () => session.release(),
      };
    },
    close: () => Promise.resolve(),
  };
  return { ...inner, trial };
}

it("takes a provider that computes what the processor computes", async () => {
  expect(await tryProvider("other", planted(1))).toBeGreaterThan(0);
});

it("refuses a provider that computes wrong, one that crashes, and one that is not there", async () => {
  const tried = (runtime?: Runtime): Promise<string> =>
    tryProvider("cuda", runtime).then(
      () => "it works",
      (thrown: unknown) =>
        LongshoreError.is(thrown) ? `${thrown.reason}: ${thrown.message}` : String(thrown),
    );
  expect(await tried(planted(1.1))).toMatch(/^unsupported: its answers are not those of the processor/);
  const crashed = new LongshoreError("runtime-crashed", "execute", "the process ended (SIGSEGV)");
  const trial: Runtime = {
    name: "crashing",
    load: () => Promise.reject(crashed),
    close: () => Promise.resolve(),
  };
  expect(await tried({ ...onnxRuntime(), trial })).toBe("unsupported: the process ended (SIGSEGV)");
});
