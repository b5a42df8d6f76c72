import { float32Tensor, numericTensor, seededRandom, tensorsOf } from "@longshore/core";
import {
  type Bench,
  type BenchContext,
  mean,
  type Measured,
  median,
  medianInterval,
  type Row,
} from "./harness.ts";
import {
  bareLayer,
  engineLayer,
  type Layer,
  offloaderLayer,
  roundTripLayer,
  runtimeLayer,
  type Subject,
  workerLayer,
} from "./layers.ts";

/** The workload, how often it runs in a block, and the number of rounds, so that each takes some seconds. */
interface Plan {
  readonly figure: "vad" | "ocrDetect";
  readonly subject: Subject;
  readonly perBlock: number;
  readonly rounds: number;
}

/** The first rounds warm caches and compilers up and are left out. */
const warmUpRounds = 2;
/** Everything is opened again so often: where a session's memory happens to lie changes its times by some per cent. */
const openings = 8;

function plans(seed: number): readonly Plan[] {
  const random = seededRandom(seed);
  const noise = (count: number, size: number): Float32Array =>
    Float32Array.from({ length: count }, () => (random.next() * 2 - 1) * size);
  return [
    {
      figure: "vad",
      perBlock: 100,
      rounds: 4,
      subject: {
        model: "vad",
        inputs: tensorsOf(
          float32Tensor("input", [1, 576], noise(576, 0.2)),
          numericTensor("sr", "INT64", [], BigInt64Array.of(16_000n)),
        ),
        state: { input: "state", tensor: float32Tensor("state", [2, 1, 128], new Float32Array(256)) },
      },
    },
    {
      figure: "ocrDetect",
      perBlock: 1,
      rounds: 4,
      subject: {
        model: "ocr-detect",
        inputs: tensorsOf(float32Tensor("x", [1, 3, 640, 640], noise(3 * 640 * 640, 2))),
      },
    },
  ];
}

async function timeBlock(layer: Layer, runs: number): Promise<number> {
  const took: number[] = [];
  for (let run = 0; run < runs; run++) {
    const startedMs = performance.now();
    await layer.once();
    took.push(performance.now() - startedMs);
  }
  return median(took);
}

/**
 * Times of each layer in each round: the layers forth and back in every round (A B C C B A), so that drift of the machine
 * hits all alike.
 */
async function timeLayers(layers: readonly Layer[], plan: Plan): Promise<readonly (readonly number[])[]> {
  const times: number[][] = layers.map(() => []);
  for (let round = -warmUpRounds; round < plan.rounds; round++) {
    const sums = layers.map(() => 0);
    const order = [...layers.keys()];
    for (const index of [...order, ...order.toReversed()]) {
      const layer = layers[index];
      if (layer) sums[index] = (sums[index] ?? 0) + (await timeBlock(layer, plan.perBlock)) / 2;
    }
    if (round >= 0) for (const [index, sum] of sums.entries()) times[index]?.push(sum);
  }
  return times;
}

/** Layers over the bare run, in the order in which they stand on each other. */
const makers: readonly ((subject: Subject) => Promise<Layer>)[] = [
  bareLayer,
  workerLayer,
  runtimeLayer,
  engineLayer,
  offloaderLayer,
];

/** How a layer's figure is called; the whole path has the plain name. */
const words: Readonly<Record<string, string>> = {
  worker: "Worker",
  runtime: "Runtime",
  engine: "Engine",
  offloader: "",
};

async function measure(plan: Plan, context: BenchContext): Promise<Measured> {
  const names: string[] = [];
  const times: number[][] = [];
  for (let opening = 0; opening < openings; opening++) {
    const layers = await Promise.all(makers.map((make) => make(plan.subject)));
    if (plan.figure === "vad") layers.push(roundTripLayer());
    const rounds = await timeLayers(layers, plan);
    await Promise.all(layers.map((layer) => layer.close()));
    for (const [index, layer] of layers.entries()) {
      names[index] = layer.name;
      times[index] = [...(times[index] ?? []), ...(rounds[index] ?? [])];
    }
  }
  const draw = seededRandom(context.seed);
  const [bare = []] = times;
  const figures: Record<string, number> = { [`${plan.figure}BareMs`]: median(bare) };
  const rows: Row[] = [];
  for (const [index, name] of names.entries()) {
    const own = times[index] ?? [];
    for (const [round, ms] of own.entries()) rows.push({ subject: plan.figure, layer: name, round, ms });
    if (name === "round trip") figures["workerRoundTripMs"] = median(own);
    else if (index > 0) {
      const paired = own.map((ms, round) =>
        plan.figure === "vad" ? ms - (bare[round] ?? NaN) : ms / (bare[round] ?? NaN),
      );
      const { median: middle, low, high } = medianInterval(paired, () => draw.next());
      const unit = plan.figure === "vad" ? "AddedMs" : "Ratio";
      figures[`${plan.figure}${words[name] ?? ""}${unit}`] = middle;
      context.say(
        `  ${plan.figure} ${name.padEnd(9)} ${unit} ${middle.toFixed(4)} (95 %: ${low.toFixed(4)}..${high.toFixed(4)}), mean of rounds ${mean(own).toFixed(4)} ms`,
      );
    }
  }
  return { figures, rows };
}

/** The time that each layer adds to a bare `session.run` of the same network in the same build of ONNX Runtime. */
export const bench: Bench = {
  name: "overhead",
  about:
    "a bare session.run on this thread, then the same through a worker, the runtime, the engine and the offloader",
  bars: { vadAddedMs: { atMost: 0.2 }, ocrDetectRatio: { atMost: 1.03 } },
  async run(context): Promise<Measured> {
    const figures: Record<string, number> = {};
    const rows: Row[] = [];
    for (const plan of plans(context.seed)) {
      const measured = await measure(plan, context);
      Object.assign(figures, measured.figures);
      rows.push(...measured.rows);
    }
    return { figures, rows };
  },
};
