import type { Call, Clock, Endpoint, Offer } from "@longshore/core";
import { estimateSize, wrapEndpoint } from "@longshore/core/internal";

/**
 * The engine of this machine as a device that runs models `factor` times as slowly: after each run it waits for the difference, and its
 * account and offers say so. Loading takes as long as on this machine: it is not a run. Closing it leaves the engine, which several
 * devices share, open.
 */
export function slowDevice(engine: Endpoint, factor: number, clock: Clock): Endpoint {
  return wrapEndpoint(engine, {
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
      const { account } = response;
      const loadMs = account.stages.reduce(
        (ms, { stage, tookMs }) => (stage === "load" ? ms + tookMs : ms),
        0,
      );
      await pause((factor - 1) * Math.max(0, clock.nowMs() - startedMs - loadMs), clock, call);
      return {
        ...response,
        account: {
          ...account,
          stages: account.stages.map((stage) =>
            stage.stage === "load" ? stage : { ...stage, tookMs: stage.tookMs * factor },
          ),
          energy: { ...account.energy, millijoules: account.energy.millijoules * factor },
        },
      };
    },
    close: async () => undefined,
  });
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
