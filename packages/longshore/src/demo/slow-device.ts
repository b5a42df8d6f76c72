import type { Call, Clock, Endpoint, Offer } from "@longshore/core";
import { estimateSize } from "@longshore/core/internal";

/**
 * The engine of this machine as a device that takes `factor` times as long: after each run it waits for the difference,
 * and its account and offers say so. Closing it leaves the engine, which several devices share, open.
 */
export function slowDevice(engine: Endpoint, factor: number, clock: Clock): Endpoint {
  return {
    info: engine.info,
    describe: (model, version, call) => engine.describe(model, version, call),
    async offers(query, call) {
      const offers = await engine.offers(query, call);
      return offers.map((offer): Offer => ({
        ...offer,
        completionMs: {
          ...offer.completionMs,
          values: Float64Array.from(
            { length: estimateSize },
            (_, at) => (offer.completionMs.values[at] ?? 0) * factor,
          ),
        },
      }));
    },
    async infer(request, call, progress) {
      const startedMs = clock.nowMs();
      const response = await engine.infer(request, call, progress);
      if (factor === 1) return response;
      await pause((factor - 1) * (clock.nowMs() - startedMs), clock, call);
      const { account } = response;
      return {
        ...response,
        account: {
          ...account,
          stages: account.stages.map((stage) => ({ ...stage, tookMs: stage.tookMs * factor })),
          energy: { ...account.energy, millijoules: account.energy.millijoules * factor },
        },
      };
    },
    close: async () => undefined,
  };
}

/** Waits; an abort ends the wait early, because the caller does not want the answer any more. */
function pause(ms: number, clock: Clock, call: Call): Promise<void> {
  return new Promise((resolve) => {
    const over = (): void => {
      timer[Symbol.dispose]();
      call.abort.removeEventListener("abort", over);
      resolve();
    };
    const timer = clock.timer(ms, over);
    call.abort.addEventListener("abort", over, { once: true });
  });
}
