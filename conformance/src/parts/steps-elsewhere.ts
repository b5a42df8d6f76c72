import { cp, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { numericTensor, numericView } from "@longshore/core";
import { sampleInputs, sampleRepository } from "@longshore/samples";
import {
  float32View,
  type Inputs,
  type Offloader,
  openOffloader,
  type OpenOptions,
  textElements,
} from "longshore";
import { run, Unavailable } from "../install/index.ts";
import {
  command,
  freePort,
  type RunningPeer,
  scripts,
  type ServedModel,
  type ServerSetup,
  startKserve,
  startMlserver,
  startTriton,
  startTritonPython,
} from "../servers/index.ts";
import { legsOf, runsAt } from "./asking.ts";
import { eachSelected, inFolder, type Open, type Part, type PartContext } from "./part.ts";
import { boxesOf, pipeline, ports, sameBoxes } from "./steps-of-pipelines.ts";

/** The context of a check: a folder of its own, and the list of closers. */
interface Ground {
  readonly folder: string;
  readonly open: Open[];
}

/** The result of a check: whether it passed, and the detail to print. */
type Told = readonly [good: boolean, detail: string];

const picture = async (): Promise<Inputs> => {
  const file = sampleInputs().find(({ file: name }) => name.endsWith("receipt-1.jpg"))?.path ?? "";
  return { image: await readFile(file) };
};

const sampleFile = (model: string): string => join(sampleRepository(), model, "1", "model.onnx");
const port = (name: string, ...shape: number[]): ServedModel["input"] => ({ name, datatype: "FP32", shape });
const detector: ServedModel = {
  name: "text-map",
  file: sampleFile("ocr-detect"),
  input: port("x", -1, 3, -1, -1),
  output: port("sigmoid_0.tmp_0", -1, 1, -1, -1),
  batch: 1,
};
const recogniser: ServedModel = {
  name: "line-text",
  file: sampleFile("ocr-recognise"),
  input: port("x", -1, 3, 48, -1),
  output: port("softmax_11.tmp_0", -1, -1, 6625),
  batch: 1,
};

async function started(
  { folder, open }: Ground,
  start: (setup: ServerSetup) => Promise<RunningPeer>,
  ...models: readonly ServedModel[]
): Promise<RunningPeer> {
  const own = join(folder, `server-${open.length}`);
  await mkdir(own);
  const peer = await start({ models, cores: [0, 1], spread: { copies: 1, threads: 1 }, folder: own });
  open.push(peer);
  return peer;
}

async function write(folder: string, name: string, yaml: string): Promise<string> {
  const repository = join(folder, "repository");
  await mkdir(join(repository, name, "1"), { recursive: true });
  await writeFile(join(repository, name, "model.yaml"), yaml);
  return repository;
}

async function over(
  open: Open[],
  repository: string,
  servers: OpenOptions["servers"] = [],
): Promise<Offloader> {
  const offloader = await openOffloader({ repository, servers, defaults: { dataClass: "internal" } });
  open.push(offloader);
  return offloader;
}

const named = ({ http, grpc }: RunningPeer, kind: "oip" | "json" = "oip") => ({
  address: `http://${http}`,
  id: "there",
  kind,
  trust: "operated" as const,
  metrics: "none",
  ...(grpc === undefined ? {} : { grpc: `http://${grpc}` }),
});

/** The samples' reader of text, whose recogniser is only at a server: boxes are found here, and each line is read there. */
async function linesThere({ folder, open }: Ground, peer: RunningPeer): Promise<Told> {
  const repository = join(folder, "repository");
  await cp(sampleRepository(), repository, { recursive: true });
  const file = join(repository, "ocr-frame", "model.yaml");
  const here = "id: recognise, model: ocr-recognise,";
  const yaml = (await readFile(file, "utf8")).replace(
    here,
    "id: recognise, model: line-text, elsewhere: true,",
  );
  const inputs = await picture();
  const right = await (await over(open, sampleRepository())).infer("ocr", inputs);
  await writeFile(file, yaml);
  const result = await (await over(open, repository, [named(peer)])).infer("ocr", inputs);
  const [lines, read] = [right, result].map(({ outputs }) => {
    const text = outputs.get("text");
    return text ? textElements(text) : [];
  });
  const ran = await runsAt(peer.http, recogniser.name, lines?.length);
  const same = JSON.stringify(lines) === JSON.stringify(read);
  const good = same && !yaml.includes(here) && (lines?.length ?? 0) > 1 && ran === lines?.length;
  return [good, `${legsOf(result)}; ${lines?.length} lines, ${ran} runs there`];
}

/** The detector at a server that does not say what its models take, so that the pipeline says it. */
async function mapThere({ folder, open }: Ground, peer: RunningPeer, kind: "oip" | "json"): Promise<Told> {
  await write(folder, "here", pipeline("model: ocr-detect"));
  await mkdir(join(folder, "repository", "ocr-detect", "1"), { recursive: true });
  await cp(detector.file, join(folder, "repository", "ocr-detect", "1", "model.onnx"));
  const repository = await write(folder, "written", pipeline(`model: text-map\n      elsewhere: ${ports}`));
  await write(folder, "asks", pipeline("model: text-map\n      elsewhere: true"));
  const inputs = await picture();
  const right = boxesOf(await (await over(open, repository)).infer("here", inputs));
  const offloader = await over(open, repository, [named(peer, kind)]);
  const result = await offloader.infer("written", inputs);
  const asks = await offloader.infer("asks", inputs).then(
    (answer) => (sameBoxes(boxesOf(answer), right) ? "" : "other boxes"),
    (thrown: unknown) => (thrown instanceof Error ? thrown.message : String(thrown)),
  );
  // Asked for what it takes, it answers like any other, or is named as one that does not say.
  const good = sameBoxes(boxesOf(result), right) && (asks === "" || asks.includes("text-map (step detect)"));
  return [good, `${legsOf(result)}; ${right.length / 8} boxes; asked: ${asks === "" ? "it says" : asks}`];
}

async function pythonModel(folder: string, name: string, script: string, lines: readonly string[]) {
  const version = join(folder, "triton", name, "1");
  await mkdir(version, { recursive: true });
  await cp(join(scripts, script), join(version, "model.py"));
  const text = [`name: "${name}"`, `backend: "python"`, ...lines];
  text.push("instance_group [ { count: 1 kind: KIND_CPU } ]");
  await writeFile(join(folder, "triton", name, "config.pbtxt"), `${text.join("\n")}\n`);
}

const dims = (name: string, type: string): string =>
  `{ name: "${name}" data_type: TYPE_${type} dims: [ -1 ] }`;

/** Each answer of Triton's decoupled model, through our transform. */
async function severalThere({ folder, open }: Ground): Promise<Told> {
  await pythonModel(folder, "repeat", "triton_repeat.py", [
    "max_batch_size: 0",
    "model_transaction_policy { decoupled: true }",
    `input [ ${dims("IN", "INT32")}, ${dims("DELAY", "UINT32")} ]`,
    `output [ ${dims("OUT", "INT32")}, ${dims("IDX", "UINT32")} ]`,
    `parameters { key: "notes" value: { string_value: "${join(folder, "notes")}" } }`,
  ]);
  const triton = await startTritonPython(join(folder, "triton"));
  open.push(triton);
  const repository = await write(
    folder,
    "several",
    `inputs: [{ name: IN, datatype: INT32, shape: [-1] }, { name: DELAY, datatype: UINT32, shape: [-1] }]
pipeline:
  steps:
    - { id: say, model: repeat, inputs: { IN: IN, DELAY: DELAY }, elsewhere: true }
    - { id: flat, transform: flatten, inputs: { tensor: say.OUT } }
  outputs: { value: flat.tensor }
`,
  );
  const offloader = await over(open, repository, [named(triton)]);
  const values = [5, 6, 7];
  const given: number[] = [];
  const inputs = {
    IN: numericTensor("IN", "INT32", [3], Int32Array.from(values)),
    DELAY: numericTensor("DELAY", "UINT32", [3], new Uint32Array(3)),
  };
  for await (const { outputs } of offloader.answers("several", inputs)) {
    const value = outputs.get("value");
    if (value) given.push(...Array.from(numericView(value), Number));
  }
  return [given.join() === values.join(), `answers ${given.join(", ")}`];
}

/** A sequence whose state a real Triton keeps, between two of them: all steps go to one, and it is not begun again elsewhere. */
async function sequenceThere({ folder, open }: Ground): Promise<Told> {
  await pythonModel(folder, "sum", "triton_sum.py", [
    "max_batch_size: 1",
    "sequence_batching { max_sequence_idle_microseconds: 60000000 }",
    `input [ ${dims("IN", "FP32")} ]`,
    `output [ ${dims("OUT", "FP32")} ]`,
  ]);
  const peers = [
    await startTritonPython(join(folder, "triton")),
    await startTritonPython(join(folder, "triton")),
  ];
  open.push(...peers);
  const repository = await write(
    folder,
    "sums",
    `inputs: [{ name: IN, datatype: FP32, shape: [1, -1] }]
sequence: { maxIdleMs: 60000 }
pipeline:
  steps:
    - { id: sum, model: sum, inputs: { IN: IN }, elsewhere: true }
    - { id: flat, transform: flatten, inputs: { tensor: sum.OUT } }
  outputs: { sum: flat.tensor }
`,
  );
  const offloader = await over(
    open,
    repository,
    peers.map((peer, index) => ({ ...named(peer), id: `endpoint-${index}` })),
  );
  const sequence = offloader.sequence("sums");
  const where = new Set<string>();
  const sums: number[] = [];
  const next = async (value: number): Promise<void> => {
    const result = await sequence.next({ IN: numericTensor("IN", "FP32", [1, 1], Float32Array.of(value)) });
    where.add(result.where);
    const sum = result.outputs.get("sum");
    if (sum) sums.push(...float32View(sum));
  };
  for (let step = 1; step <= 6; step++) await next(step);
  await peers[where.has("endpoint-0") ? 0 : 1]?.close();
  const after = await next(7).then(
    () => "it went on without its state",
    (thrown: unknown) => (thrown instanceof Error ? thrown.message : String(thrown)),
  );
  const good = sums.join() === "1,3,6,10,15,21" && where.size === 1 && after.includes("no connection to");
  return [good, `sums ${sums.join(", ")} at ${[...where].join()}; then: ${after}`];
}

/** The command's errors for such a pipeline with mistakes; each has to name the mistake. */
async function mistakes({ folder, open }: Ground): Promise<Told> {
  const triton = await started({ folder, open }, startTriton, detector);
  const good = `model: text-map\n      elsewhere: ${ports}`;
  const other = ports.replace("[-1, 3, -1, -1]", "[-1, 4, -1, -1]");
  const [image] = [sampleInputs().find(({ file: name }) => name.endsWith("receipt-1.jpg"))?.path ?? ""];
  const nobody = `127.0.0.1:${await freePort()}`;
  const walks: readonly [name: string, step: string, at: string, says: readonly string[]][] = [
    ["name", `model: text-mop\n      elsewhere: true`, triton.http, ["text-mop (step detect)"]],
    ["address", `model: text-map\n      elsewhere: true`, nobody, [nobody]],
    ["gone", good, nobody, ["text-map (step detect)", nobody]],
    [
      "version",
      good.replace("elsewhere", `version: "9"\n      elsewhere`),
      triton.http,
      ["text-map", "version 9"],
    ],
    ["shape", `model: text-map\n      elsewhere: ${other}`, triton.http, ["[-1, 4, -1, -1]", "x"]],
    [
      "output",
      good.replace("{ name: sigmoid_0.tmp_0", "{ name: map").replace("sigmoid", "map"),
      triton.http,
      ["sigmoid_0.tmp_0"],
    ],
    [
      "datatype",
      good.replace("datatype: FP32, shape: [-1, 1", "datatype: FP16, shape: [-1, 1"),
      triton.http,
      ["text-map, but it takes", "sigmoid_0.tmp_0 FP32"],
    ],
  ];
  const wrong: string[] = [];
  for (const [name, step, at, says] of walks) {
    const repository = await write(folder, name, pipeline(step));
    const where = ["--at", `http://${at}`, "--at-kind", "oip", "--data-class", "internal"];
    const { code, out, err } = await run(
      process.execPath,
      [command, "infer", join(repository, name), image, ...where],
      { timeoutMs: 180_000 },
    );
    const said = `${out} ${err}`.replaceAll(/\s+/g, " ").slice(0, 600);
    if (code === 0 || !says.every((word) => said.includes(word))) wrong.push(`${name}: ${said}`);
  }
  return [
    wrong.length === 0,
    wrong.length === 0 ? `${walks.length} mistakes, each named` : wrong.join(" | "),
  ];
}

const checks: readonly { readonly name: string; run(ground: Ground): Promise<Told> }[] = [
  {
    name: "boxes are found here, and a recogniser that only Triton has reads each line",
    run: async (ground) => linesThere(ground, await started(ground, startTriton, recogniser)),
  },
  {
    name: "our transforms run around a detector that only KServe's server has",
    run: async (ground) => mapThere(ground, await started(ground, startKserve, detector), "oip"),
  },
  {
    name: "our transforms run around a detector that only MLServer has",
    run: async (ground) => mapThere(ground, await started(ground, startMlserver, detector), "json"),
  },
  { name: "each answer of a decoupled model of Triton comes through our transform", run: severalThere },
  { name: "a sequence stays at the Triton that keeps its state", run: sequenceThere },
  { name: "what is wrong with a step at a Triton is said by name", run: mistakes },
];

/** Pipelines of ours whose steps run at real servers of other makes: for each element, in sequences, with several answers. */
export const stepsElsewherePart: Part = {
  name: "steps-elsewhere",
  run: (context: PartContext) =>
    eachSelected(context, checks, (check) =>
      inFolder("elsewhere", async (folder, open) => {
        const [good, detail] = await check.run({ folder, open }).catch((thrown: unknown): Told => {
          if (thrown instanceof Unavailable) throw thrown;
          return [false, thrown instanceof Error ? thrown.message : String(thrown)];
        });
        context.told({ name: check.name, outcome: good ? "passed" : "failed", detail });
      }),
    ),
};
