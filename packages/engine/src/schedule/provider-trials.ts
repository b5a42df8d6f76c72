import { type Call, LongshoreError, type Random, type Tensors } from "@longshore/core";
import { difference, sameBody, similarBody } from "@longshore/core/internal";
import type { Artifact, InferenceSession, LoadOptions, Runtime } from "../runtime/index.ts";
import { randomTensor, sizesToTry } from "./invariance.ts";

/** Inputs whose answers tell whether a provider computes what the processor computes. */
export type GoldenSamples = (model: string, version: string) => Promise<readonly Tensors[]>;

/** Decides whether an execution provider may run a model, before it does. */
export interface ProviderTrials {
  /**
   * Loads the model with the provider - in a process of its own where the runtime has one - and compares its answers with those of the
   * processor, on golden inputs of the model where they fit the graph, else on random ones. The outcome is kept for as long as this object lives.
   * Random inputs are not what the model was trained for, so answers to them may lie further apart than golden ones.
   * Throws `unsupported` where the provider does not load the model, ends its process, or gives other answers.
   */
  check(
    runtime: Runtime,
    provider: string,
    of: { readonly model: string; readonly version: string },
    artifact: Artifact,
    options: LoadOptions,
    call: Call,
  ): Promise<void>;
}

export function providerTrials(random: Random, golden?: GoldenSamples): ProviderTrials {
  /** Why not, by runtime, provider and content; undefined where nothing speaks against it. */
  const outcomes = new Map<string, Promise<string | undefined>>();
  return {
    async check(runtime, provider, { model, version }, artifact, options, call) {
      const key = `${runtime.name} ${provider} ${artifact.digest}`;
      let outcome = outcomes.get(key);
      if (!outcome) {
        const samples = golden?.(model, version).catch((): readonly Tensors[] => []);
        outcome = tried(runtime, provider, artifact, options, random, (await samples) ?? [], call);
        outcomes.set(key, outcome);
        // A call that ended says nothing about the provider.
        outcome.catch(() => outcomes.delete(key));
      }
      const why = await outcome;
      if (why === undefined) return;
      throw new LongshoreError("unsupported", "execute", `execution provider ${provider}: ${why}`);
    },
  };
}

async function tried(
  runtime: Runtime,
  provider: string,
  artifact: Artifact,
  options: LoadOptions,
  random: Random,
  golden: readonly Tensors[],
  call: Call,
): Promise<string | undefined> {
  try {
    const there = await (runtime.trial ?? runtime).load(
      artifact,
      { ...options, providers: [provider] },
      call,
    );
    try {
      const here = await runtime.load(artifact, { ...options, providers: ["cpu"] }, call);
      try {
        return await compared(here, there, golden, random, call);
      } finally {
        await here.release();
      }
    } finally {
      await there.release();
    }
  } catch (thrown) {
    if (call.abort.aborted) throw thrown;
    return LongshoreError.from(thrown, "execute", `trying ${provider}`).message;
  }
}

/** Why the answers differ. Undefined where they do not, and where no inputs were found with which the processor runs the model. */
async function compared(
  here: InferenceSession,
  there: InferenceSession,
  golden: readonly Tensors[],
  random: Random,
  call: Call,
): Promise<string | undefined> {
  const fitting = golden.filter((inputs) => fits(here, inputs));
  const made = fitting.length > 0 ? fitting : sizesToTry.map((size) => madeUp(here, size, random));
  for (const inputs of made) {
    const meant = await here.run(inputs, [], call).catch((thrown: unknown) => {
      if (LongshoreError.is(thrown) && (thrown.reason === "run-failed" || thrown.reason === "invalid-input"))
        return undefined;
      throw thrown;
    });
    if (!meant) continue;
    const tolerance = fitting.length > 0 ? sameBody : similarBody;
    const why = difference(meant, await there.run(inputs, [], call), tolerance);
    if (why !== undefined) return `its answers are not those of the processor: ${why}`;
    // Random inputs of one size tell as much as those of another.
    if (fitting.length === 0) return undefined;
  }
  return undefined;
}

/** Golden inputs are those of the model, which may do more than this graph. */
function fits({ inputs }: InferenceSession, given: Tensors): boolean {
  return (
    given.size === inputs.length &&
    inputs.every(({ name, datatype, shape }) => {
      const spec = given.get(name)?.spec;
      return (
        spec?.datatype === datatype &&
        spec.shape.length === shape.length &&
        shape.every((size, axis) => size === -1 || size === spec.shape[axis])
      );
    })
  );
}

/** Random numbers are this large: a network trained on real inputs turns large ones into sharp maxima that any rounding moves. */
const modest = 0.1;

function madeUp({ inputs }: InferenceSession, size: number, random: Random): Tensors {
  return new Map(
    inputs.map(({ name, datatype, shape }) => {
      const sizes = shape.map((one, axis) => (one === -1 ? (axis === 0 ? 1 : size) : one));
      return [name, randomTensor(name, datatype, sizes, modest, random)];
    }),
  );
}
