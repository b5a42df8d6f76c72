/**
 * `bench split`: splits that are run. Regret: the server runs native ONNX Runtime, the device WebAssembly, and a relay carries at a constant rate. Every plan expected to take
 * at most twice the least is run in interleaved rounds. Regret is a plan's median over the least median, less 1. Fitted: the plan with the least profiled time. Offloader: the
 * plan of most of its last requests. An error of 1 is the most that a runtime's own rounding allows.
 */
import {
  type Call,
  type Codec,
  endCut,
  fp16Codec,
  int8Codec,
  startCut,
  type Tensors,
  uint8Codec,
} from "@longshore/core";
import { housekeepingCall } from "@longshore/core/internal";
import type { InferenceSession, Runtime } from "@longshore/engine";
import {
  artifactOfModel,
  type CutSketch,
  cutTable,
  findInputs,
  type OpenGraph,
  promising,
  readModel,
  segmentOf,
  sketchCuts,
  splitGraph,
  worstDifference,
} from "@longshore/graph";
import { onnxRuntime } from "@longshore/nodejs";
import { graphFiles, type NamedFile } from "./graph-files.ts";
import { regretFigures, regretModels, regretRows } from "./split-regret.ts";
import { type Bench, type BenchContext, chosenOf, type Measured, median, type Row } from "./harness.ts";

/** The most cuts that are measured in one model. */
const maxCuts = 16;
/** Inputs that every cut is checked with. */
const inputCount = 5;

const codecs: readonly Codec[] = [uint8Codec, fp16Codec, int8Codec];

/**
 * Cuts every model in two at each cut of its frontier and compares: answers of head then tail with those of the whole, times of
 * both, and the bytes that would travel. Then it checks whether the offloader chooses the plan that is best when run (`--only
 * regret` does that alone, `--only NAME,...` takes some of the graphs).
 */
export const bench: Bench = {
  name: "split",
  about:
    "head then tail against the whole, on every cut that can be the best for some device, server and link",
  options: ["--only NAME,..."],
  bars: { worstSplitError: { atMost: 1 }, modelsWithEqualAnswers: { atMost: 0 } },
  async run(context): Promise<Measured> {
    const all = graphFiles(context);
    const parts = [...all.map(({ name }) => name), ...regretModels.map((model) => `regret/${model}`)];
    const only = chosenOf(context.args, "only", parts) ?? parts;
    const files = all.filter(({ name }) => only.includes(name));
    const models = regretModels.filter((model) => only.includes(`regret/${model}`));
    if (files.length === 0) {
      const rows = await regretRows(context, models);
      return { figures: regretFigures(rows), rows };
    }
    const call = housekeepingCall("bench-split");
    const runtime = onnxRuntime();
    const rows: Row[] = [];
    let modelsWithEqualAnswers = 0;
    try {
      for (const file of files) {
        const measured = await measureFile(file, runtime, context, call);
        rows.push(...measured.rows);
        if (!measured.answersVary) modelsWithEqualAnswers++;
      }
    } finally {
      await runtime.close();
    }
    const inner = rows.filter((row) => typeof row["worst"] === "number");
    const regret = await regretRows(context, models);
    const figures = {
      worstSplitError: Math.max(...inner.map((row) => Number(row["worst"]))),
      medianSplitRatio: median(inner.map((row) => Number(row["splitRatio"]))),
      cutsChecked: inner.length,
      modelsChecked: files.length,
      modelsWithEqualAnswers,
      ...(regret.length === 0 ? {} : regretFigures(regret)),
    };
    const notRun = context.data === undefined ? ["light models: no --data folder"] : [];
    return { figures, rows: [...rows, ...regret], notRun };
  },
};

interface MeasuredFile {
  readonly rows: readonly Row[];
  /** Whether different inputs give different answers: if not, equality of answers shows nothing. */
  readonly answersVary: boolean;
}

async function measureFile(
  file: NamedFile,
  runtime: Runtime,
  context: BenchContext,
  call: Call,
): Promise<MeasuredFile> {
  const split = splitGraph(readModel(file.read()));
  const graph: OpenGraph = { split, table: cutTable(split), digest: file.name };
  const seeds = Array.from({ length: inputCount }, (_unused, index) => context.seed + index);
  const inputs = await findInputs(graph, runtime, seeds, call);
  const specs = [...(inputs[0] ?? new Map()).values()].map((tensor) => tensor.spec);
  const chosen = promising(sketchCuts(split, graph.table, specs), maxCuts);
  const whole = await open(graph, runtime, startCut, endCut, call);
  const rows: Row[] = [];
  try {
    const expected: Tensors[] = [];
    for (const input of inputs) expected.push((await run(whole, input, call)).outputs);
    for (const sketch of chosen) {
      rows.push(await measureCut(file.name, graph, runtime, whole, sketch, inputs, expected, call));
    }
    const [first, second] = expected;
    const answersVary = first !== undefined && second !== undefined && worstDifference(first, second) > 1;
    report(file.name, graph, rows, answersVary, context);
    return { rows, answersVary };
  } finally {
    await whole.release();
  }
}

