/**
 * The rules of `replay` for the offloader itself: the same uplink, device, server and arrivals in a world on a virtual clock,
 * and the loop that apps have, with all that it learns, plans, guards and probes. The bytes that it is assumed to send around a
 * body count as part of it, so that uploads have the same size for all policies; runs take the times of the rules, and each
 * packet leaves by itself.
 */
import type { EndpointInfo, Limits } from "@longshore/core";
import { envelopeBytes } from "@longshore/core/internal";
import { meetRoundTrip } from "./honest-sensor.ts";
import { arrivalsOf, type ReplayResult, type ReplaySetting, resultOf } from "./replay.ts";
import { constantTrace, packetBytes } from "@longshore/lab";
import { offloadWorld, runScenarioOn, type SimulatedEndpoint } from "@longshore/lab";
import { plainModel, typicalInputs } from "@longshore/lab";
import { contradictionIn } from "@longshore/testkit";

/** The server of a replay takes as many at once as come. */
const mostAtOnce = 1000;
/** Answers are tiny, and come back over a link that is no obstacle. */
const replyBytes = 20;
const downBitsPerSecond = 1e9;
/**
 * All policies know the endpoint and its round trip from the first request on: it is polled this long before, in the round
 * before the first.
 */
const aheadMs = 3000;

const endpoint = (id: string, tier: EndpointInfo["tier"], zone: string): EndpointInfo => ({
  id,
  tier,
  zone,
  trust: "operated",
  codecs: ["raw"],
  state: "none",
  offers: true,
  rates: { microsPerSecond: 0, microsPerMegabyte: 0, activeWatts: 2 },
});

/** Where a request ran, and whether it was answered from afar. */
export interface Sides {
  here: boolean;
  there: boolean;
  afar: boolean;
}

/** Runs take as many times longer as it says at each moment. */
function slowedBy<E extends SimulatedEndpoint>(endpoint: E, factor: () => number): E {
  Object.defineProperty(endpoint.faults, "slowFactor", { get: factor });
  return endpoint;
}

/** Plays the offloader through one setting of `replay`. Deterministic. Throws for an explanation that contradicts its choice. */
export async function replayOffloader(
  setting: ReplaySetting,
  limits: Limits = {},
  ran: Sides[] = [],
): Promise<ReplayResult> {
  const { trace, requestBytes, localMs, serverMs, roundTripMs, roundTripAt, serverFactorAt } = setting;
  const lengthMs = setting.lengthMs ?? trace.lengthMs;
  const { model, deviceSpeed } = plainModel({
    bytes: requestBytes - envelopeBytes.up,
    replyBytes,
    localMs,
    serverMs,
  });
  let probedBytes = 0;
  const world = offloadWorld({
    models: [model],
    device: { speed: deviceSpeed, info: endpoint("device", "device", "device") },
    endpoints: [
      {
        info: endpoint("server", "edge", "eu"),
        instances: mostAtOnce,
        up: trace,
        down: constantTrace(downBitsPerSecond),
        delayMs: roundTripMs / 2,
        traceOffsetMs: Math.ceil(aheadMs / trace.lengthMs) * trace.lengthMs - aheadMs,
        quantumMs: 0,
        ...(setting.tcp ? { tcp: setting.tcp } : {}),
        ...(roundTripAt ? { delayAtMs: (sinceMs) => roundTripAt(Math.max(0, sinceMs - aheadMs)) / 2 } : {}),
        envelope: { up: envelopeBytes.up, down: 0 },
      },
    ],
    seed: 1,
    logSpread: 0,
    // Of the bytes that the link carried, no client could tell them from uploads that were given up.
    wrap: (one, clock) => ({
      ...(serverFactorAt && one.info.id === "server"
        ? slowedBy(one, () => serverFactorAt(Math.max(0, clock.nowMs() - aheadMs)))
        : one),
      capabilities: {
        ...one.capabilities,
        async probe(bytes, call) {
          probedBytes += bytes;
          return one.capabilities.probe?.(bytes, call);
        },
      },
    }),
  });
  const server = world.endpoints.get("server");
  if (server?.learner) meetRoundTrip(server.learner, roundTripMs, 0);
  const arrivals = arrivalsOf(setting);
  const inputs = Object.fromEntries(typicalInputs(model));
  const requests = Array.from(arrivals, (atMs, index) => {
    const both = { here: false, there: false, afar: false };
    ran[index] = both;
    return {
      atMs: aheadMs + atMs,
      model: model.description.name,
      inputs,
      limits: {
        dataClass: "public",
        ...limits,
        progress: ({ kind, endpoint }: { readonly kind: string; readonly endpoint?: string }) => {
          if (kind === "answered") both.afar = endpoint !== "device";
          if (kind !== "started") return;
          if (endpoint === "device") both.here = true;
          else both.there = true;
        },
      },
    };
  });
  const { offloader, clock } = world;
  const asks = (): void => void offloader.explain(model.description.name, inputs, { dataClass: "public" });
  const events = [{ atMs: 0, what: "the endpoint is asked", happen: asks }];
  const rows = await runScenarioOn(clock, { offloader, requests, events });
  const { objective = "latency" } = limits;
  for (const { because } of rows) {
    const contradiction = contradictionIn({ because, objective });
    if (contradiction !== undefined) throw new Error(contradiction);
  }
  const tookMs = Float64Array.from(rows, (row) => (row.outcome === "answered" ? row.tookMs : Infinity));
  const count = Math.max(1, rows.length);
  return resultOf("offloader", tookMs, {
    extraRatio: ran.filter(({ here, there }) => here && there).length / count,
    inVainRatio: ran.filter(({ here, there, afar }) => here && there && afar).length / count,
    remoteRatio: ran.filter(({ there }) => there).length / count,
    probeRatio: probedBytes / Math.max(1, (trace.packets * packetBytes * lengthMs) / trace.lengthMs),
  });
}
