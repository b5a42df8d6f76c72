import {
  createOffloader,
  linkBelief,
  type LinkLearner,
  linkModel,
  type Offloader,
  silentObserver,
  standardPolicy,
  type Endpoint,
} from "@longshore/core";
import type { Engine } from "@longshore/engine";
import {
  constantTrace,
  type LinkProxy,
  linkProxy,
  linkShapes,
  scaled,
  syntheticTrace,
  type Trace,
} from "@longshore/lab";
import { systemClock, systemRandom } from "@longshore/nodejs";
import { dial, serverInfo } from "../connect/dial.ts";
import type { ServerOptions } from "../connect/server-options.ts";
import { greet, type Greeting } from "./greet.ts";
import type { DemoEndpoint } from "./endpoint.ts";
import type { Happening, LinkSetting, Scene } from "./scenes.ts";
import { slowDevice } from "./slow-device.ts";

/** The parts that all scenes share: opened once, so that models are loaded once. */
export interface Store {
  readonly engine: Engine;
  readonly edge: DemoEndpoint;
  readonly cloud: DemoEndpoint;
  readonly seed: number;
  /** An uplink that the caller named. */
  readonly trace: Trace | undefined;
  /** A fresh edge box, warm, for a scene that ends it. */
  spareEdge(scene: Scene): Promise<DemoEndpoint>;
}

/** The endpoints that a run may use: all of them, or one. */
export type EndpointChoice = "any" | "device" | "edge" | "cloud";

/** The links and the offloader of one run of one scene. */
export interface World extends AsyncDisposable {
  readonly offloader: Offloader;
  /** Endpoints that the offloader knows. */
  readonly endpoints: readonly string[];
  apply(what: Happening["what"]): Promise<void>;
}

/** Names of the links of a scene, for labels. */
export function linkLabels(scene: Scene, store: Pick<Store, "seed" | "trace">): readonly string[] {
  return (["edge", "cloud"] as const).flatMap((to) => {
    const setting = scene[to];
    return setting ? [`${to}: ${uplinkOf(setting, store).name}, ${setting.delayMs} ms one way`] : [];
  });
}

function uplinkOf(setting: LinkSetting, store: Pick<Store, "seed" | "trace">): Trace {
  if (setting.traced && store.trace) return store.trace;
  const shape = linkShapes[setting.shape];
  const scale = setting.factor ?? 1;
  const trace = syntheticTrace(
    { ...shape, meanBitsPerSecond: shape.meanBitsPerSecond * scale },
    store.seed,
    120_000,
    `${Number(((shape.meanBitsPerSecond * scale) / 1e6).toPrecision(2))} Mbit/s ${setting.shape}`,
  );
  return trace;
}

/** Downlinks of such lines are wider; they rarely matter here, because answers are small. */
function downlinkOf(up: Trace): Trace {
  return up.origin === "recorded" ? constantTrace(20e6) : scaled(up, 4);
}

const addresses = (port: number): string => `http://127.0.0.1:${port}`;

/**
 * Builds the links of a scene, sends the greeting (if any) over each, and makes an offloader that may use the chosen
 * endpoints. Dispose of it.
 */
export async function openWorld(
  scene: Scene,
  choice: EndpointChoice,
  store: Store,
  greeting: Greeting | undefined,
): Promise<World> {
  const clock = systemClock();
  const random = systemRandom();
  const proxies = new Map<"edge" | "cloud", LinkProxy>();
  const endpoints: Endpoint[] = [];
  const links = new Map<string, LinkLearner>();
  const ending = scene.happenings?.some(({ what }) => what === "kill edge") ?? false;
  const spare = ending && (choice === "any" || choice === "edge") ? await store.spareEdge(scene) : undefined;
  const targets = { edge: spare ?? store.edge, cloud: store.cloud };
  const model = linkModel();

  const closeLinks = async (): Promise<void> => {
    await Promise.all([...proxies.values()].map((proxy) => proxy.close()));
  };
  try {
    for (const to of ["edge", "cloud"] as const) {
      const setting = scene[to];
      if (!setting || (choice !== "any" && choice !== to)) continue;
      const target = targets[to];
      const up = uplinkOf(setting, store);
      const proxy = await linkProxy({
        target: { port: target.port },
        up,
        down: downlinkOf(up),
        delayMs: setting.delayMs,
        jitterMs: setting.jitterMs,
        seed: store.seed,
      });
      proxies.set(to, proxy);
      const server: ServerOptions = {
        address: addresses(proxy.port),
        id: to,
        tier: to,
        zone: target.settings.zone,
        trust: to === "edge" ? "operated" : "listed",
        microsPerSecond: target.settings.microsPerSecond,
        activeWatts: 6,
      };
      const link = linkBelief({ model });
      links.set(to, link);
      endpoints.push(dial(serverInfo(server), { clock, random, observer: silentObserver, link }));
    }
    if (greeting) await greet(endpoints, greeting);
    if (scene.crowd && targets.edge === store.edge)
      await store.edge.crowd({ ...scene.crowd, seed: store.seed });
  } catch (error) {
    await closeLinks();
    await Promise.all(endpoints.map((endpoint) => endpoint.close()));
    throw error;
  }
  const hasDevice = choice === "any" || choice === "device";
  const offloader = createOffloader({
    ...(hasDevice ? { local: slowDevice(store.engine, scene.slowness ?? 1, clock) } : { id: "app" }),
    endpoints,
    policy: standardPolicy(),
    clock,
    random,
    observer: silentObserver,
    links: (id) => links.get(id),
    ...(scene.device ? { device: scene.device } : {}),
  });
  const apply = async (what: Happening["what"]): Promise<void> => {
    if (what === "kill edge") await spare?.kill();
    else if (what === "cut edge") proxies.get("edge")?.cut({ reset: true });
    else if (what === "restore edge") proxies.get("edge")?.restore();
    else if (what === "cut cloud") proxies.get("cloud")?.cut({ reset: true });
    else proxies.get("cloud")?.cut();
  };
  return {
    offloader,
    endpoints: [...(hasDevice ? ["device"] : []), ...proxies.keys()],
    apply,
    async [Symbol.asyncDispose]() {
      // Links first: bytes that still travel over a silent one would never arrive.
      await closeLinks();
      await offloader.close();
      await spare?.close();
      if (scene.crowd) await store.edge.crowd(undefined).catch(() => undefined);
    },
  };
}
