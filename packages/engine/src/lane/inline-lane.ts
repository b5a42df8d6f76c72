import { type Clock, LongshoreError, type Tensor, type Tensors } from "@longshore/core";
import { checkCall, UnderWay, untilAborted } from "@longshore/core/internal";
import type { TransformSet } from "../transform/index.ts";
import { chainRunner } from "./chain.ts";
import type { Lane } from "./lane.ts";

/** Copies results that share memory with values that were only lent, so that the caller owns every one of them. */
function owned(results: Tensors, lent: Tensors): Tensors {
  const buffers = new Set([...lent.values()].filter(({ given }) => !given).map(({ bytes }) => bytes.buffer));
  return new Map(
    [...results].map(([name, tensor]): [string, Tensor] => [
      name,
      buffers.has(tensor.bytes.buffer) ? { ...tensor, bytes: new Uint8Array(tensor.bytes) } : tensor,
    ]),
  );
}

/**
 * A lane in this very thread, for the simulator and for browsers without workers. Between steps and elements it lets go when
 * the call was cancelled or its deadline passed; a step that computes without waiting holds the thread until it is done.
 * Chains run side by side only where a transform waits.
 */
export function inlineLane(transforms: TransformSet, clock: Clock): Lane {
  const runner = chainRunner(transforms);
  const running = new UnderWay();
  let closed = false;
  return {
    async run(chain, values, keep, call) {
      if (closed) throw new LongshoreError("shutting-down", "execute", "this lane was closed");
      checkCall(call, clock, "execute");
      const work = runner.run(chain, values, keep, {
        nowMs: () => clock.nowMs(),
        check: () => checkCall(call, clock, "execute"),
      });
      const ended = untilAborted(running.track(work), call.abort, "execute");
      const { values: results, tookMs } = await ended;
      return { values: owned(results, values), tookMs };
    },
    async close() {
      closed = true;
      await running.over();
    },
  };
}
