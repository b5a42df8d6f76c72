import type { Clock, DirectorySnapshot, Observer } from "@longshore/core";
import {
  bounds,
  counter,
  type Family,
  gauge,
  histogram,
  metricsForm,
  metricsText,
  metricsTypes,
  demandMetrics,
} from "@longshore/server";
import type { PoolState } from "../connect/kubernetes-directory.ts";

/** How a request ended that was sent to an endpoint. */
export type PickEnd = "answered" | "failed" | "dropped";

/** The counters of a picker. */
export interface PickMetrics {
  /** A decision was made. `reason` is that of a refusal. */
  decided(reason: string | undefined, tookMs: number): void;
  /** The request ended: an endpoint answered it, the proxy reported a failure, or the client gave up. */
  ended(endpoint: string, end: PickEnd): void;
  /** A request went to an endpoint outside the pool. */
  spilled(): void;
  /** A request came for a model that is there, or that no server has yet. */
  arrived(model: string): void;
  /** Counts the runs that endpoints report. */
  readonly observer: Observer;
  /** The page in the form that an `accept` header asks for. */
  page(accept: string | undefined): { readonly type: string; readonly bytes: Uint8Array };
}

/** Sources of the values that are read when the page is. */
export interface PickGauges {
  readonly clock: Clock;
  readonly inFlight: () => number;
  /** Known endpoints, and those that are paused. */
  readonly endpoints: () => { readonly known: number; readonly paused: number };
  readonly directory: () => DirectorySnapshot | undefined;
  readonly pool: () => PoolState | undefined;
  readonly residentBytes: () => number;
}

/** Starts at zero. */
export function pickMetrics(gauges: PickGauges): PickMetrics {
  const decisions = counter(
    "longshore_pick_decisions_total",
    "Decisions of the picker, by outcome and reason",
    ["decision", "reason"],
  );
  const seconds = histogram(
    "longshore_pick_decision_seconds",
    "Time from the headers of a request to the decision",
    [],
    bounds(0.0001, 2.5, 12),
  );
  const requests = counter(
    "longshore_pick_requests_total",
    "Requests that were sent on, by endpoint and end",
    ["endpoint", "outcome"],
  );
  const spilled = counter(
    "longshore_pick_spilled_total",
    "Requests that went outside the pool, since no endpoint of it might take them",
    [],
  );
  const demand = demandMetrics();
  const plain = (name: string, help: string, read: () => number | undefined): Family =>
    gauge(name, help, () => {
      const value = read();
      return value === undefined ? [] : [[[], value]];
    });
  const families: readonly Family[] = [
    decisions,
    seconds,
    requests,
    spilled,
    ...Object.values(demand.families),
    plain("longshore_pick_in_flight", "Requests that were sent on and have not ended", gauges.inFlight),
    gauge("longshore_pick_endpoints", "Endpoints by state", () => {
      const { known, paused } = gauges.endpoints();
      return [
        [[["state", "available"]], known - paused],
        [[["state", "paused"]], paused],
      ];
    }),
    gauge("longshore_pick_pool_pods", "Pods that the selector of the InferencePool names", () => {
      const state = gauges.pool();
      if (!state) return [];
      const { pool, ready, unready } = state;
      return [
        [
          [
            ["pool", pool],
            ["state", "ready"],
          ],
          ready,
        ],
        [
          [
            ["pool", pool],
            ["state", "unready"],
          ],
          unready,
        ],
      ];
    }),
    plain("longshore_pick_directory_age_seconds", "Time since the directory was last confirmed", () => {
      const ageMs = gauges.directory()?.ageMs;
      return ageMs === undefined || !Number.isFinite(ageMs) ? undefined : ageMs / 1000;
    }),
    plain("longshore_resident_memory_bytes", "Memory of this process", gauges.residentBytes),
  ];
  return {
    decided(reason, tookMs) {
      decisions.add(reason === undefined ? ["routed", ""] : ["refused", reason]);
      seconds.observe([], tookMs / 1000);
    },
    spilled: () => spilled.add([]),
    arrived: (model) => demand.arrived(model),
    observer: {
      record(event) {
        if (event.kind === "endpoint-ran") demand.ran(event);
      },
    },
    ended: (endpoint, end) => requests.add([endpoint, end]),
    page(accept) {
      const form = metricsForm(accept);
      const writing = metricsText(families, form, undefined);
      let step = writing.next();
      while (step.done !== true) step = writing.next();
      return { type: metricsTypes[form], bytes: Buffer.concat(step.value) };
    },
  };
}
