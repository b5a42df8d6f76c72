/** The child process of one place of the demonstration: a real server on loopback that takes orders from its parent. */
import { folderStore, systemClock } from "@longshore/nodejs";
import { serve } from "../compose/serve.ts";
import { type CrowdedPlace, crowdedPlace } from "./crowded-place.ts";
import type { PlaceNews, PlaceOrder, PlaceSettings } from "./place-messages.ts";
import { profiledStore } from "./profiled-store.ts";

let place: CrowdedPlace | undefined;
let close: (() => Promise<void>) | undefined;

const tell = (news: PlaceNews): void => void process.send?.(news);

async function start(settings: PlaceSettings): Promise<void> {
  const server = await serve({
    store: profiledStore(folderStore(settings.repository), settings.profiles),
    port: 0,
    id: settings.id,
    tier: settings.tier,
    zone: settings.zone,
    microsPerSecond: settings.microsPerSecond,
    wrap: (engine) => (place = crowdedPlace(engine, systemClock())),
  });
  close = () => server.close(500);
  tell({ kind: "ready", address: server.address });
}

async function stop(): Promise<void> {
  await close?.();
  process.exit(0);
}

process.on("message", (order: PlaceOrder) => {
  if (order.kind === "start") {
    start(order.settings).catch((error: unknown) =>
      tell({ kind: "failed", message: error instanceof Error ? error.message : String(error) }),
    );
  } else if (order.kind === "crowd") {
    place?.crowd(order.crowd);
    tell({ kind: "crowded" });
  } else void stop();
});
// A place never outlives the demonstration.
process.on("disconnect", () => process.exit(0));
// Ctrl-C reaches the whole group of processes: the parent decides.
process.on("SIGINT", () => undefined);
