import { isIP } from "node:net";
import type { Clock, EndpointId } from "@longshore/core";
import type { EndpointPicker } from "@longshore/core/internal";
import type { DiscoveredEndpoint, EndpointSource } from "@longshore/grpc";
import { type Addresses, hostAndPort } from "./addresses.ts";
import { grpcCluster, httpCluster, socketMatchNamespace, tlsMatch } from "./names.ts";

/** How often changes are looked for while a proxy follows, in milliseconds. Two counters are compared. */
const lookEveryMs = 100;

/** Inputs of `discoveredEndpoints`. */
export interface DiscoveredParts {
  readonly picker: Pick<EndpointPicker, "endpoints" | "changes">;
  readonly addresses: Addresses;
  readonly grpcAddresses: Addresses;
  readonly isSpill: (id: EndpointId) => boolean;
  readonly clock: Clock;
}

/** The endpoints of a picker as a proxy's clusters: those that it may name, at the addresses that it gives them. */
export function discoveredEndpoints(parts: DiscoveredParts): EndpointSource {
  const { picker, addresses, grpcAddresses, isSpill, clock } = parts;
  const clusters: ReadonlyMap<string, Addresses> = new Map([
    [httpCluster, addresses],
    [grpcCluster, grpcAddresses],
  ]);
  return {
    of(cluster) {
      const found = clusters.get(cluster);
      return (
        found &&
        picker.endpoints.flatMap((info): readonly DiscoveredEndpoint[] => {
          const whole = found.of(info);
          if (whole === undefined) return [];
          const split = whole.lastIndexOf(":");
          const named = hostAndPort(info);
          return [
            {
              address: whole.slice(0, split).replace(/^\[(.*)\]$/, "$1"),
              port: Number(whole.slice(split + 1)),
              ...(named && isIP(named.host) === 0 ? { hostname: named.host } : {}),
              ...(isSpill(info.id) ? { priority: 1 } : {}),
              ...(named?.tls === true ? { metadata: { [socketMatchNamespace]: tlsMatch } } : {}),
            },
          ];
        })
      );
    },
    watch(changed) {
      let seen = "";
      let timer: Disposable;
      const look = (): void => {
        addresses.renew();
        grpcAddresses.renew();
        const now = `${picker.changes} ${addresses.changes} ${grpcAddresses.changes}`;
        if (now !== seen) changed();
        seen = now;
        timer = clock.timer(lookEveryMs, look);
      };
      timer = clock.timer(lookEveryMs, look);
      return { [Symbol.dispose]: () => timer[Symbol.dispose]() };
    },
  };
}
