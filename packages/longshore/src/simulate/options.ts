import type { Command } from "commander";
import { collect, number } from "../options/define.ts";
import { inTimeText, objectiveText } from "../options/objective-text.ts";

/** The flags of `longshore simulate`; their values are checked with the scenario. */
export function simulateOptions(command: Command): Command {
  return command
    .argument("[scenario]", "scenario in YAML; flags override it")
    .option(
      "--model <model>",
      "a sample, model folder or profile.json, or numbers: bytes=20000,localMs=400,serverMs=15",
    )
    .option(
      "--device <parts>",
      "speed=0.2,watts=2,radio=wifi (lte, 3g, wifi, wired); speed is relative to the profile",
    )
    .option(
      "--trace <file|folder|rate>",
      "uplinks to replay, one run each: mahimahi, two columns (seconds, Mbit/s), CSV, or 5mbit; x.down beside x.up is its downlink; repeat for several",
      collect,
      [],
    )
    .option(
      "--arrivals <file|pattern>",
      "requests: every:MS, poisson:RATE (a second), or a CSV of instants; repeat for several (default: every:500)",
      collect,
      [],
    )
    .option("--stretch <factor>", "factor for the gaps between requests", number("stretch", 0))
    .option(
      "--endpoint <parts>",
      "an endpoint: ID,tier=edge,zone=eu/de,speed=2,instances=4,queue=1000,crowd=0.5,rtt=50,jitter=2,up=FILE,down=FILE; repeat for several (default: a cloud 50 ms away)",
      collect,
      [],
    )
    .option("--requests <n>", "requests of each replay (default: 300)", number("requests", 1))
    .option("--deadline <ms>", "an answer later than this is missed", number("deadline", 1))
    .option("--objective <name>", `${objectiveText} (default: latency)`)
    .option("--in-time <ratio>", inTimeText, number("in-time", 0))
    .option("--data-class <class>", "class of the input: public (default), internal, personal, restricted")
    .option("--zone <zone>", "allowed zone; repeat for several", collect, [])
    .option(
      "--agreement <ratio>",
      "least agreement with the exact answer, 0 to 1 (default 0.995)",
      number("agreement", 0),
    )
    .option("--seed <n>", "seed of arrivals, services and choices (default: 1)", number("seed", 0))
    .option("--json <file>", "file for all rows; - prints them")
    .option("--html <file>", "file for a report with plots");
}
