import { float32Tensor, float32View, LongshoreError, type Tensors, tensorsOf } from "@longshore/core";
import { difference, housekeepingCall, sameBody } from "@longshore/core/internal";
import type { LoadOptions, Runtime } from "@longshore/engine";
import { graphBuilder, writeModel } from "@longshore/graph";
import { onnxRuntime, sha256, systemClock } from "@longshore/nodejs";

const call = housekeepingCall("try-runtime");

/** A model of a few operators and its input. */
interface Trial {
  readonly bytes: Uint8Array;
  readonly inputs: Tensors;
}

/** An answer and the milliseconds until it was there. */
interface Answered {
  readonly outputs: Tensors;
  readonly tookMs: number;
}

async function answered(
  runtime: Runtime,
  { bytes, inputs }: Trial,
  options: LoadOptions = {},
): Promise<Answered> {
  const clock = systemClock();
  const startedMs = clock.nowMs();
  const digest = await sha256(bytes);
  const artifact = {
    digest,
    byteLength: bytes.byteLength,
    bytes: () => Promise.resolve(bytes.slice()),
  };
  const session = await runtime.load(artifact, options, call);
  const outputs = await session.run(inputs, ["y"], call);
  const tookMs = clock.nowMs() - startedMs;
  await session.release();
  return { outputs, tookMs };
}

/** y = x + x. */
function sum(): Trial {
  const build = graphBuilder();
  const x = build.input("x", "FP32", [1, 2]);
  build.output(build.node("Add", [x, x], { outputs: ["y"] }), "FP32", [1, 2]);
  return {
    bytes: writeModel(build.model({ name: "doctor" })),
    inputs: tensorsOf(float32Tensor("x", [1, 2], Float32Array.of(1, 2))),
  };
}

/** Numbers between -1 and 1 that are the same each time. */
const numbers = (count: number): Float32Array =>
  Float32Array.from({ length: count }, (_, at) => Math.sin(at * 12.9898));

/** A convolution, a multiplication of matrices and a softmax: what most networks consist of. */
function network(): Trial {
  const build = graphBuilder();
  const x = build.input("x", "FP32", [1, 4, 16, 16]);
  const filters = build.weights("filters", "FP32", [8, 4, 3, 3], numbers(8 * 4 * 9));
  const weights = build.weights("weights", "FP32", [256, 10], numbers(256 * 10));
  const convolved = build.node("Conv", [x, filters], { attributes: { pads: { ints: [1, 1, 1, 1] } } });
  const flat = build.node("MaxPool", [build.node("Relu", [convolved])], {
    attributes: { kernel_shape: { ints: [2, 2] }, strides: { ints: [2, 2] } },
  });
  const shape = build.weights("shape", "INT64", [2], BigInt64Array.of(2n, 256n));
  const rows = build.node("Reshape", [flat, shape]);
  const scores = build.node("MatMul", [rows, weights]);
  build.output(build.node("Softmax", [scores], { outputs: ["y"] }), "FP32", [2, 10]);
  return {
    bytes: writeModel(build.model({ name: "doctor", opset: 13 })),
    inputs: tensorsOf(float32Tensor("x", [1, 4, 16, 16], numbers(4 * 16 * 16))),
  };
}

/**
 * Loads and runs y = x + x, built here, so that nothing but the runtime is examined. Returns the milliseconds until the first answer. Closes
 * the runtime.
 */
export async function tryRuntime(runtime: Runtime): Promise<number> {
  try {
    const { outputs, tookMs } = await answered(runtime, sum());
    const y = outputs.get("y");
    if (!y || float32View(y).join() !== "2,4")
      throw new LongshoreError("run-failed", "execute", "1 + 1 is not 2 here");
    return tookMs;
  } finally {
    await runtime.close();
  }
}

/**
 * Loads and runs a small network with an execution provider, in a process of its own, so that a driver that crashes ends nothing else, and compares its
 * answer with that of the processor. Returns the milliseconds until the first answer. Throws `unsupported` where the provider does not work here.
 *
 * @param runtime Closed afterwards. Default: ONNX Runtime with this provider.
 */
export async function tryProvider(
  provider: string,
  runtime: Runtime = onnxRuntime({ providers: [provider] }),
): Promise<number> {
  try {
    const trial = network();
    const { outputs, tookMs } = await answered(runtime.trial ?? runtime, trial, { providers: [provider] });
    const here = await answered(runtime, trial, { providers: ["cpu"] });
    const why = difference(here.outputs, outputs, sameBody);
    if (why !== undefined)
      throw new LongshoreError("run-failed", "execute", `its answers are not those of the processor: ${why}`);
    return tookMs;
  } catch (thrown) {
    const why = LongshoreError.from(thrown, "execute", `trying ${provider}`);
    throw new LongshoreError("unsupported", "execute", why.message, { cause: why });
  } finally {
    await runtime.close();
  }
}
