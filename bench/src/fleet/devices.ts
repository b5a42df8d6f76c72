import { seededRandom } from "@longshore/core";
import { exponential } from "@longshore/core/internal";
import { deviceModels, type DeviceScene } from "../pickers/run-devices.ts";

const [detect, read, listen] = deviceModels;
/** Models of the devices: the share of devices that use each, and the mean time between their requests. */
const models = [
  { name: detect, share: 0.5, gapMs: 15_000, inSequences: false },
  { name: read, share: 0.3, gapMs: 30_000, inSequences: false },
  { name: listen, share: 0.2, gapMs: 4000, inSequences: true },
] as const;
/** Speed of the fastest server over that of the slowest. */
const skew = 16;
/** Mean load of the servers. */
const loadRatio = 0.7;
const serversPerSite = 100;

/** Servers and devices for this many requests, or a little more; the first third is not counted. */
export function deviceScene(servers: number, devices: number, requests: number, seed: number): DeviceScene {
  const random = seededRandom(seed + 1);
  const speeds = Array.from({ length: servers }, (_, index) => skew ** (index / (servers - 1)));
  const perSecond = models.reduce((total, { share, gapMs }) => total + (1000 * devices * share) / gapMs, 0);
  // So much work that the requests of all devices load all servers by `loadRatio`.
  const meanWorkMs = (loadRatio * speeds.reduce((total, speed) => total + speed, 0) * 1000) / perSecond;
  const untilMs = (1000 * requests) / perSecond;
  return {
    servers: speeds.map((speed) => ({ speed, slots: 1 })),
    crowd: {
      devices,
      sites: Math.max(1, Math.round(servers / serversPerSite)),
      models,
      steps: 30,
      leaveRatio: 0.02,
      moveRatio: 0.02,
      awayMs: 30_000,
    },
    // Drawn from again and again: the visible size explains most of the work.
    requests: Array.from({ length: 4000 }, () => {
      const size = 1 + Math.floor(8 * random.next());
      return { workMs: (meanWorkMs * (0.8 + exponential(random, 0.2)) * (4 + size)) / 8.5, size };
    }),
    untilMs,
    countedFromMs: untilMs / 3,
    // Each server leaves once in a quarter of an hour.
    leavesPerSecond: servers / 1000,
    seed,
  };
}
