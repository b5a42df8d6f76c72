import type { Call, Clock, Endpoint, InferenceRequest, InferenceResponse, Random } from "@longshore/core";
import { abortError, sleep, whenAborted } from "@longshore/core/internal";
import { bucketOf, drawnRunMs, offersOf, type SimulatedModel } from "@longshore/lab";

/**
 * An engine as a device that is `1 / speed` times slower and runs one thing at a time, in the order of arrival. It is held
 * until its profiled time on such a device has passed, so that other work on this machine is not multiplied. A run whose caller
 * has given up holds the device to its end, as on a real one. With the seed of a simulated device it draws the same times in
 * the same order, and it makes the same promises: differences between the two are not random.
 */
export function slowDevice(
  engine: Endpoint,
  model: SimulatedModel,
  parts: { readonly speed: number; readonly clock: Clock; readonly random: Random },
): Endpoint {
  const { speed, clock, random } = parts;
  let last: Promise<unknown> = Promise.resolve();

  async function run(request: InferenceRequest, call: Call, heldMs: number): Promise<InferenceResponse> {
    const { segment } = request;
    const startedMs = clock.nowMs();
    // The engine does not see the abort: its run goes on.
    const response = await engine.infer(request, { ...call, abort: new AbortController().signal });
    const leftMs = heldMs - (clock.nowMs() - startedMs);
    if (leftMs > 0) await sleep(clock, leftMs);
    const tookMs = clock.nowMs() - startedMs;
    const stages = [{ stage: "run" as const, name: segment.model, tookMs }];
    return { ...response, account: { ...response.account, stages } };
  }

  return {
    info: engine.info,
    describe: (model, version, call) => engine.describe(model, version, call),
    // The engine's own promises are about this machine as it is now, with the runs of all replays that share it.
    offers: (query) =>
      Promise.resolve(
        offersOf(model, query.features, {
          info: engine.info,
          nowMs: clock.nowMs(),
          queueMs: () => 0,
          slowness: 1 / speed,
        }),
      ),
    infer(request, call) {
      const { segment } = request;
      const heldMs =
        drawnRunMs(bucketOf(model.profile, segment.variant, { bytes: 0 }), segment, random) / speed;
      const turn = last.then(() => {
        if (call.abort.aborted) throw abortError(call.abort, "queue");
        return run(request, call, heldMs);
      });
      last = turn.catch(() => undefined);
      return new Promise((resolve, reject) => {
        const stopListening = whenAborted(call.abort, () => reject(abortError(call.abort, "execute")));
        turn.then(resolve, reject).finally(stopListening);
      });
    },
    close: async () => undefined,
    // Its loads are those of this machine, which replays share; the profiled runs have none.
    capabilities: {},
  };
}
