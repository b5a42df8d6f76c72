import { float32Tensor, float32View, LongshoreError, tensorsOf } from "@longshore/core";
import { housekeepingCall } from "@longshore/core/internal";
import type { LoadOptions, Runtime } from "@longshore/engine";
import { graphBuilder, writeModel } from "@longshore/graph";
import { onnxRuntime, sha256, systemClock } from "@longshore/nodejs";

/**
 * Loads and runs y = x + x, built here, so that nothing but the runtime is examined. Returns the milliseconds until the first answer. Closes
 * the runtime.
 */
export async function tryRuntime(runtime: Runtime, options: LoadOptions = {}): Promise<number> {
  const call = housekeepingCall("try-runtime");
  const clock = systemClock();
  try {
    const build = graphBuilder();
    const x = build.input("x", "FP32", [1, 2]);
    build.output(build.node("Add", [x, x], { outputs: ["y"] }), "FP32", [1, 2]);
    const bytes = writeModel(build.model({ name: "doctor" }));
    const startedMs = clock.nowMs();
    const session = await runtime.load(
      {
        digest: await sha256(bytes),
        byteLength: bytes.byteLength,
        bytes: () => Promise.resolve(bytes.slice()),
      },
      options,
      call,
    );
    const outputs = await session.run(
      tensorsOf(float32Tensor("x", [1, 2], Float32Array.of(1, 2))),
      ["y"],
      call,
    );
    const y = outputs.get("y");
    await session.release();
    if (!y || float32View(y).join() !== "2,4")
      throw new LongshoreError("run-failed", "execute", "1 + 1 is not 2 here");
    return clock.nowMs() - startedMs;
  } finally {
    await runtime.close();
  }
}

/**
 * Loads and runs a model of one operator with an execution provider, in a process of its own, so that a driver that crashes ends nothing else.
 * Returns the milliseconds until the first answer. Throws `unsupported` where the provider does not work here.
 */
export async function tryProvider(provider: string): Promise<number> {
  const runtime = onnxRuntime({ providers: [provider] });
  try {
    return await tryRuntime(runtime.trial ?? runtime, { providers: [provider] });
  } catch (thrown) {
    const why = LongshoreError.from(thrown, "execute", `trying ${provider}`);
    throw new LongshoreError("unsupported", "execute", why.message, { cause: why });
  } finally {
    await runtime.close();
  }
}
