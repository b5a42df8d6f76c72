import { LongshoreError } from "@longshore/core";
import { Once } from "@longshore/core/internal";

/** Where a server is in its life. */
export type LifeState = "starting" | "ready" | "draining";

/**
 * The life of a server, shared by the API (which refuses work by it) and by the code that starts and stops it. Draining begins
 * while the port still listens, so that balancers see readiness go before connections do.
 */
export interface Life {
  readonly state: LifeState;
  /** Models may still come that are wanted at the start: one that is not here may be here soon. */
  readonly loading: boolean;
  /** Requests accepted and not finished. */
  readonly inFlight: number;
  /** The loads wanted at the start were all tried: a model that is missing by now does not come by itself. */
  loaded(): void;
  /** Everything that should be loaded is. */
  ready(): void;
  /** Refuses new work from now on; resolves when what was accepted is finished. */
  drain(): Promise<void>;
  /** Accepts one request. Throws `shutting-down` once draining; dispose when the request ends. */
  enter(): Disposable;
}

/** @param retryAfterMs How long refused clients should wait, in milliseconds. Default 1000. */
export function createLife(retryAfterMs = 1000): Life {
  let state: LifeState = "starting";
  let loading = true;
  let inFlight = 0;
  const drained: (() => void)[] = [];
  const leave = (): void => {
    inFlight -= 1;
    if (inFlight === 0 && state === "draining") for (const resolve of drained.splice(0)) resolve();
  };
  return {
    get state(): LifeState {
      return state;
    },
    get inFlight(): number {
      return inFlight;
    },
    get loading(): boolean {
      return loading && state === "starting";
    },
    loaded() {
      loading = false;
    },
    ready() {
      if (state === "starting") state = "ready";
    },
    drain() {
      state = "draining";
      if (inFlight === 0) return Promise.resolve();
      return new Promise((resolve) => {
        drained.push(resolve);
      });
    },
    enter() {
      if (state === "draining") {
        throw new LongshoreError(
          "shutting-down",
          "admission",
          "the server is shutting down; send the request to another one",
          {
            retryAfterMs,
          },
        );
      }
      inFlight += 1;
      return new Once(leave);
    },
  };
}
