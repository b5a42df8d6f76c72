import type { PortSpec, SequenceState, TensorSpec } from "@longshore/core";
import { shapeFits } from "@longshore/core/internal";
import {
  badConfiguration,
  type ControlInput,
  type DeclaredPort,
  type ModelConfig,
  someNames,
  type StateConfig,
} from "../configuration/index.ts";
import type { GraphBody } from "./program.ts";
import type { ModelSignature } from "./source.ts";

/** Inputs and outputs of a graph model: the declared ones, checked against the file and completed from it. */
export type CompletedPorts = Pick<
  GraphBody,
  "inputs" | "outputs" | "controls" | "inputShapes" | "outputShapes"
> & {
  readonly states: readonly StateConfig[];
};

/** Completes and checks the configuration of a graph model. Throws `invalid-configuration`. */
export function completePorts(model: string, given: ModelConfig, signature: ModelSignature): CompletedPorts {
  const config = withScalars(given, signature);
  const bad = (path: string, problem: string): Error => badConfiguration(model, config.file, path, problem);
  const states = config.sequence?.states ?? [];
  const controls = config.sequence?.controls ?? [];
  const { openRanks } = signature;
  const inputs = completed(config.inputs, signature.inputs, "input", bad, openRanks);
  const outputs = completed(config.outputs, signature.outputs, "output", bad, openRanks);
  for (const state of states) checkState(state, signature, bad);
  for (const control of controls) checkControl(control, signature, bad);
  if (config.batching.maxBatchSize > 1) {
    const hidden = new Set(states.map(({ input }) => input));
    const fixed = signature.inputs.find(({ name, shape }) => !hidden.has(name) && shape[0] !== -1);
    if (fixed) {
      throw bad(
        "batching",
        `allows ${config.batching.maxBatchSize} rows, but input ${fixed.name} is [${fixed.shape.join(", ")}]: its first size must vary (-1)`,
      );
    }
  }
  const fromEngine = new Set([...states.map(({ input }) => input), ...controls.map(({ input }) => input)]);
  const kept = new Set(states.map(({ output }) => output));
  for (const { name } of config.outputs) kept.delete(name);
  return {
    inputs: inputs.filter(({ name }) => !fromEngine.has(name)),
    outputs: outputs.filter(({ name }) => !kept.has(name)),
    states,
    controls,
    inputShapes: {
      ...scalars(signature),
      ...reshaped(config.inputs, ({ graphShape }) => graphShape),
    },
    outputShapes: reshaped(config.outputs, ({ graphShape, shape }) => (graphShape ? shape : undefined)),
  };
}

/** Triton has no shape without axes and declares `[1]` for the scalars of a graph: the same element under another shape. */
function withScalars(config: ModelConfig, { inputs, outputs, openRanks = [] }: ModelSignature): ModelConfig {
  const seen = (ports: readonly DeclaredPort[], found: readonly TensorSpec[]): readonly DeclaredPort[] =>
    ports.map((port) => {
      const spec = found.find(({ name }) => name === port.name);
      const one = port.graphShape === undefined && port.shape.length === 1 && port.shape[0] === 1;
      return one && spec?.shape.length === 0 && !openRanks.includes(port.name)
        ? { ...port, graphShape: [] }
        : port;
    });
  return { ...config, inputs: seen(config.inputs, inputs), outputs: seen(config.outputs, outputs) };
}

/** The graph gets its scalars without axes, in whatever shape of one element they came. */
function scalars({ inputs, openRanks = [] }: ModelSignature): Readonly<Record<string, readonly number[]>> {
  const found = inputs.filter(({ name, shape }) => shape.length === 0 && !openRanks.includes(name));
  return Object.fromEntries(found.map(({ name }) => [name, []]));
}

/**
 * How requests are joined: as configured; else, as in Triton, up to `most` rows if every input and output begins with a
 * variable size, which is taken for the number of rows. A configuration that declares inputs or outputs has said which shapes
 * they have.
 */
export function completeBatching(
  { batching, sequence, inputs, outputs }: ModelConfig,
  signature: ModelSignature,
  most = 0,
): ModelConfig["batching"] {
  if (most === 0 || batching.maxBatchSize > 0 || sequence || inputs.length + outputs.length > 0)
    return batching;
  const free = [...signature.inputs, ...signature.outputs].every(({ shape }) => shape[0] === -1);
  return free ? { ...batching, maxBatchSize: most } : batching;
}

/** Most rows of a run that joins requests without configuration. */
const mostUnaskedRows = 64;

