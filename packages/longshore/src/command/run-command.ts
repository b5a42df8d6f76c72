import { allRights } from "@longshore/server";
import { Command, CommanderError, Option } from "commander";
import { atOptions, type AtOptions } from "./at-options.ts";
import { advise } from "./advise.ts";
import { demo } from "./demo.ts";
import { doctor } from "./doctor.ts";
import { identityOptions } from "./identity-options.ts";
import { infer } from "./infer.ts";
import { keysAdd, keysList, keysRevoke } from "./keys.ts";
import type { CommandIo, ExitCode } from "./io.ts";
import { reportFailure } from "./io.ts";
import { plan } from "./plan.ts";
import { profile } from "./profile.ts";
import { serve } from "./serve.ts";
import { split } from "./split.ts";
import { observeOptions } from "./observe-options.ts";
import { repositoryOptions } from "./repository-options.ts";
import { tritonOptions } from "./triton-options.ts";

/** What `--input`, `--at` and the like say, shared by the commands that run or plan an inference. */
export interface RequestOptions extends AtOptions {
  readonly input: readonly string[];
  readonly runtime: "onnxruntime" | "wasm";
  readonly deadline?: number;
  readonly objective: "latency" | "energy" | "cost" | "accuracy";
  readonly dataClass?: string;
  readonly zone: readonly string[];
  readonly variant?: string;
  readonly agreement?: number;
  readonly mean?: string;
  readonly std?: string;
  readonly side?: number;
  readonly json: boolean;
}

const collect = (value: string, before: readonly string[]): readonly string[] => [...before, value];

function number(name: string, least: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!Number.isFinite(value) || value < least) {
      throw new CommanderError(
        2,
        "longshore.number",
        `error: --${name} wants a number of ${least} or more, not '${text}'`,
      );
    }
    return value;
  };
}

function requestOptions(command: Command): Command {
  return atOptions(command)
    .option("-i, --input <name=file>", "an input; repeat for several", collect, [])
    .option("--at <url>", "a server to consider; repeat for several", collect, [])
    .addOption(
      new Option("--runtime <name>", "runtime of this device")
        .choices(["onnxruntime", "wasm"])
        .default("onnxruntime"),
    )
    .option("--deadline <ms>", "answer within, in milliseconds", number("deadline", 0))
    .addOption(
      new Option("--objective <what>", "what to make small")
        .choices(["latency", "energy", "cost", "accuracy"])
        .default("latency"),
    )
    .option("--data-class <class>", "class of the input: public, internal, personal, restricted")
    .option("--zone <zone>", "allowed zone; repeat for several", collect, [])
    .option("--variant <name>", "variant of the model to use")
    .option(
      "--agreement <ratio>",
      "least agreement with the exact answer, 0..1 (default 0.995)",
      number("agreement", 0),
    )
    .option("--mean <r,g,b>", "for images into tensors: mean to subtract, after scaling to 0..1")
    .option("--std <r,g,b>", "for images into tensors: deviation to divide by")
    .option(
      "--side <pixels>",
      "for images into tensors: side where the model leaves it free (default 224)",
      number("side", 1),
    )
    .option("--json", "print JSON", false);
}

function help(command: Command, ...examples: readonly string[]): Command {
  return command.addHelpText(
    "after",
    `\nExamples:\n${examples.map((example) => `  $ ${example}`).join("\n")}\n`,
  );
}

