import { LongshoreError, type Tensor, type Tensors } from "@longshore/core";
import { collected, eachInputs, portSpecs, renamed, stepInputs } from "@longshore/core/internal";
import type { Transform, TransformSet } from "../transform/index.ts";
import type { ChainResult, ChainStep } from "./lane.ts";

/** Inputs of a chain beside its transforms. */
export interface ChainSurroundings {
  /** Milliseconds, for the times in the result. */
  nowMs(): number;
  /** Called before each step and each element of a `forEach`; throws to stop the chain. */
  check(): void;
}

/** Runs chains of transforms in the thread that calls it. Parsed parameters are remembered by identity of their object. */
export interface ChainRunner {
  run(
    chain: readonly ChainStep[],
    values: Tensors,
    keep: readonly string[],
    surroundings: ChainSurroundings,
  ): Promise<ChainResult>;
}

/** A transform that failed for a reason of its own, under the one error class. */
function failure(thrown: unknown, step: ChainStep): LongshoreError {
  if (LongshoreError.is(thrown)) return thrown;
  if (thrown instanceof RangeError && /allocation|array length|typed array/iu.test(thrown.message)) {
    return new LongshoreError(
      "memory-limit",
      "execute",
      `step ${step.id} (${step.transform}) needs more memory than there is`,
      { cause: thrown },
    );
  }
  return LongshoreError.from(thrown, "execute", `step ${step.id} (${step.transform})`);
}

/** Makes a runner over the given transforms. */
export function chainRunner(transforms: TransformSet): ChainRunner {
  const parsed = new WeakMap<object, Map<Transform<unknown>, unknown>>();

  function parametersOf(transform: Transform<unknown>, parameters: ChainStep["parameters"]): unknown {
    if (typeof parameters !== "object" || parameters === null) return transform.parse(parameters);
    const known = parsed.get(parameters) ?? new Map<Transform<unknown>, unknown>();
    parsed.set(parameters, known);
    if (!known.has(transform)) known.set(transform, transform.parse(parameters));
    return known.get(transform);
  }

  async function runStep(step: ChainStep, values: Tensors, check: () => void): Promise<Tensors> {
    const transform = transforms.get(step.transform);
    if (!transform) {
      throw new LongshoreError(
        "invalid-configuration",
        "execute",
        `step ${step.id} names the transform ${step.transform}, which this endpoint does not have`,
      );
    }
    const parameters = parametersOf(transform, step.parameters);
    if (step.forEach === undefined) return transform.run(stepInputs(step, values), parameters);
    const runs: Tensors[] = [];
    for (const inputs of eachInputs(step, values)) {
      check();
      runs.push(await transform.run(inputs, parameters));
    }
    const known = new Map([...values].map(([name, { spec }]) => [name, spec]));
    return collected(runs, transform.specs(portSpecs(step, known), parameters));
  }

  return {
    async run(chain, given, keep, { nowMs, check }) {
      const values = new Map<string, Tensor>(given);
      const tookMs: number[] = [];
      for (const step of chain) {
        check();
        const begunMs = nowMs();
        try {
          for (const [port, tensor] of await runStep(step, values, check)) {
            values.set(`${step.id}.${port}`, renamed(tensor, `${step.id}.${port}`));
          }
        } catch (thrown) {
          throw failure(thrown, step);
        }
        tookMs.push(nowMs() - begunMs);
      }
      const kept = new Map<string, Tensor>();
      for (const name of keep) {
        const tensor = values.get(name);
        if (!tensor) {
          throw new LongshoreError(
            "invalid-configuration",
            "execute",
            `${name} is wanted from a chain of ${chain.map(({ id }) => id).join(", ")}, none of which makes it`,
          );
        }
        const { given: _, ...own } = tensor;
        kept.set(name, own);
      }
      return { values: kept, tookMs };
    },
  };
}
