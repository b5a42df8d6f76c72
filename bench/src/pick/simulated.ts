import { seededRandom, silentObserver, tablePolicy } from "@longshore/core";
import { createPicker, housekeepingCall, loadHeaders, tookHeader } from "@longshore/core/internal";
import {
  type FarmEndpoint,
  farmEndpoint,
  farmModel,
  farmRequest,
  type FarmServer,
  type FarmRequest,
  virtualClock,
} from "@longshore/lab";
import { clientWeighted } from "../pickers/client-weighted.ts";
import { inFlightCounts, type PickerKind, roundRobin } from "../pickers/picker.ts";
import { type FleetSend, pickerGateway, sendAll } from "../pickers/run-fleet.ts";
import { quantile } from "../harness.ts";
import type { Arrival } from "./drive.ts";

/*
 * The same servers and arrivals on a virtual clock, where no machine is busy: what is left is the choice. Envoy's policies are those of
 * `bench route`, with as many choices for least request as there are servers.
 */

const leastOfAll: PickerKind = ({ endpoints, random }) => {
  const counts = inFlightCounts(endpoints.length);
  return {
    name: "least request",
    pick() {
      const least = Math.min(...counts.of);
      const alike = endpoints.flatMap((_, index) => (counts.of[index] === least ? [index] : []));
      return alike[Math.floor(random.next() * alike.length)] ?? 0;
    },
    sent: counts.sent,
    answered: (index) => counts.answered(index),
  };
};

const policies: readonly (readonly [string, PickerKind | undefined])[] = [
  ["round robin", roundRobin],
  ["least request", leastOfAll],
  ["weighted by load reports", clientWeighted],
  ["longshore pick", undefined],
];

/** One policy: p50 and p99 of the requests after the warm-up, in milliseconds. */
export interface SimulatedRow {
  readonly subject: string;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** Runs each policy on the same arrivals. */
export async function simulatePicks(
  servers: readonly FarmServer[],
  arrivals: readonly Arrival[],
  seed: number,
): Promise<readonly SimulatedRow[]> {
  const rows: SimulatedRow[] = [];
  for (const [subject, kind] of policies) {
    const clock = virtualClock();
    const requests: readonly FarmRequest[] = arrivals.map(({ workMs }) => ({ workMs, size: 1 }));
    const model = farmModel(requests);
    const endpoints = servers.map((server, index) => farmEndpoint(server, index, model, clock, 0.2));
    const picker = createPicker({
      endpoints: endpoints.map(({ endpoint }) => endpoint),
      policy: tablePolicy({ public: { leastTrust: "none" } }),
      clock,
      random: seededRandom(seed),
      observer: silentObserver,
      links: () => undefined,
    });
    const byId = new Map<string, FarmEndpoint>(endpoints.map((one) => [one.endpoint.info.id, one]));
    const byPicker: FleetSend = async (index, request) => {
      const call = housekeepingCall(`request-${index}`);
      const picked = await picker.pick({ model: model.description.name, bytes: 100 }, call);
      const startedMs = clock.nowMs();
      const chosen = byId.get(picked.endpoints[0]?.id ?? "");
      if (!chosen) throw new Error("the picker chose a server that is not there");
      const { load = chosen.load() } = await chosen.endpoint.infer(farmRequest(model, request), call);
      const headers = {
        ...loadHeaders(load, {}),
        [tookHeader]: (clock.nowMs() - startedMs - 0.4).toFixed(3),
      };
      picked.answered({ status: 200, headers });
    };
    const send = kind ? pickerGateway(kind, endpoints, seed, model, clock.nowMs) : byPicker;
    const scene = { arrivals: arrivals.map(({ atMs }) => atMs), requests };
    const { tookMs } = await clock.runUntil(sendAll(scene, [send], clock));
    await clock.runUntil(picker.close());
    const counted = tookMs.slice(Math.floor(tookMs.length / 10));
    rows.push({ subject, p50Ms: quantile(counted, 0.5), p99Ms: quantile(counted, 0.99) });
  }
  return rows;
}
