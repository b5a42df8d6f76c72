import {
  type Clock,
  type DataClass,
  type EndpointInfo,
  offloadEndpoint,
  type OffloadDefaults,
  type OffloadEndpoint,
  type Observer,
  type Policy,
  type Random,
  silentObserver,
  standardPolicy,
} from "@longshore/core";
import type { Engine } from "@longshore/engine";
import { systemClock, systemRandom } from "@longshore/nodejs";
import { dialAll } from "./dial-all.ts";
import { platformCodecs } from "./codecs.ts";
import type { ServerOptions } from "./dial.ts";
import { type Online, type OnlineOptions, type OnlineParts, putOnline, type Served } from "./put-online.ts";

/** An offloader over servers, and an engine if there is one, as one endpoint. */
function over(
  servers: readonly (string | ServerOptions)[],
  parts: { readonly clock: Clock; readonly random: Random; readonly observer: Observer },
  rest: {
    readonly local?: Engine;
    readonly info?: EndpointInfo;
    readonly policy?: Policy;
    readonly defaults?: OffloadDefaults;
  },
): OffloadEndpoint {
  const { endpoints, links } = dialAll(servers, parts);
  return offloadEndpoint({
    ...parts,
    endpoints,
    links: (id) => links.get(id),
    policy: standardPolicy(),
    ...rest,
  });
}

/** For `serve`: an engine that forwards to servers behind it what they do better, as one endpoint. */
export function forwardingTo(
  servers: readonly (string | ServerOptions)[],
): (engine: Engine) => OffloadEndpoint {
  return (local) => {
    const parts = { clock: systemClock(), random: systemRandom(), observer: silentObserver };
    return over(servers, parts, { local });
  };
}

/** What a gateway is made of. */
export interface GatewayOptions extends OnlineOptions {
  /** Where requests may go; at least one. */
  readonly servers: readonly (string | ServerOptions)[];
  /**
   * The data class of requests that state none, as those of Triton's clients. Default `unknown`, which no policy lets go
   * anywhere: such requests are refused.
   */
  readonly dataClass?: DataClass;
  /** Where each data class may go. Default `standardPolicy()`. */
  readonly policy?: Policy;
  readonly defaults?: OffloadDefaults;
}

function servedGateway(options: GatewayOptions, online: OnlineParts): Served & { endpoint: OffloadEndpoint } {
  const { id, tier, zone, clock, random, observer } = online;
  const { policy, defaults } = options;
  const endpoint = over(
    options.servers,
    { clock, random, observer },
    {
      info: {
        id,
        tier,
        zone,
        trust: "attested",
        codecs: [...platformCodecs().keys()],
        state: "movable",
        offers: true,
        rates: { microsPerSecond: 0, microsPerMegabyte: 0, activeWatts: 0 },
      },
      ...(policy ? { policy } : {}),
      ...(defaults ? { defaults } : {}),
    },
  );
  return { endpoint, load: () => endpoint.loadReport(), close: () => Promise.resolve() };
}

/**
 * A server that runs nothing itself: the Open Inference Protocol in, and for each request the server that answers it best
 * within its rules, with back-ups on others. What it says of its own trust is the most there is, since the servers behind
 * it narrow that. Throws as `putOnline`.
 */
export async function gateway(options: GatewayOptions): Promise<Online> {
  const { dataClass } = options;
  const { served: _served, ...online } = await putOnline(
    { ...options, ...(dataClass === undefined ? {} : { unstatedRules: { dataClass, leastTrust: "none" } }) },
    (parts) => servedGateway(options, parts),
  );
  return online;
}
