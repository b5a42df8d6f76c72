import { type Call, type CutId, endCut, LongshoreError, startCut, type Tensors } from "@longshore/core";
import type { Artifact, InferenceSession, LoadOptions, Runtime } from "@longshore/engine";
import { type OpenGraph, segmentOf, plainSha256 } from "../extract/index.ts";
import { type ModelProto, writeModel } from "../onnx/index.ts";
import { type OutputTolerance, toleranceOf, worstDifference } from "./compare.ts";
import { guesses, guessInputs } from "./guess-inputs.ts";

/** The effect of one cut on the answers. */
export interface CutCheck {
  readonly cut: CutId;
  /** Largest difference between head-then-tail and the whole, in units of the tolerance, over inputs and outputs. */
  readonly worst: number;
  /**
   * The same where operators are not joined, looked at only where `worst` is above 1: at most 1 means that the split is right, and
   * that the whole rounds otherwise because the runtime joins operators across the cut.
   */
  readonly worstUnfused?: number;
  /** Why head or tail would not run, when they would not. */
  readonly failure?: string;
}

/** Result of `verifySplit`. */
export interface SplitCheck {
  readonly inputs: number;
  /** 1e-5 + 1e-4 |b|, or more for models that calculate in 16-bit fractions or with 8-bit ranges found at run time. */
  readonly tolerance: OutputTolerance;
  readonly cuts: readonly CutCheck[];
  /** Largest over all cuts; Infinity when one would not run. */
  readonly worst: number;
  /**
   * Largest difference between two runs of the whole on the same input, in the same units: above 1 the model draws random
   * numbers of its own, and its answers cannot judge a split.
   */
  readonly ownDifference: number;
}

/**
 * A model in memory, ready for a runtime. `name` must tell it from every other model that the runtime sees; without one
 * the bytes are hashed, which takes a second for 100 MB.
 */
export function artifactOfModel(model: ModelProto, name?: string): Artifact {
  const bytes = writeModel(model);
  return {
    digest: plainSha256(name === undefined ? bytes : new TextEncoder().encode(name)),
    byteLength: bytes.byteLength,
    bytes: () => Promise.resolve(bytes.slice()),
  };
}

/** Whether head then tail gives what the whole gives, but for what a runtime rounds otherwise when it joins operators. */
export function splitsRight({ worst, worstUnfused = Infinity }: CutCheck): boolean {
  return worst <= 1 || worstUnfused <= 1;
}

/** The reference of a check. */
interface Subject {
  readonly graph: OpenGraph;
  readonly runtime: Runtime;
  readonly inputs: readonly Tensors[];
  readonly load: LoadOptions;
}

/**
 * Checks that head then tail gives what the whole gives, for each of the cuts and inputs, on one runtime. Sessions are
 * opened one cut at a time and released. `progress` is called after each cut.
 */
export async function verifySplit(
  options: {
    readonly graph: OpenGraph;
    readonly runtime: Runtime;
    readonly cuts: readonly CutId[];
    readonly inputs: readonly Tensors[];
    readonly progress?: (check: CutCheck) => void;
  },
  call: Call,
): Promise<SplitCheck> {
  const { graph, inputs } = options;
  const subject: Subject = { ...options, load: {} };
  const { expected, ownDifference } = await wholeAnswers(subject, call);
  const unfused: Subject = { ...options, load: { fusions: false } };
  let expectedUnfused: Promise<{ readonly expected: readonly Tensors[] }> | undefined;
  const checks: CutCheck[] = [];
  for (const cut of options.cuts) {
    let check = await checkCut(subject, cut, expected, call);
    if (check.worst > 1 && check.failure === undefined && ownDifference <= 1) {
      expectedUnfused ??= wholeAnswers(unfused, call);
      const again = await checkCut(unfused, cut, (await expectedUnfused).expected, call);
      check = { ...check, worstUnfused: again.worst };
    }
    options.progress?.(check);
    checks.push(check);
  }
  return {
    inputs: inputs.length,
    tolerance: toleranceOf(graph.split),
    cuts: checks,
    worst: Math.max(0, ...checks.map((check) => check.worst)),
    ownDifference,
  };
}

function segmentArtifact(graph: OpenGraph, from: CutId, to: CutId): Artifact {
  const name = graph.digest === undefined ? undefined : `${graph.digest} ${from}..${to}`;
  return artifactOfModel(segmentOf(graph.split, graph.table, from, to), name);
}

function names(graph: OpenGraph): readonly string[] {
  return graph.split.outputs.map((output) => output.name);
}

