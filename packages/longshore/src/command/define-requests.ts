import { type Defining, help } from "../options/define.ts";
import { inferCommand } from "./infer.ts";
import { plan } from "./plan.ts";
import { requestOptions } from "./request-options.ts";

/** `inferCommand` and `plan`. */
export function defineRequests({ program, action, io }: Defining): void {
  help(
    requestOptions(
      program
        .command("infer")
        .description("run one inference on the best endpoint")
        .argument("<model>", "an .onnx file, a model folder, REPOSITORY/MODEL, or a sample's name"),
    )
      .argument("[files...]", "inputs: images, .wav, .txt, .json, .npy or raw bytes")
      .option("--random", "use seeded random inputs for missing ones", false)
      .option("--several", "print each answer of a model that gives several", false)
      .option("--save <folder>", "write outputs to this folder as .npy or .txt")
      .action(
        action((model: string, files: string[], options) =>
          inferCommand(model, { ...options, input: [...options.input, ...files] }, io),
        ),
      ),
    "longshore infer ocr receipt.jpg --at http://127.0.0.1:8000 --deadline 500",
    "longshore infer classifier.onnx cat.jpg --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 --json",
  );
  help(
    requestOptions(
      program
        .command("plan")
        .description("explain where an inference would run")
        .argument("<model>", "as for infer"),
    )
      .argument("[files...]", "inputs, as for infer")
      .option("--explain", "list the other candidates and why they lost", false)
      .option("--random", "use seeded random inputs for missing ones", false)
      .action(
        action((model: string, files: string[], options) =>
          plan(model, { ...options, input: [...options.input, ...files] }, io),
        ),
      ),
    "longshore plan ocr receipt.jpg --at http://127.0.0.1:8000 --explain",
    "longshore plan ocr receipt.jpg --config longshore.yaml --data-class personal --explain",
  );
}
