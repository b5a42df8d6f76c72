import type { FarmEndpoint } from "@longshore/lab";
import type { PickerKind } from "./picker.ts";

/** Probes kept in the pool (setting of the paper). */
const poolSize = 16;
/** Probes sent for each request (setting of the paper). */
const probesPerRequest = 3;
/** Age at which a probe is dropped, in milliseconds (setting of the paper). */
const probeAgeMs = 1000;
/** A server with more requests in flight than this quantile counts as hot (setting of the paper). */
const hotQuantile = 0.84;

interface Probe {
  readonly index: number;
  readonly atMs: number;
  readonly latencyMs: number;
  inFlight: number;
  uses: number;
}

/** A server's answer to a probe: requests in flight, and the time of recent requests when it was as busy. */
interface Estimator {
  seen(inFlight: number, tookMs: number): void;
  latencyMs(inFlight: number): number;
}

function estimator(endpoint: FarmEndpoint): Estimator {
  const byCount = new Map<number, number>();
  return {
    seen(inFlight, tookMs) {
      const before = byCount.get(inFlight);
      byCount.set(inFlight, before === undefined ? tookMs : before + 0.2 * (tookMs - before));
    },
    latencyMs(inFlight) {
      for (let away = 0; away < 64; away++) {
        const found = byCount.get(inFlight - away) ?? byCount.get(inFlight + away);
        if (found !== undefined) return found;
      }
      return 30 / endpoint.server.speed;
    },
  };
}

const estimators = new WeakMap<FarmEndpoint, Estimator>();

function estimatorOf(endpoint: FarmEndpoint): Estimator {
  const found = estimators.get(endpoint) ?? estimator(endpoint);
  estimators.set(endpoint, found);
  return found;
}

/**
 * Prequal (Wydrowski, Kleinberg, Rumble, Archer 2024, "Load is not what you should balance: introducing Prequal"): probes run
 * beside the path of requests and are used again a few times; of those in the pool the hot servers, with more in flight than
 * most, are avoided, and of the cold ones the fastest is taken.
 */
export const prequal: PickerKind = ({ endpoints, random, nowMs }) => {
  let pool: Probe[] = [];
  let worstNext = false;
  const reuse = Math.max(
    1,
    2 / ((1 - poolSize / Math.max(endpoints.length, poolSize + 1)) * probesPerRequest - 1),
  );
  const probe = (): void => {
    const index = Math.floor(random.next() * endpoints.length);
    const endpoint = endpoints[index];
    if (!endpoint) return;
    const { inFlight } = endpoint;
    const latencyMs = estimatorOf(endpoint).latencyMs(inFlight);
    pool.push({ index, atMs: nowMs(), inFlight, latencyMs, uses: 0 });
    if (pool.length > poolSize) pool.shift();
  };
  const hotAbove = (): number => {
    const sorted = pool.map(({ inFlight }) => inFlight).sort((a, b) => a - b);
    return sorted[Math.min(sorted.length - 1, Math.floor(hotQuantile * sorted.length))] ?? Infinity;
  };
  const started = new Map<number, number[]>();
  return {
    name: "Prequal",
    pick() {
      pool = pool.filter(({ atMs }) => nowMs() - atMs <= probeAgeMs);
      for (let count = 0; count < probesPerRequest; count++) probe();
      const limit = hotAbove();
      const cold = pool.filter(({ inFlight }) => inFlight <= limit);
      const better = (one: Probe, other: Probe): boolean =>
        cold.length > 0 ? one.latencyMs < other.latencyMs : one.inFlight < other.inFlight;
      const among = cold.length > 0 ? cold : pool;
      let chosen = among[0];
      for (const one of among) if (chosen && better(one, chosen)) chosen = one;
      if (!chosen) return Math.floor(random.next() * endpoints.length);
      chosen.inFlight += 1;
      chosen.uses += 1;
      if (chosen.uses >= reuse) pool.splice(pool.indexOf(chosen), 1);
      // The worst and the oldest leave in turns, so that the pool does not fill with unused servers.
      if (pool.length > 2) {
        const worst = pool.reduce((one, other) => (other.latencyMs > one.latencyMs ? other : one));
        pool.splice(worstNext ? pool.indexOf(worst) : 0, 1);
        worstNext = !worstNext;
      }
      return chosen.index;
    },
    sent(index) {
      const list = started.get(index) ?? [];
      list.push(endpoints[index]?.inFlight ?? 0);
      started.set(index, list);
    },
    answered(index, tookMs) {
      const inFlight = started.get(index)?.shift() ?? 0;
      const endpoint = endpoints[index];
      if (endpoint) estimatorOf(endpoint).seen(inFlight, tookMs);
    },
  };
};
