import type { Command } from "commander";
import { collect, number } from "../options/define.ts";
import { inTimeText } from "../options/objective-text.ts";

/** The options of `longshore split` for the planner of placements. */
export interface PlacementOptions {
  readonly goal?: string;
  readonly device?: string;
  readonly endpoint: readonly string[];
  readonly keep: readonly string[];
  readonly deadline?: number;
  readonly inTime?: number;
  readonly maxEnergyMj?: number;
  readonly maxCostMicros?: number;
  readonly deviceMemory?: number;
  readonly profile?: string;
}

/** Adds them. */
export function placementOptions(command: Command): Command {
  return command
    .option(
      "--goal <name>",
      "find the best placement on device and other endpoints: mean, p95 (any quantile), chance (to keep --deadline), energy, cost, throughput, or a weighted sum: mean=1,energy=0.2",
    )
    .option("--device <parts>", "as for simulate: speed=0.2,watts=2,radio=wifi; speed is beside the profile")
    .option(
      "--endpoint <parts>",
      "an endpoint, outwards from the device, one or two: ID,tier=edge,speed=2,rtt=10,overhead=3,up=5mbit|FILE,down=20mbit|FILE,microsPerSecond=20,microsPerMegabyte=1 (default: cloud, 50 ms away, 10mbit)",
      collect,
      [],
    )
    .option(
      "--keep <name>",
      "tensor or node that may not leave the device, or go beyond an endpoint (NAME=ID); repeat for several",
      collect,
      [],
    )
    .option("--deadline <ms>", "deadline; a limit except for the goal chance", number("deadline", 0))
    .option("--in-time <ratio>", inTimeText, number("in-time", 0))
    .option("--max-energy-mj <mj>", "most energy of the device per request", number("max-energy-mj", 0))
    .option(
      "--max-cost-micros <n>",
      "most cost per request, in micros (1e-6 of your currency)",
      number("max-cost-micros", 0),
    )
    .option("--device-memory <bytes>", "most bytes of weights on the device", number("device-memory", 0))
    .option("--profile <file>", "file with times (default: the model's profile.json, or measured now)");
}

/** The flags of these that were given, for a call that names no goal. */
export function givenWithoutGoal(options: PlacementOptions): readonly string[] {
  const { device, endpoint, keep, deadline, inTime, maxEnergyMj, maxCostMicros, deviceMemory, profile } =
    options;
  return Object.entries({
    device,
    endpoint: endpoint[0],
    keep: keep[0],
    deadline,
    "in-time": inTime,
    "max-energy-mj": maxEnergyMj,
    "max-cost-micros": maxCostMicros,
    "device-memory": deviceMemory,
    profile,
  }).flatMap(([name, value]) => (value === undefined ? [] : [`--${name}`]));
}
