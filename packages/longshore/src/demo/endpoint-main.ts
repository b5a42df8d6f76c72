/** The child process of one endpoint of the demonstration: a real server on loopback that takes orders from its parent. */
import { folderStore, systemClock } from "@longshore/nodejs";
import { serve } from "../compose/serve.ts";
import { type CrowdedEndpoint, crowdedEndpoint } from "./crowded-endpoint.ts";
import type { EndpointNews, EndpointOrder, EndpointSettings } from "./endpoint-messages.ts";
import { profiledStore } from "./profiled-store.ts";

let endpoint: CrowdedEndpoint | undefined;
let close: (() => Promise<void>) | undefined;

const tell = (news: EndpointNews): void => void process.send?.(news);

async function start(settings: EndpointSettings): Promise<void> {
  const server = await serve({
    store: profiledStore(folderStore(settings.repository), settings.profiles),
    port: 0,
    id: settings.id,
    tier: settings.tier,
    zone: settings.zone,
    prices: { microsPerSecond: settings.microsPerSecond },
    wrap: (engine) => (endpoint = crowdedEndpoint(engine, systemClock())),
  });
  close = () => server.close(500);
  tell({ kind: "ready", address: server.address });
}

async function stop(): Promise<void> {
  await close?.();
  process.exit(0);
}

process.on("message", (order: EndpointOrder) => {
  if (order.kind === "start") {
    start(order.settings).catch((error: unknown) =>
      tell({ kind: "failed", message: error instanceof Error ? error.message : String(error) }),
    );
  } else if (order.kind === "crowd") {
    endpoint?.crowd(order.crowd);
    tell({ kind: "crowded" });
  } else void stop();
});
// An endpoint never outlives the demonstration.
process.on("disconnect", () => process.exit(0));
// Ctrl-C reaches the whole group of processes: the parent decides.
process.on("SIGINT", () => undefined);
