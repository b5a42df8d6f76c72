import { atOptions } from "../options/at-options.ts";
import { collect, type Defining, help, number } from "../options/define.ts";
import { directoryOptions } from "../options/directory-options.ts";
import { demo } from "./demo.ts";
import { doctor } from "./doctor.ts";
import { defineObserve } from "../observe/define-observe.ts";
import { simulateOptions } from "../simulate/options.ts";
import { simulateCommand, type SimulateOptions } from "../simulate/command.ts";

/** The commands that show the state, or a simulated one: `doctor`, `simulate`, `observe`, `demo`. */
export function defineLab({ program, action, io }: Defining): void {
  help(
    directoryOptions(
      atOptions(
        program
          .command("doctor")
          .description(
            "check runtimes, versions, optional parts, folders, ports and servers of this machine",
          ),
      ),
    )
      .option("--at <url>", "a server to check; repeat for several", collect, [])
      .option(
        "--folder <path>",
        "a folder of models, packages or data to check; repeat for several",
        collect,
        [],
      )
      .option("--json", "print JSON", false)
      .action(action((options) => doctor(options, io))),
    "longshore doctor --at http://127.0.0.1:8000 --folder ./models",
  );
  help(
    simulateOptions(
      program
        .command("simulate")
        .description("simulate requests over recorded networks, compared with an oracle and fixed plans"),
    ).action(
      action((file: string | undefined, options: SimulateOptions) => simulateCommand(file, options, io)),
    ),
    "longshore simulate --model ocr-frame --device speed=0.2 --trace uplink.up --arrivals every:2000 --html report.html",
    "longshore simulate --model bytes=20000,localMs=400,serverMs=15 --trace ./traces --arrivals poisson:2 --json rows.json",
    "longshore simulate store.yaml --endpoint edge,speed=2,rtt=4,up=80mbit --endpoint cloud,tier=cloud --seed 7",
  );
  defineObserve({ program, action, io });
  help(
    program
      .command("demo")
      .description(
        "one store: cameras, a till, an edge box and a cloud over emulated links, in a dozen scenes",
      )
      .option("--scene <name>", "only this scene; repeat for several; 'list' names them", collect, [])
      .option("--trace <file>", "replay this uplink trace in the stalling scene")
      .option("--requests <n>", "requests in each scene (default: at most 6)", number("requests", 1))
      .option("--seed <n>", "seed of the synthetic links", number("seed", 0), 7)
      .option("--html <file>", "file for the report", "longshore-demo.html")
      .option("--json", "print JSON", false)
      .action(action((options) => demo(options, io))),
    "longshore demo --scene stalls --trace uplink.trace",
  );
}
