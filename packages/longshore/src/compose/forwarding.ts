import {
  type CheckOptions,
  type DataClass,
  type EndpointInfo,
  offloadEndpoint,
  type OffloadDefaults,
  type OffloadEndpoint,
  type Policy,
  standardPolicy,
  type ZoneId,
} from "@longshore/core";
import type { BeliefMemory, CarbonIntensity, StatedRates } from "@longshore/core/internal";
import { checkDataClass, policyAtServer, ratesOf, type RetryOptions } from "@longshore/core/internal";
import type { Engine } from "@longshore/engine";
import { dialAll, type Reachable } from "../connect/dial-all.ts";
import { platformCodecs } from "../engine/codecs.ts";
import { type DirectoryOpening, openRegistry, type RegistryOptions, unionOf } from "../connect/directory.ts";
import { type Online, type OnlineOptions, type OnlineParts, putOnline } from "./put-online.ts";
import type { OnlineEndpoint } from "../connect/online-endpoint.ts";

/** An offloader over servers, and an engine if there is one, as one endpoint. */
function over(
  reachable: Reachable,
  parts: DirectoryOpening,
  rest: {
    readonly local?: Engine;
    readonly info?: EndpointInfo;
    readonly policy?: Policy;
    readonly carbon?: CarbonIntensity;
    readonly defaults?: OffloadDefaults;
    readonly checks?: CheckOptions;
    readonly retry?: RetryOptions;
    readonly beliefs?: BeliefMemory;
  },
): OffloadEndpoint {
  return offloadEndpoint({
    ...parts,
    ...dialAll(reachable, { ...parts, ...(rest.beliefs ? { beliefs: rest.beliefs } : {}) }),
    ...rest,
    policy: policyAtServer(rest.policy ?? standardPolicy()),
  });
}

/** For `serve`: an engine that forwards requests to servers that answer them better, as one endpoint. */
export function forwardingTo(
  reachable: Reachable,
  rest: Pick<GatewayOptions, "checks" | "defaults" | "policy" | "carbon" | "retry" | "beliefs"> = {},
): (engine: Engine, parts: DirectoryOpening) => OffloadEndpoint {
  return (local, { clock, random, observer }) =>
    over(reachable, { clock, random, observer }, { local, ...rest });
}

/** The parts of a gateway. */
export interface GatewayOptions extends OnlineOptions, Reachable {
  /** Servers that may join it over the network; names of `directory` are passed on to readers of this one. Default: none. */
  readonly joins?: Omit<RegistryOptions, "passesOn">;
  /**
   * The data class of requests that state none, as those of Triton's clients. Default `unknown`, which no policy lets go
   * anywhere: such requests are refused.
   */
  readonly dataClass?: DataClass;
  /** Zones for requests that name none. Default: any that the policy allows. */
  readonly zones?: readonly ZoneId[];
  /** Where each data class may go. Default `standardPolicy()`. */
  readonly policy?: Policy;
  /** CO2 of electricity by zone, for the objective `carbon`. Default: nothing is known. */
  readonly carbon?: CarbonIntensity;
  readonly defaults?: OffloadDefaults;
  /** The price of a request to this gateway, on top of the prices of its servers. Default: nothing. */
  readonly prices?: Pick<StatedRates, "microsPerRequest">;
  /** How answers of the servers are checked. Default: one request in a hundred is also run at a second server. */
  readonly checks?: CheckOptions;
  /** How a request is sent again to servers that failed it. */
  readonly retry?: RetryOptions;
  /** Beliefs about links and servers that one process hands to the next. Default: nothing is kept. */
  readonly beliefs?: BeliefMemory;
}

function servedGateway(
  options: GatewayOptions,
  online: OnlineParts,
): OnlineEndpoint & { endpoint: OffloadEndpoint } {
  const { id, tier, zone, clock, random, observer } = online;
  const { policy, carbon, defaults, joins, checks = {}, prices = {}, retry, beliefs } = options;
  const parts = { clock, random, observer };
  const { directory: passesOn, dialling, servers = [] } = options;
  const registry =
    joins &&
    openRegistry(
      {
        // With listed servers alone, a model that none of them has is unknown at once.
        expectsMembers: servers.length === 0 || passesOn !== undefined,
        ...(dialling ? { dialling } : {}),
        ...joins,
        ...(passesOn ? { passesOn } : {}),
      },
      parts,
    );
  const directory = unionOf(options.directory, registry?.directory);
  const endpoint = over({ ...options, ...(directory ? { directory } : {}) }, parts, {
    info: {
      id,
      tier,
      zone,
      trust: "vouched",
      codecs: [...platformCodecs().keys()],
      state: "movable",
      offers: true,
      rates: ratesOf(prices, "prices", true),
    },
    checks,
    ...(policy ? { policy } : {}),
    ...(carbon ? { carbon } : {}),
    ...(defaults ? { defaults } : {}),
    ...(retry ? { retry } : {}),
    ...(beliefs ? { beliefs } : {}),
  });
  return {
    endpoint,
    load: () => endpoint.loadReport(),
    available: () => endpoint.reaches(),
    checked: () => endpoint.behind,
    ...(directory ? { directory } : {}),
    ...(registry ? { joins: registry.joins } : {}),
    close: async () => registry?.close(),
  };
}

/**
 * A server that runs nothing itself: the Open Inference Protocol in, and for each request the server that answers it best
 * within its rules, with back-ups on others. Its own trust is the highest possible, since the servers it uses narrow that.
 * Throws as `putOnline`, and `invalid-configuration` for a data class that the policy does not know.
 *
 * @example
 * ```ts
 * import { gateway } from "longshore";
 *
 * const running = await gateway({ servers: ["http://127.0.0.1:8000"], port: 0, dataClass: "internal" });
 * const ready = await fetch(`${running.address}/v2/health/live`);
 * console.log(ready.status); // 200
 * await running.close();
 * ```
 */
export async function gateway(options: GatewayOptions): Promise<Online> {
  const { dataClass, zones, policy = standardPolicy() } = options;
  if (dataClass !== undefined) checkDataClass(policy, dataClass, "dataClass", "invalid-configuration");
  const zoned = zones ? { zones } : {};
  const { served: _served, ...online } = await putOnline(
    {
      ...options,
      ...(dataClass === undefined && !zones
        ? {}
        : { unstatedRules: { dataClass: dataClass ?? "unknown", leastTrust: "none", ...zoned } }),
    },
    (parts) => servedGateway(options, parts),
  );
  return online;
}
