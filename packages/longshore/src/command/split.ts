import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { endCut, LongshoreError, type PortSpec, startCut, type Tensors } from "@longshore/core";
import { housekeepingCall } from "@longshore/core/internal";
import {
  type CutSketch,
  type CutTable,
  findInputs,
  findRowInputs,
  guessInputs,
  promising,
  signatureOf,
  sketchCuts,
  toleranceText,
  splitsRight,
  verifySplit,
} from "@longshore/graph";
import { onnxRuntime } from "@longshore/nodejs";
import { platformTransforms } from "../engine/transforms.ts";
import { type OpenedFile, openFile } from "../engine/open-file.ts";
import { openModel } from "../engine/open-model.ts";
import { noteLeftOut } from "../inputs/note-left-out.ts";
import { readInputFiles } from "../inputs/read-inputs.ts";
import { findPlacement } from "../placement/command.ts";
import { givenWithoutGoal, type PlacementOptions } from "../placement/options.ts";
import { byteCount, type CommandIo, type ExitCode, table } from "../options/io.ts";

/** Options of `longshore split`. */
export interface SplitOptions extends PlacementOptions {
  readonly cut?: string;
  readonly out?: string;
  readonly verify: boolean;
  readonly inputs?: number;
  readonly input: readonly string[];
  readonly json: boolean;
}

/** The most cuts that are listed or verified without named ones: sessions take time to open. */
const maxCuts = 24;

/**
 * Lists the legal cuts that can be worth something, writes head and tail, verifies that they equal the whole, or finds the
 * best placement for a goal.
 */
export async function split(model: string, options: SplitOptions, io: CommandIo): Promise<ExitCode> {
  checkTogether(options);
  const call = housekeepingCall("split", io.stop);
  const opened = await openModel(model);
  const file = await openFile(opened, call);
  const { graph } = file;
  noteLeftOut(graph.split.leftOut, io);
  const ports: readonly PortSpec[] = signatureOf(graph.split).inputs;
  const given =
    options.input.length > 0 ? await readInputFiles(options.input, ports, platformTransforms()) : undefined;
  const { goal } = options;
  if (goal !== undefined) {
    return findPlacement(
      opened,
      file,
      given ? new Map(Object.entries(given)) : undefined,
      { ...options, goal },
      io,
    );
  }
  const example = given ? new Map(Object.entries(given)) : guessInputs(graph.split, 1);
  const sketches = sketchCuts(
    graph.split,
    graph.table,
    [...example.values()].map((tensor) => tensor.spec),
  );
  const inner = sketches.filter(({ cut }) => cut.id !== startCut && cut.id !== endCut);
  const chosen =
    options.cut === undefined ? promising(inner, maxCuts) : [named(inner, options.cut, graph.table)];

  if (options.out !== undefined) return write(file, chosen, options.out, options, io);
  if (options.verify)
    return verify(file, chosen, given ? [new Map(Object.entries(given))] : undefined, options, io);
  list(file, inner.length, chosen, options, io);
  return 0;
}

function checkTogether(options: SplitOptions): void {
  const { goal, cut, out, verify: verifies } = options;
  const odd =
    goal === undefined
      ? givenWithoutGoal(options)
      : [
          ...(cut === undefined ? [] : ["--cut"]),
          ...(out === undefined ? [] : ["--out"]),
          ...(verifies ? ["--verify"] : []),
        ];
  if (odd.length === 0) return;
  throw new LongshoreError(
    "invalid-input",
    "resolve",
    goal === undefined
      ? `${odd.join(", ")}: name an objective as well, such as --goal mean`
      : `--goal finds a placement and ${odd.join(", ")} is for a cut that is named; call split once for each`,
  );
}

function named(sketches: readonly CutSketch[], id: string, cuts: CutTable): CutSketch {
  const found = sketches.find(({ cut }) => cut.id === id);
  if (found) return found;
  const inside =
    cuts.sets.length > 0
      ? `it has c1 to c${cuts.sets.length} (those whose tensors cannot travel left out)`
      : "it runs whole or not at all";
  throw new LongshoreError("unknown-cut", "resolve", `the model has no cut ${id} inside; ${inside}`);
}

/** A sketch as plain figures. */
function figures(sketch: CutSketch): Record<string, string | number> {
  const work = sketch.headWork + sketch.tailWork;
  return {
    cut: sketch.cut.id,
    headRatio: work > 0 ? sketch.headWork / work : 0,
    tensors: sketch.cut.crossing.length,
    rawBytes: sketch.rawBytes,
    smallBytes: sketch.smallBytes,
    headMemoryBytes: sketch.headMemoryBytes,
  };
}

function list(
  file: OpenedFile,
  legal: number,
  chosen: readonly CutSketch[],
  options: SplitOptions,
  io: CommandIo,
): void {
  if (options.json) {
    io.out(
      JSON.stringify({
        model: file.path,
        digest: file.artifact.digest,
        legalCuts: legal,
        cuts: chosen.map(figures),
      }),
    );
    return;
  }
  io.out(
    `${file.path}: ${legal} legal cuts inside; the ${chosen.length} that can be the best choice for some link and device:`,
  );
  io.out(
    table(
      ["cut", "work before", "tensors", "raw", "in 8 bits", "memory before"],
      chosen.map((sketch) => {
        const work = sketch.headWork + sketch.tailWork;
        return [
          sketch.cut.id,
          `${((100 * sketch.headWork) / (work || 1)).toFixed(1)} %`,
          String(sketch.cut.crossing.length),
          byteCount(sketch.rawBytes),
          byteCount(sketch.smallBytes),
          byteCount(sketch.headMemoryBytes),
        ];
      }),
    ),
  );
  io.out("sizes are those for the given or guessed input; --verify runs head then tail against the whole");
}

