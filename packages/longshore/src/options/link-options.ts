import { LongshoreError } from "@longshore/core";
import { constantTrace, meanBitsPerSecond, parseRate, scaled, type Trace } from "@longshore/lab";
import type { Command } from "commander";
import { linkOf } from "./link-of.ts";
import { number } from "./define.ts";

/** A device that is supposed, and its link to a server. */
export interface LinkOptions {
  readonly uplink: string;
  readonly downlink?: string;
  readonly roundTrip: number;
  readonly deviceSpeed: number;
}

/** Adds them. `than` says what the device's speed is relative to. */
export function linkOptions(command: Command, than: string): Command {
  return command
    .option("--uplink <rate|trace>", "uplink of the device: 5mbit, 600kbit, or a trace file", "10mbit")
    .option("--downlink <rate|trace>", "downlink; default: four times the uplink's rate, or the same trace")
    .option("--round-trip <ms>", "round trip to the server", number("round-trip", 0), 40)
    .option(
      "--device-speed <ratio>",
      `speed of the device relative to ${than}`,
      number("device-speed", 0.001),
      0.2,
    );
}

/** The link both ways. Throws `invalid-input` for one that cannot be read, or never carries a byte. */
export async function linksOf(
  options: Pick<LinkOptions, "uplink" | "downlink">,
): Promise<{ readonly up: Trace; readonly down: Trace }> {
  const up = await linkOf("uplink", options.uplink);
  const down = await downlink(options, up);
  for (const [name, trace] of [
    ["uplink", up],
    ["downlink", down],
  ] as const) {
    if (meanBitsPerSecond(trace) > 0) continue;
    throw new LongshoreError(
      "invalid-input",
      "decode",
      `--${name} never carries a byte: no rate of it is above 0`,
    );
  }
  return { up, down };
}

/** As given; else four times the uplink's rate, or a trace itself. */
async function downlink(options: Pick<LinkOptions, "uplink" | "downlink">, up: Trace): Promise<Trace> {
  if (options.downlink !== undefined) return linkOf("downlink", options.downlink);
  const rate = parseRate(options.uplink);
  return rate === undefined ? scaled(up, 1) : constantTrace(4 * rate);
}
