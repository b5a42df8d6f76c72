import { expect, it } from "vitest";
import {
  float32Tensor,
  float32View,
  LongshoreError,
  type LongshoreEvent,
  seededRandom,
  tensorsOf,
  type Tensor,
  type TensorSpec,
} from "@longshore/core";
import { housekeepingCall } from "@longshore/core/internal";
import {
  doubleInfo,
  manualClock,
  memoryFile,
  memoryRuntime,
  memorySource,
  memoryStore,
  oneStage,
  sha256Of,
} from "@longshore/testkit";
import { createEngine } from "../execute/engine.ts";
import { inlineLane } from "../lane/inline-lane.ts";
import type { Runtime } from "../runtime/index.ts";
import { pureTransforms, transformSet } from "../transform/index.ts";

const fp32 = (name: string, ...shape: number[]): TensorSpec => ({ name, datatype: "FP32", shape });
const call = housekeepingCall("test");

/** Faults planted in a provider. */
interface Planted {
  /** Why it does not load anything. */
  readonly missing?: string;
  /** It ends its process when it loads. */
  readonly crashes?: true;
  /** Factor by which its answers differ from the right ones. */
  readonly factor?: number;
}

interface WorldOptions {
  readonly providers?: readonly string[];
  readonly planted?: Readonly<Record<string, Planted>>;
  readonly slow?: readonly string[];
  readonly known?: readonly string[];
  readonly yaml?: string;
  readonly pbtxt?: string;
  readonly gpuFallback?: boolean;
}

/** An engine over one runtime with execution providers, of which some are broken. */
function world(options: WorldOptions) {
  const { providers = ["gpu", "cpu"], planted = {}, slow = [], yaml, pbtxt } = options;
  const clock = manualClock();
  const loads: string[] = [];
  const models = {
    double: oneStage([fp32("x", -1, 2)], [fp32("y", -1, 2)], 10, (feeds) => {
      const x = feeds.get("x")!;
      return tensorsOf(
        float32Tensor(
          "y",
          x.spec.shape,
          float32View(x).map((value) => value * 2),
        ),
      );
    }),
  };
  const inner = memoryRuntime({ models, clock });
  const runtimeOf = (where: string): Runtime => ({
    name: "memory",
    providers,
    ...(options.known ? { known: options.known } : {}),
    slowHere: (provider) => (slow.includes(provider) ? "its adapter is software" : undefined),
    async load(artifact, { providers: [provider = "none"] = [], ...rest }, own) {
      loads.push(`${provider} ${where}`);
      const { missing, crashes, factor = 1 } = planted[provider] ?? {};
      if (crashes) {
        const reason = where === "trial" ? "runtime-crashed" : "internal";
        throw new LongshoreError(reason, "execute", "the model's process ended without an answer (SIGSEGV)");
      }
      if (missing !== undefined) throw new LongshoreError("run-failed", "execute", missing);
      const session = await inner.load(artifact, rest, own);
      return {
        ...session,
        provider,
        async run(...asked) {
          const outputs = new Map<string, Tensor>();
          for (const [name, tensor] of await session.run(...asked)) {
            const values = float32View(tensor).map((value) => value * factor);
            outputs.set(name, float32Tensor(name, tensor.spec.shape, values));
          }
          return outputs;
        },
      };
    },
    close: () => Promise.resolve(),
  });
  const events: LongshoreEvent[] = [];
  const transforms = transformSet(...pureTransforms());
  const engine = createEngine({
    info: doubleInfo,
    store: memoryStore({
      "double/1/model.onnx": memoryFile("double"),
      ...(yaml === undefined ? {} : { "double/model.yaml": yaml }),
      ...(pbtxt === undefined ? {} : { "double/config.pbtxt": pbtxt }),
    }),
    source: memorySource(models),
    runtimes: [{ ...runtimeOf("here"), trial: runtimeOf("trial") }],
    transforms,
    lane: inlineLane(transforms, clock),
    clock,
    random: seededRandom(1),
    observer: { record: (event) => void events.push(event) },
    sha256: sha256Of,
    ...(options.gpuFallback ? { gpuFallback: true } : {}),
  });
  const infer = () =>
    clock.finish(
      engine.infer(
        {
          segment: { model: "double", version: "", digest: "", variant: "", from: "start", to: "end" },
          inputs: tensorsOf(float32Tensor("x", [1, 2], Float32Array.of(1, 2))),
          codecs: {},
        },
        call,
      ),
    );
  const tried = () =>
    events.flatMap((event) =>
      event.kind === "provider-tried"
        ? [
            `${event.provider} ${event.taken ? "taken" : "passed over"}${event.why === undefined ? "" : `: ${event.why}`}`,
          ]
        : [],
    );
  const provider = async () => {
    const { account, outputs } = await infer();
    expect([...float32View(outputs.get("y")!)]).toEqual([2, 4]);
    return account.stages.find(({ stage }) => stage === "run")?.provider ?? "processor";
  };
  return { loads, tried, provider, infer, index: () => engine.index() };
}

