import { setTimeout as pause } from "node:timers/promises";
import { type Offloader, float32Tensor, float32View } from "longshore";

/** The outcome of the steps of some sequences. */
export interface Steps {
  readonly right: number;
  /** Totals in which a step counts twice. */
  readonly doubled: number;
  readonly wrong: number;
  readonly errors: number;
  readonly lost: number;
  /** An example of what was not right; empty where all was. */
  readonly why: string;
}

/** All of both. */
export function added(one: Steps, other: Steps): Steps {
  return {
    right: one.right + other.right,
    doubled: one.doubled + other.doubled,
    wrong: one.wrong + other.wrong,
    errors: one.errors + other.errors,
    lost: one.lost + other.lost,
    why: one.why || other.why,
  };
}

const patienceMs = 10_000;
const restMs = 40;
const stepsOfOne = 25;

/**
 * Sequences of a running total, one after another, until stopped: each step adds a number of its own, so a step that ran twice,
 * or not at all, shows in every total after it.
 */
export async function totals(offloader: Offloader, seed: number, until: () => boolean): Promise<Steps> {
  const steps = { right: 0, doubled: 0, wrong: 0, errors: 0, lost: 0, why: "" };
  for (let round = 0; !until(); round++) {
    await using sequence = offloader.sequence("total", { deadlineMs: 5000, dataClass: "internal" });
    let meant = 0;
    for (let step = 0; step < stepsOfOne && !until(); step++) {
      // Whole numbers that single precision adds exactly.
      const value = 1 + ((seed + 31 * round + 7 * step) % 97);
      meant += value;
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<"lost">((resolve) => (timer = setTimeout(() => resolve("lost"), patienceMs)));
      const asked = sequence.next({ x: float32Tensor("x", [1, 1], Float32Array.of(value)) });
      try {
        const result = await Promise.race([asked, late]);
        if (result === "lost") {
          steps.lost++;
          break;
        }
        const y = result.outputs.get("total");
        const total = y ? float32View(y)[0] : undefined;
        if (total === meant) steps.right++;
        else if (total === meant + value) steps.doubled++;
        else steps.wrong++;
        if (total !== meant) steps.why = `${total} for ${meant}`;
        // The totals after a wrong one are wrong, too, and say nothing.
        if (total !== meant) break;
      } catch (thrown) {
        steps.errors++;
        steps.why = thrown instanceof Error ? thrown.message : String(thrown);
        // If no server is reachable, an immediate next sequence would keep all other work from running.
        await pause(restMs);
        break;
      } finally {
        clearTimeout(timer);
      }
      await pause(restMs);
    }
  }
  return steps;
}
