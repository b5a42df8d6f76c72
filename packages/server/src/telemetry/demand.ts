import type { LongshoreEvent } from "@longshore/core";
import { bounds, counter, type Counter, type Family, histogram, type Histogram } from "./registry.ts";

/** The figures from which `longshore scale` computes the needed endpoints. */
export interface DemandMetrics {
  readonly families: {
    readonly arrivals: Counter;
    readonly runSeconds: Histogram;
    readonly aloneSeconds: Histogram;
    readonly occupiedSeconds: Counter;
  } & Readonly<Record<string, Family>>;
  arrived(model: string): void;
  ran(event: LongshoreEvent & { readonly kind: "endpoint-ran" }): void;
}

/** Finer than those for people: the number follows from the quantiles. */
const demandBounds = bounds(0.001, 1.4, 32);

/** Starts at zero. */
export function demandMetrics(): DemandMetrics {
  const families = {
    arrivals: counter(
      "longshore_demand_requests_total",
      "Inferences that arrived for a model, those that no server could take yet included",
      ["model"],
    ),
    runSeconds: histogram(
      "longshore_demand_run_seconds",
      "Run time at other servers, without the wait there",
      ["model"],
      demandBounds,
    ),
    aloneSeconds: histogram(
      "longshore_demand_alone_seconds",
      "Time of requests to other servers without the wait there",
      ["model"],
      demandBounds,
    ),
    occupiedSeconds: counter(
      "longshore_demand_occupied_seconds_total",
      "Run time at other servers over the requests that a server runs at a time",
      ["model"],
    ),
  };
  return {
    families,
    arrived: (model) => families.arrivals.add([model]),
    ran({ model, runMs, aloneMs, occupiedMs }) {
      families.runSeconds.observe([model], runMs / 1000);
      families.aloneSeconds.observe([model], aloneMs / 1000);
      families.occupiedSeconds.add([model], occupiedMs / 1000);
    },
  };
}