/**
 * How many rows a run may have where the configuration says nothing of joining requests: every input and output begins with a
 * size that varies, no state is kept, and no operator makes rows depend on each other. `max_batch_size: 0` and
 * `batching: { maxBatchSize: 0 }` forbid it.
 */
export function joinableRows(
  config: ModelConfig,
  { inputs, outputs, inputShapes, outputShapes, states, controls }: CompletedPorts,
  signature: ModelSignature,
): number {
  const { sequence, decoupled, joinsRequests, batching, forbidsJoining } = config;
  const special = [sequence, ...states, ...controls, ...Object.keys({ ...inputShapes, ...outputShapes })];
  if (forbidsJoining || joinsRequests || decoupled || special.some((one) => one !== undefined)) return 0;
  if (batching.buckets || (signature.openRanks ?? []).length + (signature.rowSharing ?? []).length > 0)
    return 0;
  const all = [...inputs, ...outputs, ...signature.inputs, ...signature.outputs];
  if (inputs.length === 0 || !all.every(({ shape }) => shape[0] === -1)) return 0;
  return Math.min(mostUnaskedRows, batching.maxBatchSize > 0 ? batching.maxBatchSize : mostUnaskedRows);
}

type Bad = (path: string, problem: string) => Error;

function names(specs: readonly TensorSpec[]): string {
  return someNames(specs.map(({ name }) => name));
}

function completed(
  declared: readonly DeclaredPort[],
  found: readonly TensorSpec[],
  kind: "input" | "output",
  bad: Bad,
  openRanks: readonly string[] = [],
): readonly PortSpec[] {
  for (const port of declared) {
    const path = `${kind} ${JSON.stringify(port.name)}`;
    const spec = found.find(({ name }) => name === port.name);
    if (!spec) throw bad(path, `is not in the graph; its ${kind}s: ${names(found)}`);
    if (spec.datatype !== port.datatype)
      throw bad(path, `is declared ${port.datatype}; the graph has ${spec.datatype}`);
    const own = port.graphShape ?? port.shape;
    if (!openRanks.includes(port.name) && !shapesAgree(own, spec.shape)) {
      throw bad(path, `is declared [${own.join(", ")}]; the graph has [${spec.shape.join(", ")}]`);
    }
  }
  return found.map((spec) => {
    const port = declared.find(({ name }) => name === spec.name);
    if (port) return plainPort(port);
    return kind === "output" && openRanks.includes(spec.name) ? { ...spec, openRank: true } : spec;
  });
}

/** The parts of a declared port that belong in a description. */
export function plainPort({ name, datatype, shape, media }: DeclaredPort): PortSpec {
  return { name, datatype, shape, ...(media ? { media } : {}) };
}

/** Whether two declared shapes can describe one tensor: same rank, and sizes equal where both are known. */
export function shapesAgree(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((size, axis) => size === -1 || b[axis] === -1 || size === b[axis]);
}

function checkControl(control: ControlInput, signature: ModelSignature, bad: Bad): void {
  const path = `control input ${control.input}`;
  const input = signature.inputs.find(({ name }) => name === control.input);
  if (!input) throw bad(path, `is no input of the graph; its inputs: ${names(signature.inputs)}`);
  if (input.datatype === control.datatype) return;
  throw bad(path, `is filled with ${control.datatype}; the graph takes ${input.datatype}`);
}

function checkState(state: SequenceState, signature: ModelSignature, bad: Bad): void {
  const path = `sequence state ${JSON.stringify(state.input)}`;
  const input = signature.inputs.find(({ name }) => name === state.input);
  const output = signature.outputs.find(({ name }) => name === state.output);
  if (!input) throw bad(path, `is no input of the graph; its inputs: ${names(signature.inputs)}`);
  if (!output)
    throw bad(
      path,
      `is made by ${state.output}, which is not in the graph; its outputs: ${names(signature.outputs)}`,
    );
  if (input.datatype !== state.datatype || output.datatype !== state.datatype) {
    throw bad(
      path,
      `is declared ${state.datatype}; the graph takes ${input.datatype} and makes ${output.datatype}`,
    );
  }
  if (!shapeFits(state.shape, input.shape)) {
    throw bad(path, `begins as [${state.shape.join(", ")}]; the graph takes [${input.shape.join(", ")}]`);
  }
}

function reshaped(
  ports: readonly DeclaredPort[],
  shapeOf: (port: DeclaredPort) => readonly number[] | undefined,
): Readonly<Record<string, readonly number[]>> {
  return Object.fromEntries(
    ports.flatMap((port) => (port.graphShape ? [[port.name, shapeOf(port) ?? []]] : [])),
  );
}
