import { bytesTensor, LongshoreError, type Random, type Tensor } from "@longshore/core";
import { elementBytes, elementCount, housekeepingCall } from "@longshore/core/internal";
import type { GraphBody, WarmUp } from "../repository/index.ts";
import type { Scheduler } from "./scheduler-interface.ts";

/**
 * Runs a graph's warm-ups before it is served: the first runs of a session allocate, tune and compile, and no request
 * should pay for that. Each sample runs on every instance, all of them at a time. A sample that fails is a model that
 * would fail requests, so the load fails with it.
 */
export async function warmUpInstances(graph: GraphBody, scheduler: Scheduler, random: Random): Promise<void> {
  for (const sample of graph.warmUps) {
    for (let round = 0; round < sample.count; round++) {
      const runs = Array.from({ length: scheduler.instances }, () =>
        runSample(graph, sample, scheduler, random),
      );
      await Promise.all(runs);
    }
  }
}

async function runSample(
  graph: GraphBody,
  { name, inputs }: WarmUp,
  scheduler: Scheduler,
  random: Random,
): Promise<void> {
  const feeds = new Map<string, Tensor>();
  // Inputs that the engine fills in (state, controls) are zeros here unless the sample says otherwise.
  for (const spec of graph.signature.inputs) {
    const given = inputs.find((one) => one.spec.name === spec.name);
    const filled = [...graph.states, ...graph.controls].some(({ input }) => input === spec.name);
    if (given) feeds.set(spec.name, contentOf(given, random));
    else if (filled) {
      const state = graph.states.find(({ input }) => input === spec.name);
      const shape = state?.shape ?? spec.shape.map((size) => (size === -1 ? 1 : size));
      feeds.set(spec.name, contentOf({ spec: { ...spec, shape }, content: "zeros" }, random));
    }
  }
  try {
    await scheduler.run(feeds, [], { ...housekeepingCall("warm-up"), tenant: "warm-up" });
  } catch (thrown) {
    const error = LongshoreError.from(thrown, "execute", "warming up");
    throw new LongshoreError(
      error.reason,
      error.stage,
      `warm-up ${JSON.stringify(name)} of model ${graph.model} failed: ${error.message}`,
      { cause: error },
    );
  }
}

function contentOf({ spec, content }: WarmUp["inputs"][number], random: Random): Tensor {
  const { name, datatype, shape } = spec;
  if (content instanceof Uint8Array) return { spec, bytes: new Uint8Array(content) };
  const count = elementCount(shape, name);
  if (datatype === "BYTES") {
    return bytesTensor(
      name,
      Array.from({ length: count }, () => ""),
      shape,
    );
  }
  const width = elementBytes(datatype);
  const bytes = new Uint8Array(count * width);
  if (content === "random") fillRandom(bytes, datatype, random);
  return { spec, bytes };
}

/** Fractions from 0 to 1 for floats, and 0 or 1 for everything that may be an index or a flag. */
function fillRandom(bytes: Uint8Array, datatype: Tensor["spec"]["datatype"], random: Random): void {
  if (datatype === "FP32") {
    const values = new Float32Array(bytes.buffer);
    for (let index = 0; index < values.length; index++) values[index] = random.next();
  } else if (datatype === "FP64") {
    const values = new Float64Array(bytes.buffer);
    for (let index = 0; index < values.length; index++) values[index] = random.next();
  } else if (datatype !== "FP16" && datatype !== "BF16") {
    const width = elementBytes(datatype);
    for (let index = 0; index < bytes.length; index += width) bytes[index] = random.next() < 0.5 ? 0 : 1;
  } else {
    // 0x3000 to 0x37ff lies between 0 and 1 in both formats of 16 bits.
    const values = new Uint16Array(bytes.buffer);
    for (let index = 0; index < values.length; index++)
      values[index] = 0x3000 + Math.floor(random.next() * 0x7ff);
  }
}
