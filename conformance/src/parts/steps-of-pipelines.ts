import { copyFile, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { sampleInputs, sampleRepository } from "@longshore/samples";
import { untilKnown } from "@longshore/testkit/until-known";
import {
  float32View,
  type Inputs,
  type Offloader,
  openOffloader,
  type OpenOptions,
  type Result,
} from "longshore";
import { type RunningPeer, type ServedModel, startOwn, startTriton } from "../servers/index.ts";
import { legsOf, longshore, runsAt } from "./asking.ts";
import { asked, inFolder, type Open, type Part, type PartContext } from "./part.ts";

/** The inputs and outputs of the text detector, as the pipeline states them. */
export const ports = `{
        inputs: [{ name: x, datatype: FP32, shape: [-1, 3, -1, -1] }],
        outputs: [{ name: sigmoid_0.tmp_0, datatype: FP32, shape: [-1, 1, -1, -1] }],
      }`;

/** Where the text is in a picture: our transforms, the detector as `model`, our transforms. */
export const pipeline = (step: string): string => `dataClass: internal
inputs: [{ name: image, datatype: BYTES, shape: [1], media: image }]
pipeline:
  steps:
    - { id: decode, transform: decode-image, inputs: { bytes: image } }
    - { id: fit, transform: resize-image, with: { longest: 320, multiple: 32 }, inputs: { image: decode.image } }
    - id: pixels
      transform: normalise-image
      with: { order: bgr, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] }
      inputs: { image: fit.image }
    - id: detect
      inputs: { x: pixels.tensor }
      ${step}
    - { id: find, transform: text-boxes, inputs: { map: detect.sigmoid_0.tmp_0, scale: fit.scale } }
  outputs: { boxes: find.boxes, scores: find.scores }
`;

const steps: Readonly<Record<string, string>> = {
  here: "model: ocr-detect",
  told: "model: text-map\n      elsewhere: true",
  written: `model: text-map\n      elsewhere: ${ports}`,
  later: `model: text-map\n      version: "2"\n      elsewhere: ${ports}`,
};

/** The pipelines of this device, and the detector for the one that has it here. */
async function repositoryIn(folder: string, detector: string): Promise<string> {
  const repository = join(folder, "repository");
  for (const [name, step] of Object.entries(steps)) {
    await mkdir(join(repository, name, "1"), { recursive: true });
    await writeFile(join(repository, name, "model.yaml"), pipeline(step));
  }
  await mkdir(join(repository, "ocr-detect", "1"), { recursive: true });
  await copyFile(detector, join(repository, "ocr-detect", "1", "model.onnx"));
  return repository;
}

/** Whether two lists of corners are those of the same boxes. */
export function sameBoxes(one: readonly number[], other: readonly number[]): boolean {
  return (
    one.length > 0 &&
    one.length === other.length &&
    one.every((value, at) => Math.abs(value - (other[at] ?? NaN)) < 0.5)
  );
}

/** The corners of all boxes of an answer. */
export const boxesOf = ({ outputs }: Result): readonly number[] => {
  const boxes = outputs.get("boxes");
  return boxes ? [...float32View(boxes)] : [];
};

async function check(context: PartContext, folder: string, open: Open[]): Promise<void> {
  const told = (name: string, good: boolean, detail: string): void =>
    context.told({ name, outcome: good ? "passed" : "failed", detail });
  const detector = join(sampleRepository(), "ocr-detect", "1", "model.onnx");
  const repository = await repositoryIn(folder, detector);
  const port = (name: string, channels: number): ServedModel["input"] => ({
    name,
    datatype: "FP32",
    shape: [-1, channels, -1, -1],
  });
  const model = { file: detector, input: port("x", 3), output: port("sigmoid_0.tmp_0", 1), batch: 1 };
  const start = async (name: string): Promise<RunningPeer> => {
    const own = join(folder, name);
    await mkdir(own);
    const spread = { copies: 1, threads: 1 };
    const triton = await startTriton({
      models: [{ name: "text-map", ...model }],
      cores: [0, 1],
      spread,
      folder: own,
    });
    open.push(triton);
    return triton;
  };
  const [one, two] = [await start("one"), await start("two")];
  const runs = async (atOne = 0): Promise<number> =>
    (await runsAt(one.http, "text-map", atOne)) + (await runsAt(two.http, "text-map"));
  const over = async (
    servers: readonly RunningPeer[],
    change: Partial<OpenOptions> = {},
  ): Promise<Offloader> => {
    const offloader = await openOffloader({
      repository,
      servers: servers.map(({ http }) => ({
        address: `http://${http}`,
        id: http === one.http ? "one" : "two",
        kind: "oip",
        trust: "operated",
        metrics: "none",
      })),
      defaults: { dataClass: "internal" },
      ...change,
    });
    open.push(offloader);
    return offloader;
  };
  const file = sampleInputs().find(({ file: name }) => name.endsWith("receipt-1.jpg"))?.path ?? "";
  const picture: Inputs = { image: await readFile(file) };
  const right = boxesOf(await (await over([])).infer("here", picture));
  for (const [name, which] of [
    ["our transforms run around a detector that only Triton has", "written"],
    ["Triton says what its detector takes and gives", "told"],
  ] as const) {
    if (!asked(context, name)) continue;
    const before = await runs();
    const result = await (await over([one])).infer(which, picture);
    const ran = (await runs(before + 1)) - before;
    const good =
      sameBoxes(boxesOf(result), right) && ran === 1 && legsOf(result).includes("pixels..detect at one");
    told(
      name,
      good,
      `${legsOf(result)}; ${right.length / 8} boxes, ${result.sentBytes} bytes sent, ${ran} runs there`,
    );
  }
  const at = ["--at", `http://${one.http}`, "--at-kind", "oip", "--data-class", "internal"];
  const argument = join(repository, "written");
  const shell = "the command infers and explains it";
  if (asked(context, shell)) {
    const text = await longshore("infer", argument, file, ...at, "--json");
    const { outputs } = JSON.parse(text) as { outputs: { boxes: { data: number[] } } };
    const plan = await longshore("plan", argument, file, ...at, "--explain");
    const good = sameBoxes(outputs.boxes.data, right) && plan.includes("only other endpoints have text-map");
    told(shell, good, plan.split("\n")[0] ?? "");
  }
  const front = "a server of ours has the pipeline, and Triton behind it the detector";
  if (asked(context, front)) {
    const own = await startOwn({ repository, args: [...at, "--log-level", "none"] });
    open.push(own);
    const before = await runs();
    const behind = ["--at", `http://${own.http}`, "--data-class", "internal", "--json"];
    const text = await longshore("infer", "written", file, ...behind);
    const { outputs, where } = JSON.parse(text) as { outputs: { boxes: { data: number[] } }; where: string };
    const ready = await fetch(`http://${own.http}/v2/models/written/ready`);
    const good =
      sameBoxes(outputs.boxes.data, right) && ready.status === 200 && (await runs(before + 1)) - before === 1;
    told(front, good, `start..end at ${where}; ready ${ready.status}`);
  }
  for (const [name, which, change] of [
    [
      "no picture leaves against a rule",
      "written",
      {
        policy: {
          decide: ({ zone, reveals }) =>
            zone === "device" || reveals !== "input"
              ? { allow: true }
              : { allow: false, rule: "pictures stay here" },
        },
      } satisfies Partial<OpenOptions>,
    ],
    ["a version that Triton has not is no endpoint", "later", {}],
  ] as const) {
    if (!asked(context, name)) continue;
    const before = await runs();
    const refused = await (await over([one], change)).infer(which, picture).then(
      () => "it was answered",
      (thrown: unknown) => (thrown instanceof Error ? thrown.message : String(thrown)),
    );
    told(name, refused !== "it was answered" && (await runs()) === before, refused);
  }
  const gone = "another Triton answers when one is gone";
  if (asked(context, gone)) {
    const offloader = await over([one, two]);
    await untilKnown(offloader, "written", picture, ["one", "two"]);
    const asks = async (): Promise<{ result: Result; at: string | undefined }> => {
      const result = await offloader.infer("written", picture);
      return { result, at: result.accounts.find(({ segment }) => segment.to === "detect")?.endpoint };
    };
    const { at: first } = await asks();
    await (first === "one" ? one : two).close();
    const other = first === "one" ? "two" : "one";
    const after = [await asks(), await asks(), await asks()];
    told(
      gone,
      after.every(({ result, at }) => at === other && sameBoxes(boxesOf(result), right)),
      `${first} went; ${after.map(({ result }) => legsOf(result)).join("; ")}`,
    );
  }
}

/** Pipelines of ours around a model that only a real Triton has. */
export const stepsOfPipelinesPart: Part = {
  name: "steps-of-pipelines",
  run: (context) => inFolder("steps", (folder, open) => check(context, folder, open)),
};
