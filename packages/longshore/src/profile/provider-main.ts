/** A process that measures one model on one execution provider: a driver that crashes ends it and nothing else, and its memory is counted alone. */
import { endCut, LongshoreError, startCut, type Tensors } from "@longshore/core";
import { housekeepingCall } from "@longshore/core/internal";
import { onProcessor } from "@longshore/engine";
import { energyCounter, slowProvider, systemClock } from "@longshore/nodejs";
import { goldenFrom } from "../engine/golden-source.ts";
import { defaultRates, openEngine } from "../engine/open-engine.ts";
import { openModel } from "../engine/open-model.ts";
import { sampleTensors } from "./measure.ts";
import type { ProviderFigures, ProviderNews, ProviderOrder } from "./provider-messages.ts";

async function measure(order: ProviderOrder): Promise<ProviderFigures> {
  const { argument, provider, samples: folder, rounds } = order;
  const clock = systemClock();
  const call = housekeepingCall("profile");
  const { store, model } = await openModel(argument);
  if (model === undefined)
    throw new LongshoreError("unknown-model", "resolve", `${argument} is not one model`);
  const others = new Set<string>();
  const { engine, close } = openEngine({
    store,
    providers: [provider],
    tier: "cloud",
    // Instances that want a GPU are measured on the processor, too, for comparison.
    gpuFallback: onProcessor(provider),
    observer: {
      record(event) {
        if (event.kind === "provider-tried" && event.taken && event.provider !== provider)
          others.add(event.provider);
      },
    },
  });
  try {
    const knowledge = await engine.describe(model, undefined, call);
    if (!knowledge) throw new LongshoreError("unknown-model", "resolve", `there is no model ${model}`);
    const { description } = knowledge;
    const { version, digest } = description;
    const pairs = folder === undefined ? ((await goldenFrom(store)(model, version))?.pairs ?? []) : [];
    const inputs: readonly Tensors[] =
      pairs.length > 0
        ? pairs.map((pair) => pair.inputs)
        : await sampleTensors(engine, description, folder, call);
    const variant = description.variants[0]?.name ?? "";
    const segment = { model, version, digest, variant, from: startCut, to: endCut };
    const run = async (one: Tensors): Promise<Tensors> =>
      (await engine.infer({ segment, inputs: one, codecs: {} }, call)).outputs;
    const before = process.memoryUsage.rss();
    const startedMs = clock.nowMs();
    const [first] = inputs;
    if (first) await run(first);
    const firstAnswerMs = clock.nowMs() - startedMs;
    if (others.size > 0) {
      const what = `the model runs on ${[...others].join(", ")} as its configuration says: take providers out of model.yaml to compare others`;
      throw new LongshoreError("unsupported", "execute", what);
    }
    const answers: Tensors[] = [];
    // Sizes that were not seen are prepared by their first run.
    for (const one of inputs) answers.push(await run(one));
    const counter = await energyCounter();
    const energyBefore = await counter?.readMillijoules();
    const processorBefore = process.cpuUsage();
    const runMs: number[] = [];
    for (let round = 0; round < rounds; round++) {
      for (const one of inputs) {
        const beganMs = clock.nowMs();
        await run(one);
        runMs.push(clock.nowMs() - beganMs);
      }
    }
    const { user, system } = process.cpuUsage(processorBefore);
    const processorMs = (user + system) / 1000 / runMs.length;
    const energyAfter = await counter?.readMillijoules();
    const slow = slowProvider(provider);
    const measured =
      energyBefore === undefined || energyAfter === undefined
        ? undefined
        : { millijoules: (energyAfter - energyBefore) / runMs.length, label: "measured" as const };
    // Nothing tells what an accelerator draws; one in software computes on the processor.
    const estimated =
      onProcessor(provider) || slow !== undefined
        ? { millijoules: processorMs * defaultRates.activeWatts, label: "estimated" as const }
        : undefined;
    return {
      firstAnswerMs,
      runMs,
      processorMs,
      memoryBytes: Math.max(0, process.memoryUsage.rss() - before),
      energy: measured ?? estimated,
      inputs: pairs.length > 0 ? "golden" : folder === undefined ? "random" : "samples",
      answers,
      golden: pairs.map((pair) => pair.outputs),
      ...(slow === undefined ? {} : { slow }),
    };
  } finally {
    await close();
  }
}

const tell = (news: ProviderNews): void => {
  process.send?.(news, () => process.exit(0));
};

process.once("message", (order: ProviderOrder) => {
  measure(order).then(
    (figures) => tell({ kind: "measured", ...figures }),
    (thrown: unknown) =>
      tell({ kind: "failed", message: LongshoreError.from(thrown, "execute", "measuring").message }),
  );
});
// Its parent is gone.
process.once("disconnect", () => process.exit(1));
