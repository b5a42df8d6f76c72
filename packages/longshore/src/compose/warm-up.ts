import { type Clock, LongshoreError, silentObserver } from "@longshore/core";
import { createEngine, inlineLane, type Runtime, transformSet } from "@longshore/engine";
import { sha256, systemRandom } from "@longshore/nodejs";
import { putOnline } from "./put-online.ts";
import { overGrpc, overHttp, type WarmClient } from "./warm-clients.ts";
import { warmSource, warmStore } from "./warm-model.ts";

/*
 * The first requests of a process cost ten times as much as later ones: its code is interpreted until it has run some hundred
 * times, the native runtime is not loaded and no worker has started. A server that says it is ready then answers its first
 * second slowly. So before that it serves itself. A second server of the same code, on ports of its own that only this machine
 * reaches, with a model of one operator and without identity, log or metrics, answers real connections over HTTP and gRPC. Code
 * is compiled once for all servers of a process. The real ports, models, caches and counters never see these requests.
 */

/** The parts and settings of a server that its warm-up uses. */
export interface WarmUpParts {
  /** Of the server: all that a warm-up loads of them stays loaded. */
  readonly runtimes: readonly Runtime[];
  readonly clock: Clock;
  /** gRPC is served, too. */
  readonly grpc: boolean;
  /** Time for it, in milliseconds. */
  readonly mostMs: number;
  /** Requests after which it ends. Default 6,000: code that has run this often is compiled. */
  readonly mostRequests?: number;
  /** Gets a line where it does not work; the server then starts cold. */
  readonly report: (text: string) => void;
}

/** Connections at one time. */
const connections = 8;
/** See `WarmUpParts`. */
const enoughRequests = 6000;

/** Serves itself for a while. Never rejects. @returns how many requests were answered */
export async function warmUp(parts: WarmUpParts): Promise<number> {
  const { runtimes, clock, grpc, mostMs, mostRequests = enoughRequests, report } = parts;
  const endMs = clock.nowMs() + mostMs;
  const info = { id: "warm-up", tier: "edge", zone: "local", trust: "attested" } as const;
  const transforms = transformSet();
  const engine = createEngine({
    info: {
      ...info,
      codecs: [],
      state: "movable",
      offers: true,
      rates: { microsPerSecond: 0, microsPerMegabyte: 0, activeWatts: 0 },
    },
    store: warmStore,
    source: warmSource,
    runtimes,
    transforms,
    lane: inlineLane(transforms, clock),
    clock,
    random: systemRandom(),
    observer: silentObserver,
    sha256,
  });
  try {
    const online = await putOnline(
      { port: 0, host: "127.0.0.1", ...(grpc ? { grpcPort: 0 } : {}), id: "warm-up", cacheBytes: 0 },
      () => ({ endpoint: engine, load: () => engine.loadReport(), close: async () => undefined }),
    );
    try {
      const http = Number(new URL(online.address).port);
      const ports: [WarmClient, number][] = [[overHttp, http]];
      if (online.grpcAddress !== undefined)
        ports.push([overGrpc, Number(online.grpcAddress.split(":").at(-1))]);
      let answered = 0;
      for (const [at, [client, port]] of ports.entries()) {
        // Each has an equal share of the time that is left.
        const share = (endMs - clock.nowMs()) / (ports.length - at);
        const untilMs = clock.nowMs() + share;
        let left = mostRequests / ports.length;
        const wanted = (): boolean => left-- > 0 && clock.nowMs() < untilMs;
        const all = await Promise.all(Array.from({ length: connections }, () => client(port, wanted)));
        answered += all.reduce((sum, one) => sum + one, 0);
      }
      return answered;
    } finally {
      await online.close(0);
    }
  } catch (thrown) {
    report(`the warm-up failed: ${LongshoreError.from(thrown, "execute", "warming up").message}`);
    return 0;
  } finally {
    await engine.close().catch(() => undefined);
  }
}