async function write(
  { source, artifact }: OpenedFile,
  chosen: readonly CutSketch[],
  folder: string,
  options: SplitOptions,
  io: CommandIo,
): Promise<ExitCode> {
  const [first] = chosen;
  if (!first || options.cut === undefined) {
    throw new LongshoreError(
      "invalid-input",
      "resolve",
      "--out needs --cut: which of the legal cuts to write",
    );
  }
  const call = housekeepingCall("split", io.stop);
  await mkdir(folder, { recursive: true });
  const parts = [
    { name: "head.onnx", part: await source.extract(artifact, startCut, first.cut.id, call) },
    { name: "tail.onnx", part: await source.extract(artifact, first.cut.id, endCut, call) },
  ];
  for (const { name, part } of parts) await writeFile(join(folder, name), await part.bytes(call));
  const crossing = first.cut.crossing.map(({ name, datatype, shape }) => ({
    name,
    datatype,
    shape: [...shape],
  }));
  if (options.json)
    io.out(
      JSON.stringify({ cut: first.cut.id, files: parts.map(({ name }) => join(folder, name)), crossing }),
    );
  else {
    for (const { name, part } of parts) io.out(`${join(folder, name)}  ${byteCount(part.byteLength)}`);
    for (const tensor of crossing)
      io.out(`crosses: ${tensor.name}  ${tensor.datatype} [${tensor.shape.join(", ")}]`);
  }
  return 0;
}

/** Numbers of rows that a batch that varies is tried with, besides 1. */
const triedRows: readonly number[] = [2, 3, 7];

async function verify(
  { graph, path }: OpenedFile,
  chosen: readonly CutSketch[],
  given: readonly Tensors[] | undefined,
  options: SplitOptions,
  io: CommandIo,
): Promise<ExitCode> {
  const call = housekeepingCall("split", io.stop);
  const runtime = onnxRuntime();
  try {
    const seeds = Array.from({ length: options.inputs ?? 5 }, (_, index) => index + 1);
    const several = given ? [] : await findRowInputs(graph, runtime, triedRows, call);
    const inputs = given ?? [
      ...(await findInputs(graph, runtime, seeds, call)),
      ...several.map((one) => one.inputs),
    ];
    const rows = several.length === 0 ? "" : ` (also with ${several.map((one) => one.rows).join(", ")} rows)`;
    let done = 0;
    const check = await verifySplit(
      {
        graph,
        runtime,
        inputs,
        cuts: chosen.map(({ cut }) => cut.id),
        progress: () => io.progress(`verified ${++done} of ${chosen.length} cuts`),
      },
      call,
    );
    const equal = check.cuts.length > 0 && check.cuts.every(splitsRight);
    const rounded = check.cuts.filter(({ worst }) => worst > 1);
    const drawn = check.ownDifference > 1;
    if (options.json) {
      io.out(
        JSON.stringify({
          model: path,
          inputs: check.inputs,
          rows: given ? [] : [1, ...several.map((one) => one.rows)],
          worst: Number.isFinite(check.worst) ? check.worst : null,
          equal,
          repeatable: !drawn,
          tolerance: check.tolerance,
          leftOut: graph.split.leftOut,
          cuts: check.cuts,
        }),
      );
    } else if (check.cuts.length === 0) {
      io.out(`${path} has no legal cut inside: it runs whole or not at all`);
    } else {
      io.out(
        table(
          ["cut", "worst error over tolerance", ""],
          check.cuts.map((one) => [one.cut, one.worst.toPrecision(3), one.failure ?? ""]),
        ),
      );
      if (drawn && !equal) {
        io.out(
          `two runs of the whole on one input differ too (${check.ownDifference.toPrecision(3)}, allowed 1): the model draws random numbers, so its answers cannot tell whether a split is right`,
        );
        return 1;
      }
      io.out(
        `${check.cuts.length} ${check.cuts.length === 1 ? "cut" : "cuts"}, ${check.inputs} inputs${rows}: head then tail ${equal ? "equals" : "DIFFERS FROM"} the whole${equal && rounded.length > 0 ? " but for rounding" : ""} (worst ${check.worst.toPrecision(3)} of the allowed ${toleranceText(check.tolerance)})`,
      );
      if (equal && rounded.length > 0) {
        const unfused = Math.max(...rounded.map(({ worstUnfused = Infinity }) => worstUnfused));
        io.out(
          `more than is allowed at ${rounded.map(({ cut }) => cut).join(", ")} is rounding: the runtime joins operators across the cut; where it joins none, head then tail equals the whole (worst ${unfused.toPrecision(3)})`,
        );
      }
    }
    return equal || check.cuts.length === 0 ? 0 : 1;
  } finally {
    await runtime.close();
  }
}