it("takes the first provider whose answers are those of the processor, after a trial in a process of its own", async () => {
  const { provider, tried, loads } = world({});
  expect(await provider()).toBe("gpu");
  expect(loads).toEqual(["gpu trial", "cpu here", "gpu here"]);
  expect(tried()).toEqual(["gpu taken"]);
});

it.each([
  ["is missing", { missing: "no such library" }, "no such library"],
  ["ends its process at load", { crashes: true }, "ended without an answer"],
  ["computes wrong", { factor: 1.3 }, "its answers are not those of the processor"],
] as const)("passes over a provider that %s, and says why", async (_what, plant, why) => {
  const { provider, tried, loads } = world({ planted: { gpu: plant } });
  expect(await provider()).toBe("processor");
  expect(tried()).toEqual([expect.stringContaining(why), "cpu taken"]);
  expect(loads).not.toContain("gpu here");
});

it("tries an emulated accelerator after the processor, unless the model asks for a GPU", async () => {
  const plain = world({ slow: ["gpu"] });
  expect(await plain.provider()).toBe("processor");
  expect(plain.tried()).toEqual(["gpu passed over: its adapter is software", "cpu taken"]);
  const asking = world({ slow: ["gpu"], pbtxt: 'backend: "onnxruntime" instance_group { kind: KIND_GPU }' });
  expect(await asking.provider()).toBe("gpu");
});

it("runs instances on the processors that their kinds name", async () => {
  const cpu = world({ pbtxt: 'backend: "onnxruntime" instance_group { kind: KIND_CPU }' });
  expect(await cpu.provider()).toBe("processor");
  const both = world({ yaml: "instances: [{ count: 1, kind: gpu }, { count: 1, kind: cpu }]" });
  expect(await both.provider()).toBe("gpu+cpu");
});

it("takes the providers of model.yaml before those of the server", async () => {
  const { provider, loads } = world({ providers: ["cpu"], yaml: "providers: [other, cpu]" });
  expect(await provider()).toBe("other");
  expect(loads[0]).toBe("other trial");
});

it("refuses a model that wants a GPU where none works, and falls back where that is allowed", async () => {
  const pbtxt = 'backend: "onnxruntime" instance_group { kind: KIND_GPU }';
  const broken = { pbtxt, planted: { gpu: { missing: "no such library" } } };
  await expect(world(broken).infer()).rejects.toMatchObject({
    reason: "unsupported",
    message: expect.stringContaining("execution provider gpu: no such library") as string,
  });
  await expect(world({ pbtxt, providers: ["cpu"] }).infer()).rejects.toMatchObject({
    reason: "invalid-configuration",
    message: expect.stringContaining("--providers") as string,
  });
  expect(await world({ ...broken, gpuFallback: true }).provider()).toBe("cpu");
});

it("says in log, index and account that the processor runs a model that asks for a GPU", async () => {
  const pbtxt = 'backend: "onnxruntime" instance_group { kind: KIND_GPU }';
  const { infer, tried, index } = world({ pbtxt, providers: ["cpu"], gpuFallback: true });
  const { account } = await infer();
  expect(account.stages).toContainEqual(expect.objectContaining({ stage: "run", provider: "cpu" }));
  expect(tried()).toEqual(["cpu taken: the model asks for a GPU, and --gpu-fallback is set"]);
  expect(await index()).toEqual([
    expect.objectContaining({
      state: "ready",
      reason: "it asks for a GPU and runs on the processor (--gpu-fallback)",
    }),
  ]);
});

it.each([
  [
    "a GPU that is not there",
    "instances: [{ count: 1, kind: gpu }]",
    "no execution provider for one is configured",
  ],
  [
    "a provider that does not exist",
    "providers: [bogus, cpu]",
    "names bogus, which is no execution provider",
  ],
])("knows before the first request that a model wants %s", async (_what, yaml, why) => {
  const { index, infer } = world({ yaml, providers: ["cpu"], known: ["cpu", "gpu"] });
  const reason = expect.stringContaining(why) as string;
  expect(await index()).toEqual([{ name: "double", version: "1", state: "unavailable", reason }]);
  await expect(infer()).rejects.toMatchObject({ reason: "invalid-configuration", message: reason });
});

it.each(["providers: []", "providers: [CUDA]", "providers: cuda"])(
  "refuses model.yaml with %s",
  async (yaml) => {
    await expect(world({ yaml }).infer()).rejects.toMatchObject({
      reason: "invalid-configuration",
      message: expect.stringContaining("providers") as string,
    });
  },
);