/** Parses the arguments, runs the command and gives the exit code: 0 done, 1 failed or "no", 2 wrong usage or input. */
export async function runCommand(args: readonly string[], io: CommandIo): Promise<ExitCode> {
  let code: ExitCode = 0;
  /** Runs one command and turns what it throws into words and a code. */
  const action =
    <A extends unknown[]>(run: (...given: A) => Promise<ExitCode>) =>
    async (...given: A): Promise<void> => {
      const json = given.some(
        (value) => typeof value === "object" && value !== null && (value as { json?: boolean }).json === true,
      );
      try {
        code = await run(...given);
      } catch (error) {
        code = reportFailure(error, json, io);
      }
    };

  const program = new Command("longshore")
    .description(
      "Decides for every request where an inference runs - here, on an edge server, in a cloud, or split - and runs it there.",
    )
    .version("0.1.0")
    .exitOverride()
    .configureOutput({
      writeOut: (text) => io.out(text.trimEnd()),
      writeErr: (text) => io.note(text.trimEnd()),
    });

  const served = program
    .command("serve")
    .description(
      "put the models of a repository on the network (Open Inference Protocol v2 over HTTP and gRPC)",
    )
    .argument("<repository>", "folder of models (Triton layout), one model folder, or an .onnx file");
  identityOptions(served, (name) => number(name, 0));
  help(
    atOptions(repositoryOptions(tritonOptions(observeOptions(served, number)), number))
      .option("--host <address>", "address to listen on", "127.0.0.1")
      .option("--port <port>", "port; 0 picks a free one", number("port", 0), 8000)
      .option(
        "--grpc-port <port>",
        "port for gRPC; default: the one after --port, as Triton's 8001; 0 picks a free one",
        number("grpc-port", 0),
      )
      .option("--no-grpc-port", "no gRPC")
      .addOption(
        new Option("--tier <tier>", "what this place is")
          .choices(["device", "edge", "cloud"])
          .default("edge"),
      )
      .option("--zone <zone>", "where it processes, such as eu/de/store-7", "local")
      .option(
        "--at <url>",
        "a server behind this one that requests may be forwarded to; repeat for several",
        collect,
        [],
      )
      .option("--at-tenants", "tell the servers of --at for which tenant each request is", false)
      .option("--workers <n>", "loaded copies of each model", number("workers", 1))
      .addOption(
        new Option("--runtime <name>", "runtime").choices(["onnxruntime", "wasm"]).default("onnxruntime"),
      )
      .option("--max-body <bytes>", "largest request body", number("max-body", 1), 64 * 2 ** 20)
      .option("--queue <n>", "longest queue of a model", number("queue", 1), 256)
      .option("--allow-management", "let callers with the right to manage load and unload models", false)
      .option("--json", "print JSON lines", false)
      .action(action((repository: string, options) => serve(repository, options, io))),
    "longshore serve ./models --port 8000 --tier edge --zone eu/de/store-7",
    "longshore serve detector.onnx --port 0 --no-grpc-port",
    "longshore serve ./models --model-control explicit --load-model ocr --allow-management",
    "longshore serve ./models --model-control poll --poll-seconds 5 --model-memory 2000000000",
    "longshore serve ./models --allow-management --shared-memory longshore-",
    "longshore serve ./models --otlp http://127.0.0.1:4318 --trace-rate 100 --log-level warning",
    "longshore serve ./models --host 0.0.0.0 --identity identity.yaml --tls-cert server.pem --tls-key server.key",
  );
  help(
    requestOptions(
      program
        .command("infer")
        .description("run one inference where it is best")
        .argument("<model>", "an .onnx file, a model folder, REPOSITORY/MODEL, or a sample's name"),
    )
      .argument("[files...]", "inputs: images, .wav, .txt, .json, .npy or raw bytes")
      .option("--random", "seeded random inputs for what is not given", false)
      .option("--save <folder>", "write outputs as .npy or .txt there")
      .action(
        action((model: string, files: string[], options) =>
          infer(model, { ...options, input: [...options.input, ...files] }, io),
        ),
      ),
    "longshore infer ocr receipt.jpg --at http://127.0.0.1:8000 --deadline 500",
    "longshore infer classifier.onnx cat.jpg --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 --json",
  );
  help(
    requestOptions(
      program
        .command("plan")
        .description("say where an inference would run, and why")
        .argument("<model>", "as for infer"),
    )
      .argument("[files...]", "inputs, as for infer")
      .option("--explain", "list what lost and why", false)
      .option("--random", "seeded random inputs for what is not given", false)
      .action(
        action((model: string, files: string[], options) =>
          plan(model, { ...options, input: [...options.input, ...files] }, io),
        ),
      ),
    "longshore plan ocr receipt.jpg --at http://127.0.0.1:8000 --explain",
  );
  help(
    program
      .command("profile")
      .description("measure segments, codecs and memory of a model on this machine")
      .argument("<model>", "as for infer")
      .option("--samples <folder>", "inputs to measure with; default: seeded random inputs")
      .option(
        "--runs <n>",
        "counted runs of each segment with each input; default: up to 5, fewer where a run is slow",
        number("runs", 1),
      )
      .option("--variant <name...>", "only these variants; default: all")
      .option("--write", "save profile.json beside the model", false)
      .addOption(
        new Option("--runtime <name>", "runtime").choices(["onnxruntime", "wasm"]).default("onnxruntime"),
      )
      .option("--json", "print JSON", false)
      .action(action((model: string, options) => profile(model, options, io))),
    "longshore profile ocr --samples ./receipts --write",
  );
  help(
    program
      .command("split")
      .description(
        "list the legal cuts of an ONNX model, write head and tail, or verify that they equal the whole",
      )
      .argument("<model>", "an .onnx file, or as for infer")
      .option("--cut <id>", "cut to write or verify; default: all of the frontier")
      .option("--out <folder>", "write head.onnx and tail.onnx there")
      .option("--verify", "run head then tail against the whole on seeded inputs", false)
      .option("--inputs <n>", "how many inputs to verify with", number("inputs", 1), 5)
      .option("-i, --input <name=file>", "an input to verify with instead; repeat for several", collect, [])
      .option("--json", "print JSON", false)
      .action(action((model: string, options) => split(model, options, io))),
    "longshore split model.onnx --verify",
    "longshore split model.onnx --cut c12 --out ./parts",
  );
  help(
    program
      .command("advise")
      .description("should this model be offloaded, where, when, and what would it gain?")
      .argument("<model>", "as for infer")
      .option("--samples <folder>", "real inputs to measure with")
      .option("--uplink <rate|trace>", "uplink: 5mbit, 600kbit, or a trace file", "10mbit")
      .option("--downlink <rate|trace>", "downlink; default: four times the uplink's rate, or the same trace")
      .option("--round-trip <ms>", "round trip to the server", number("round-trip", 0), 40)
      .option(
        "--device-speed <ratio>",
        "speed of the device relative to this machine",
        number("device-speed", 0.001),
        0.2,
      )
      .option(
        "--server-speed <ratio>",
        "speed of the server relative to this machine",
        number("server-speed", 0.001),
        1,
      )
      .option(
        "--every <ms>",
        "a request every so many milliseconds; default: when the last has been answered",
        number("every", 1),
      )
      .option("--deadline <ms>", "count answers after this as missed", number("deadline", 1))
      .option("--seed <n>", "seed of the simulation", number("seed", 0), 1)
      .option("--json", "print JSON", false)
      .action(action((model: string, options) => advise(model, options, io))),
    "longshore advise ocr --samples ./receipts --uplink 5mbit --device-speed 0.2",
    "longshore advise model.onnx --uplink uplink.trace --round-trip 60",
  );
  help(
    atOptions(
      program
        .command("doctor")
        .description("check runtimes, media, memory, ports and servers of this machine"),
    )
      .option("--at <url>", "a server to check; repeat for several", collect, [])
      .option("--json", "print JSON", false)
      .action(action((options) => doctor(options, io))),
    "longshore doctor --at http://127.0.0.1:8000",
  );
  help(
    program
      .command("demo")
      .description(
        "one store: cameras, a till, an edge box and a cloud behind emulated links, in a dozen scenes",
      )
      .option("--scene <name>", "only this scene; repeat for several; 'list' names them", collect, [])
      .option("--trace <file>", "replay this uplink trace in the stalling scene")
      .option("--requests <n>", "requests in each scene", number("requests", 1), 6)
      .option("--seed <n>", "seed of the synthetic links", number("seed", 0), 7)
      .option("--html <file>", "where to write the report", "longshore-demo.html")
      .option("--json", "print JSON", false)
      .action(action((options) => demo(options, io))),
    "longshore demo --scene stalls --trace uplink.trace",
  );

  const keys = program.command("keys").description("API keys of a server: make, list, revoke");
  const keysFile = (command: Command): Command =>
    command
      .requiredOption("--file <file>", "file of hashed keys, which identity.yaml names")
      .option("--pepper <file>", "secret that keys are hashed under (default: <file>.pepper)")
      .option("--json", "print JSON", false);
  help(
    keysFile(keys.command("add").description("make a key and show it, this once"))
      .requiredOption("--tenant <name>", "whose key it is")
      .option("--right <right>", `${allRights.join(", ")}; repeat for several (default: infer)`, collect, [])
      .option("--expires <when>", "90d, 12h, or a date (default: never)")
      .option("--note <text>", "for people: who has it")
      .action(action((options) => keysAdd(options, io))),
    "longshore keys add --file keys.json --tenant acme --right infer --expires 90d > till-4.key",
  );
  help(
    keysFile(keys.command("list").description("say what is known of the keys")).action(
      action((options) => keysList(options, io)),
    ),
    "longshore keys list --file keys.json",
  );
  help(
    keysFile(keys.command("revoke").description("make a key invalid, for good"))
      .argument("<key>", "its 16 digits, as 'list' shows them")
      .action(action((key: string, options) => keysRevoke(key, options, io))),
    "longshore keys revoke 0123456789abcdef --file keys.json",
  );

  try {
    await program.parseAsync([...args], { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.code === "longshore.number") io.note(error.message);
    return error.exitCode === 0 ? 0 : 2;
  }
  if (args.length === 0) return 2;
  return code;
}
