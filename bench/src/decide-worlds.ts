/** Worlds of `bench decide --worlds`: what the plain rows leave out, each by itself. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { seededRandom } from "@longshore/core";
import type { ArrivalWorld } from "./decide-arrivals.ts";

/** Names of all worlds. */
export const worldNames = ["service", "load", "trips", "tcp", "loss"] as const;

/** A world, and what it is in words. */
export interface DecideWorld extends ArrivalWorld {
  readonly name: (typeof worldNames)[number];
  readonly about: string;
}

/** Kinds of arrivals that each world is replayed with. */
export const worldKinds: ReadonlySet<string> = new Set(["beat", "poisson-06"]);

/** 20 and 150 kB, 400 ms here: as positions among the settings of arrivals. */
const settings = [1, 3];
/** Service time of a server that varies, in milliseconds: large enough to matter. */
const varyingMs = 60;
/** Standard deviation of the logarithm of service times. */
const sigma = 0.3;
/** For how long a service time is drawn, in milliseconds. */
const drawnForMs = 50;
/** A server whose load changes: each so long, in milliseconds, and how many times longer its runs take in turn. */
const loadForMs = 20_000;
const loadFactors = [1, 3, 1, 8, 2] as const;
/** A round trip of a recorded series is held for so long, in milliseconds. */
const tripForMs = 1000;

/** All worlds; those with recorded round trips only where the data folder has them. */
export function decideWorlds(data: string | undefined, seed: number): readonly DecideWorld[] {
  const normal = logNormal(seed);
  const trips = data && recordedTrips(data);
  return [
    {
      name: "service",
      about: `service times are log-normal (median ${varyingMs} ms, sigma ${sigma})`,
      settings,
      more: { serverMs: varyingMs, serverFactorAt: normal },
    },
    {
      name: "load",
      about: `service times are 1 to 8 times ${varyingMs} ms, changing every ${loadForMs / 1000} s, log-normal besides`,
      settings,
      more: {
        serverMs: varyingMs,
        serverFactorAt: (atMs) =>
          normal(atMs) * (loadFactors[Math.floor(atMs / loadForMs) % loadFactors.length] ?? 1),
      },
    },
    ...(trips
      ? [
          {
            name: "trips" as const,
            about: `round trips as recorded (${trips.length} pings over 4G to US-East, one a second)`,
            settings,
            more: {
              roundTripAt: (atMs: number) =>
                trips[Math.floor(Math.max(0, atMs) / tripForMs) % trips.length] ?? 50,
            },
          },
        ]
      : []),
    { name: "tcp", about: "uploads by TCP: slow start, also after idle", settings, more: { tcp: {} } },
    {
      name: "loss",
      about: "uploads by TCP, and 1 % of packets are lost",
      settings,
      more: { tcp: { lossRatio: 0.01 } },
    },
  ];
}

/** A log-normal factor with median 1 at each moment: the same at every call. */
function logNormal(seed: number): (atMs: number) => number {
  const drawn: number[] = [];
  const random = seededRandom(seed);
  return (atMs) => {
    const at = Math.max(0, Math.floor(atMs / drawnForMs));
    while (drawn.length <= at) {
      const radius = Math.sqrt(-2 * Math.log(1 - random.next()));
      drawn.push(Math.exp(sigma * radius * Math.cos(2 * Math.PI * random.next())));
    }
    return drawn[at] ?? 1;
  };
}

/** Round trips in milliseconds, in the order in which they were measured. */
function recordedTrips(data: string): readonly number[] | undefined {
  const path = join(data, "traces/5g-5gophers/ping-trace-02.log");
  if (!existsSync(path)) return undefined;
  const lines = readFileSync(path, "utf8").trim().split("\n").slice(1);
  const trips = lines.map((line) => Number(line.split(",").at(-1))).filter((trip) => trip > 0);
  return trips.length > 0 ? trips : undefined;
}
