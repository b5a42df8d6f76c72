import { createDirectory, type EndpointInfo, type KeyRing, offloadEndpoint } from "@longshore/core";
import { createRegistry, randomId } from "@longshore/core/internal";
import { aliasesOn, type Disk, memoryOn } from "./disk.ts";
import type { Machine } from "./machine.ts";
import { after, codecs, diallerOn, infoOf, observerOf, policy, served, type Surroundings } from "./parts.ts";
import type { Started } from "./server.ts";
import { everywhere, type WorldSpec } from "./world-spec.ts";

/** Starts a gateway over servers that it knows by name or, without these, over those that join it. */
export async function startGateway(
  { name, zone }: Pick<NonNullable<WorldSpec["gateway"]>, "name" | "zone">,
  machine: Machine,
  surroundings: Surroundings,
  servers: readonly EndpointInfo[] | undefined,
  { disk, ring, leaseMs }: { readonly disk: Disk; readonly ring?: KeyRing; readonly leaseMs: number },
): Promise<Started> {
  const { clock, random } = machine;
  const observer = observerOf(machine, surroundings);
  const directoryServer = servers
    ? undefined
    : createRegistry({
        clock,
        instance: randomId(random),
        codecs: [...codecs.keys()],
        leaseMs,
        remembered: true,
        ...(ring ? { ring } : { admits: { zone: everywhere, trust: "operated" } }),
      });
  const directory =
    directoryServer &&
    createDirectory({
      source: directoryServer,
      clock,
      observer,
      codecs: [...codecs.keys()],
      memory: memoryOn(disk, clock),
      ...(ring ? { ring } : { unsignedTrust: "vouched" as const }),
    });
  const dialler = diallerOn(machine, surroundings);
  const offload = offloadEndpoint({
    ...(servers ? { endpoints: servers.map((info) => dialler.dial(info)) } : {}),
    ...(directory ? { directory, dial: (info) => dialler.dial(info) } : {}),
    info: infoOf(name, { tier: "edge", zone, trust: "vouched" }),
    policy,
    clock,
    random,
    observer,
    links: (id) => dialler.link(id),
    checks: {},
  });
  const { handler, life, endpoint, rollouts } = await served(machine, surroundings, offload, {
    load: () => offload.loadReport(),
    aliases: aliasesOn(disk, clock),
    ...(directoryServer ? { directory: directoryServer } : {}),
  });
  const port = surroundings.network.listen(machine, handler);
  life.ready();
  let closed: Promise<void> | undefined;
  const close = async (graceMs: number): Promise<void> => {
    await Promise.race([life.drain(), after(clock, graceMs)]);
    await after(clock, 50);
    port[Symbol.dispose]();
    await endpoint.close();
    await directory?.[Symbol.asyncDispose]();
    directoryServer?.[Symbol.dispose]();
  };
  return { inFlight: () => life.inFlight, rollouts, close: (graceMs) => (closed ??= close(graceMs)) };
}