/** The whole's answer to each input, and how far apart two of its runs are. */
async function wholeAnswers(
  { graph, runtime, inputs, load }: Subject,
  call: Call,
): Promise<{ readonly expected: readonly Tensors[]; readonly ownDifference: number }> {
  const whole = await runtime.load(segmentArtifact(graph, startCut, endCut), load, call);
  try {
    const expected: Tensors[] = [];
    for (const input of inputs) expected.push(await whole.run(input, names(graph), call));
    const [input, first] = [inputs[0], expected[0]];
    if (!input || !first) return { expected, ownDifference: 0 };
    const again = await whole.run(input, names(graph), call);
    return { expected, ownDifference: worstDifference(again, first, toleranceOf(graph.split)) };
  } finally {
    await whole.release();
  }
}

async function checkCut(
  { graph, runtime, inputs, load }: Subject,
  cut: CutId,
  expected: readonly Tensors[],
  call: Call,
): Promise<CutCheck> {
  const opened: InferenceSession[] = [];
  const open = async (from: CutId, to: CutId): Promise<InferenceSession> => {
    const session = await runtime.load(segmentArtifact(graph, from, to), load, call);
    opened.push(session);
    return session;
  };
  try {
    const [head, tail] = [await open(startCut, cut), await open(cut, endCut)];
    let worst = 0;
    for (const [index, input] of inputs.entries()) {
      const between = await head.run(
        input,
        head.outputs.map((spec) => spec.name),
        call,
      );
      const answer = await tail.run(between, names(graph), call);
      worst = Math.max(
        worst,
        worstDifference(answer, expected[index] ?? new Map(), toleranceOf(graph.split)),
      );
    }
    return { cut, worst };
  } catch (thrown) {
    // A cut that does not run is a result of the check, with its reason; the other cuts are still checked.
    return { cut, worst: Infinity, failure: LongshoreError.from(thrown, "execute", `cut ${cut}`).message };
  } finally {
    for (const session of opened) await session.release();
  }
}

/**
 * Seeded inputs that the model accepts on a runtime: the guesses are tried in turn. Throws `invalid-input` with the last
 * refusal when it accepts none; then someone has to say what the inputs look like.
 *
 * @param shapes Shapes of inputs that the operator states, by name; -1 where a size varies. Default: those of the file alone.
 */
export async function findInputs(
  graph: OpenGraph,
  runtime: Runtime,
  seeds: readonly number[],
  call: Call,
  shapes?: ReadonlyMap<string, readonly number[]>,
): Promise<readonly Tensors[]> {
  const session = await runtime.load(segmentArtifact(graph, startCut, endCut), {}, call);
  let refusal: unknown;
  try {
    for (let guess = 0; guess < guesses; guess++) {
      try {
        const inputs = seeds.map((seed) => guessInputs(graph.split, seed, guess, 1, shapes));
        for (const input of inputs) await session.run(input, names(graph), call);
        return inputs;
      } catch (thrown) {
        refusal = thrown;
      }
    }
  } finally {
    await session.release();
  }
  const detail = refusal instanceof Error ? refusal.message : String(refusal);
  throw new LongshoreError(
    "invalid-input",
    "execute",
    `no guess of inputs suits the model, so give it real ones; it answered: ${detail}`,
    { cause: refusal },
  );
}

/**
 * Seeded inputs of several numbers of rows that the model accepts on a runtime: one for each number that it takes. None for a model whose
 * batch does not vary.
 */
export async function findRowInputs(
  graph: OpenGraph,
  runtime: Runtime,
  rows: readonly number[],
  call: Call,
): Promise<readonly { readonly rows: number; readonly inputs: Tensors }[]> {
  const session = await runtime.load(segmentArtifact(graph, startCut, endCut), {}, call);
  const accepted = async (inputs: Tensors): Promise<boolean> => {
    try {
      await session.run(inputs, names(graph), call);
      return true;
    } catch (thrown) {
      if (call.abort.aborted) throw thrown;
      // Other sizes of the further axes may suit it, or no other number of rows.
      return false;
    }
  };
  const shapesOf = (inputs: Tensors): string =>
    JSON.stringify([...inputs.values()].map(({ spec }) => spec.shape));
  try {
    const found: { readonly rows: number; readonly inputs: Tensors }[] = [];
    for (const count of rows) {
      for (let guess = 0; guess < guesses; guess++) {
        const inputs = guessInputs(graph.split, count, guess, count);
        if (count !== 1 && shapesOf(inputs) === shapesOf(guessInputs(graph.split, 1, guess))) break;
        if (!(await accepted(inputs))) continue;
        found.push({ rows: count, inputs });
        break;
      }
    }
    return found;
  } finally {
    await session.release();
  }
}