function report(
  name: string,
  { table }: OpenGraph,
  rows: readonly Row[],
  answersVary: boolean,
  context: BenchContext,
): void {
  const legal = table.legal ?? "over 200000";
  const list = (key: string): readonly number[] => rows.map((row) => Number(row[key]));
  context.say(
    `${name}: ${legal} legal cuts, ${rows.length} on the frontier, worst error ${Math.max(0, ...list("worst")).toPrecision(3)}` +
      `, head + tail / whole ${median(list("splitRatio")).toFixed(2)}${answersVary ? "" : ", ANSWERS DO NOT VARY"}`,
  );
  for (const row of rows) {
    const bytes = ["rawBytes", ...codecs.map((codec) => `${codec.id}Bytes`)].map(
      (key) => `${key} ${row[key] ?? "-"}`,
    );
    context.say(
      `  ${String(row["cut"]).padEnd(7)} head ${Number(row["headMs"]).toFixed(2)} ms, tail ${Number(row["tailMs"]).toFixed(2)} ms, ` +
        `whole ${Number(row["wholeMs"]).toFixed(2)} ms, ${bytes.join(", ")}, error ${Number(row["worst"]).toPrecision(3)}`,
    );
  }
}

async function open(
  graph: OpenGraph,
  runtime: Runtime,
  from: string,
  to: string,
  call: Call,
): Promise<InferenceSession> {
  const name = `${graph.digest} ${from}..${to}`;
  return runtime.load(artifactOfModel(segmentOf(graph.split, graph.table, from, to), name), {}, call);
}

async function run(
  session: InferenceSession,
  inputs: Tensors,
  call: Call,
): Promise<{ readonly outputs: Tensors; readonly tookMs: number }> {
  const began = performance.now();
  const outputs = await session.run(
    inputs,
    session.outputs.map((spec) => spec.name),
    call,
  );
  return { outputs, tookMs: performance.now() - began };
}

async function measureCut(
  model: string,
  graph: OpenGraph,
  runtime: Runtime,
  whole: InferenceSession,
  sketch: CutSketch,
  inputs: readonly Tensors[],
  expected: readonly Tensors[],
  call: Call,
): Promise<Row> {
  const { id } = sketch.cut;
  const head = await open(graph, runtime, startCut, id, call);
  const tail = await open(graph, runtime, id, endCut, call);
  try {
    const times = { head: [] as number[], tail: [] as number[], whole: [] as number[] };
    let worst = 0;
    let crossing: Tensors = new Map();
    for (const [index, input] of [...inputs, ...inputs].entries()) {
      // Slow models are measured with each input once.
      if (index >= inputs.length && median(times.whole) > 50) break;
      const first = await run(head, input, call);
      const second = await run(tail, first.outputs, call);
      const reference = await run(whole, input, call);
      crossing = first.outputs;
      worst = Math.max(worst, worstDifference(second.outputs, expected[index % inputs.length] ?? new Map()));
      // The first run of a session plans its memory.
      if (index === 0) continue;
      times.head.push(first.tookMs);
      times.tail.push(second.tookMs);
      times.whole.push(reference.tookMs);
    }
    const [headMs, tailMs, wholeMs] = [median(times.head), median(times.tail), median(times.whole)];
    return {
      model,
      legalCuts: graph.table.legal ?? null,
      cut: id,
      worst,
      headMs,
      tailMs,
      wholeMs,
      splitRatio: (headMs + tailMs) / wholeMs,
      tensors: sketch.cut.crossing.length,
      ...(await codedBytes(crossing, call)),
    };
  } finally {
    await head.release();
    await tail.release();
  }
}

/** Bytes of a crossing raw and under each codec, which codes what it accepts and leaves the rest; null if it accepts none. */
async function codedBytes(crossing: Tensors, call: Call): Promise<Row> {
  const tensors = [...crossing.values()];
  const raw = (): number => tensors.reduce((total, tensor) => total + tensor.bytes.byteLength, 0);
  const row: Record<string, number | null> = { rawBytes: raw() };
  for (const codec of codecs) {
    let bytes = 0;
    let accepted = 0;
    for (const tensor of tensors) {
      const takes = codec.accepts(tensor.spec);
      if (takes) accepted++;
      bytes += takes ? (await codec.encode(tensor, call)).bytes.byteLength : tensor.bytes.byteLength;
    }
    row[`${codec.id}Bytes`] = accepted > 0 ? bytes : null;
  }
  return row;
}
