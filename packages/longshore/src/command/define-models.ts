import { Option } from "commander";
import { golden } from "../check/golden.ts";
import { advise } from "./advise.ts";
import { atKindOption, atOptions } from "../options/at-options.ts";
import { collect, type Defining, help, number } from "../options/define.ts";
import { linkOptions } from "../options/link-options.ts";
import { placementOptions } from "../placement/options.ts";
import { profile } from "./profile.ts";
import { quantize } from "./quantize.ts";
import { split } from "./split.ts";
import { providersOption } from "../options/provider-options.ts";

/** The commands for one model: `profile`, `golden`, `quantize`, `split`, `advise`. */
export function defineModels({ program, action, io }: Defining): void {
  help(
    atOptions(
      program
        .command("profile")
        .description("measure segments, codecs and memory of a model on this machine")
        .argument("<model>", "as for infer")
        .option("--at <url>", "server that has models of steps; repeat for several", collect, [] as string[])
        .addOption(atKindOption()),
    )
      .option("--samples <folder>", "inputs to measure with; default: seeded random inputs")
      .option("--runs <n>", "counted runs of each segment and input (default: up to 5)", number("runs", 1))
      .option("--variant <name...>", "only these variants; default: all")
      .option("--processor-time", "measure processor time instead of clock time, on a busy machine", false)
      .option(
        "--write",
        "save profile.json beside the model; with an accelerator of --providers profile.NAME.json, such as profile.cuda.json",
        false,
      )
      .addOption(
        new Option("--runtime <name>", "runtime").choices(["onnxruntime", "wasm"]).default("onnxruntime"),
      )
      .addOption(providersOption())
      .option(
        "--each-provider",
        "compare execution providers on the whole model: which work, right answers, speed, memory, energy",
        false,
      )
      .option("--json", "print JSON", false)
      .action(action((model: string, options) => profile(model, options, io))),
    "longshore profile ocr --samples ./receipts --write",
    "longshore profile ocr --providers cuda --write",
    "longshore profile ocr --each-provider --providers cuda,webgpu",
  );
  help(
    program
      .command("golden")
      .description("save inputs with their right answers beside a model, to check other endpoints")
      .argument("<model>", "as for infer")
      .option("--samples <folder>", "inputs to use (default: seeded random inputs)")
      .option("--pairs <n>", "most pairs", number("pairs", 1), 4)
      .option(
        "--data-class <class>",
        "data class of these inputs; they are sent to every endpoint that may have it",
        "public",
      )
      .option("--json", "print JSON", false)
      .action(action((model: string, options) => golden(model, options, io))),
    "longshore golden ./models/ocr --samples ./receipts --pairs 3",
  );
  help(
    program
      .command("quantize")
      .description("make a smaller variant of a model (8 bits, or 16-bit weights), measured on real inputs")
      .argument("<model>", "as for infer")
      .option("--samples <folder>", "real inputs; half calibrate, half judge (default: seeded random inputs)")
      .addOption(
        new Option("--format <format>", "format of the weights").choices(["int8", "fp16"]).default("int8"),
      )
      .option("--name <name>", "name of the variant (default: the format)")
      .option(
        "--agreement <ratio>",
        "least agreement with the exact answers; layers stay in FP32 until it holds",
        number("agreement", 0),
        0.995,
      )
      .option("--output <file>", "write only the network, to this file")
      .option("--cuts <n>", "cuts to measure; 0 for the whole model only", number("cuts", 0), 0)
      .option("--json", "print JSON", false)
      .action(action((model: string, options) => quantize(model, options, io))),
    "longshore quantize ./models/ocr --samples ./receipts",
    "longshore quantize detector.onnx --samples ./tensors --output detector.int8.onnx",
  );
  help(
    placementOptions(
      program
        .command("split")
        .description(
          "list the cuts of an ONNX model, write or verify head and tail, or find the best placement",
        )
        .argument("<model>", "an .onnx file, or as for infer")
        .option("--cut <id>", "cut to write or verify; default: all of the frontier")
        .option("--out <folder>", "write head.onnx and tail.onnx there")
        .option(
          "--verify",
          "run head then tail against the whole on seeded inputs, also with several rows if the batch varies",
          false,
        )
        .option("--inputs <n>", "how many inputs to verify with", number("inputs", 1), 5)
        .option(
          "-i, --input <name=file>",
          "an input to verify with, or to plan for, instead; repeat for several",
          collect,
          [],
        ),
    )
      .option("--json", "print JSON", false)
      .action(action((model: string, options) => split(model, options, io))),
    "longshore split model.onnx --verify",
    "longshore split model.onnx --cut c12 --out ./parts",
    "longshore split model.onnx --goal p95 --endpoint edge,speed=2,rtt=8,up=20mbit --endpoint cloud,tier=cloud,speed=8,rtt=60,up=50mbit --max-energy-mj 400 --keep image",
  );
  help(
    linkOptions(
      program
        .command("advise")
        .description("say whether offloading a model would pay, where, and how much")
        .argument("<model>", "as for infer")
        .option("--samples <folder>", "real inputs to measure with"),
      "this machine",
    )
      .option(
        "--server-speed <ratio>",
        "speed of the server relative to this machine",
        number("server-speed", 0.001),
        1,
      )
      .option(
        "--every <ms>",
        "milliseconds between requests (default: the next after each answer)",
        number("every", 1),
      )
      .option("--deadline <ms>", "count answers after this as missed", number("deadline", 1))
      .option("--seed <n>", "seed of the simulation", number("seed", 0), 1)
      .option(
        "--within <seconds>",
        "end after this time; what was not measured is named",
        number("within", 1),
        120,
      )
      .option("--json", "print JSON", false)
      .action(action((model: string, options) => advise(model, options, io))),
    "longshore advise ocr --samples ./receipts --uplink 5mbit --device-speed 0.2",
    "longshore advise model.onnx --uplink uplink.trace --round-trip 60",
  );
}
