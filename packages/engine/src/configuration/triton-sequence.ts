import type { Batching, Datatype } from "@longshore/core";
import type { ControlInput, SequenceConfig, SequenceStrategy, StateConfig } from "./config.ts";
import { isFileName } from "./names.ts";
import { type Bad, datatypeOfTriton } from "./triton-datatypes.ts";

/** `sequence_batching` as the schema decodes it. */
export interface TritonSequence {
  readonly max_sequence_idle_microseconds?: number;
  readonly direct?: {
    readonly max_queue_delay_microseconds?: number;
    readonly minimum_slot_utilization?: number;
  };
  readonly oldest?: {
    readonly max_candidate_sequences?: number;
    readonly preferred_batch_size?: readonly number[];
    readonly max_queue_delay_microseconds?: number;
    readonly preserve_ordering?: boolean;
  };
  readonly control_input?: readonly {
    readonly name?: string;
    readonly control?: readonly TritonControl[];
  }[];
  readonly state?: readonly TritonState[];
  readonly iterative_sequence?: boolean;
}

interface TritonControl {
  readonly kind?: string;
  readonly int32_false_true?: readonly number[];
  readonly fp32_false_true?: readonly number[];
  readonly bool_false_true?: readonly boolean[];
  readonly data_type?: string;
}

interface TritonState {
  readonly input_name?: string;
  readonly output_name?: string;
  readonly data_type?: string;
  readonly dims?: readonly number[];
  readonly initial_state?: readonly {
    readonly data_type?: string;
    readonly dims?: readonly number[];
    readonly zero_data?: boolean;
    readonly data_file?: string;
  }[];
}

/** Triton's default: a sequence may idle for a second. */
const defaultIdleMs = 1000;
/** Triton's default: an instance has 1024 candidate sequences. */
const defaultCandidates = 1024;

/** Reads `sequence_batching`. Throws `invalid-configuration`. */
export function tritonSequence(sequence: TritonSequence, maxBatchSize: number, bad: Bad): SequenceConfig {
  if (sequence.iterative_sequence) {
    throw bad(
      "sequence_batching iterative_sequence",
      "is true; models that reschedule themselves are not run here",
    );
  }
  const idleMicroseconds = sequence.max_sequence_idle_microseconds ?? 0;
  if (idleMicroseconds < 0) {
    throw bad("max_sequence_idle_microseconds", `is ${idleMicroseconds}; 0 (a second) or more is allowed`);
  }
  return {
    maxIdleMs: idleMicroseconds > 0 ? idleMicroseconds / 1000 : defaultIdleMs,
    states: (sequence.state ?? []).map((state) => stateOf(state, maxBatchSize > 0, bad)),
    controls: controlsOf(sequence, bad),
    required: true,
    strategy: strategyOf(sequence, maxBatchSize, bad),
  };
}

function strategyOf({ direct, oldest }: TritonSequence, maxBatchSize: number, bad: Bad): SequenceStrategy {
  if (direct && oldest)
    throw bad("sequence_batching", "has both direct and oldest; one strategy is possible");
  if (!oldest) return { kind: "direct", candidates: Math.max(1, maxBatchSize) };
  const most = oldest.max_candidate_sequences ?? 0;
  if (most < 0 || most > 65_536) {
    throw bad("oldest max_candidate_sequences", `is ${most}; 0 (${defaultCandidates}) to 65536 is allowed`);
  }
  return { kind: "oldest", candidates: most === 0 ? defaultCandidates : most };
}

/** How rows of several sequences share a run: by Triton's settings if there are any, else as learned. */
export function sequenceBatching(
  { direct, oldest }: TritonSequence,
  maxBatchSize: number,
  bad: Bad,
): Batching {
  const delay = (oldest ?? direct)?.max_queue_delay_microseconds;
  const share = direct?.minimum_slot_utilization ?? 0;
  if (!(share >= 0 && share <= 1)) {
    throw bad("direct minimum_slot_utilization", `is ${share}; 0 to 1 is allowed`);
  }
  const preferred = oldest?.preferred_batch_size ?? (share > 0 ? [Math.ceil(share * maxBatchSize)] : []);
  for (const size of preferred) {
    if (size < 1 || (maxBatchSize > 0 && size > maxBatchSize)) {
      throw bad(
        "oldest preferred_batch_size",
        `holds ${size}; 1 to max_batch_size (${maxBatchSize}) is allowed`,
      );
    }
  }
  return {
    maxBatchSize,
    ...(preferred.length > 0 && maxBatchSize > 0 ? { preferredSizes: preferred } : {}),
    ...(delay === undefined ? {} : { maxQueueDelayMs: delay / 1000 }),
    ...(oldest?.preserve_ordering ? { preserveOrdering: true } : {}),
  };
}

function stateOf(state: TritonState, batched: boolean, bad: Bad): StateConfig {
  const path = `state ${JSON.stringify(state.input_name ?? "")}`;
  if (!state.input_name || !state.output_name) throw bad(path, "needs input_name and output_name");
  const datatype = datatypeOfTriton(state.data_type, path, bad);
  const [initial, ...more] = state.initial_state ?? [];
  if (more.length > 0) throw bad(`${path} initial_state`, `is given ${more.length + 1} times; once at most`);
  if (initial?.data_type !== undefined && datatypeOfTriton(initial.data_type, path, bad) !== datatype) {
    throw bad(`${path} initial_state`, `is ${initial.data_type}; the state is ${state.data_type}`);
  }
  if (initial?.data_file !== undefined && initial.zero_data !== undefined) {
    throw bad(`${path} initial_state`, "has both zero_data and data_file");
  }
  if (initial?.data_file !== undefined && !isFileName(initial.data_file)) {
    throw bad(`${path} initial_state data_file`, "must be a file in the model's initial_state folder");
  }
  const own = state.dims ?? [];
  const begins = initial?.dims ?? own;
  if (begins.length !== own.length || begins.some((size, axis) => own[axis] !== -1 && own[axis] !== size)) {
    throw bad(
      `${path} initial_state dims`,
      `are [${begins.join(", ")}]; the state's are [${own.join(", ")}]`,
    );
  }
  if (own.some((size) => size < -1) || begins.some((size) => size < -1)) {
    throw bad(`${path} dims`, `are [${own.join(", ")}]; -1 or more is allowed`);
  }
  // As Triton does: a sequence is one row of the batch, and a size that varies begins as 1.
  const dims = begins.map((size) => (size === -1 ? 1 : size));
  return {
    input: state.input_name,
    output: state.output_name,
    datatype,
    shape: batched ? [1, ...dims] : dims,
    ...(initial?.data_file === undefined ? {} : { initialFile: initial.data_file }),
  };
}

const controlKinds: Readonly<Record<string, ControlInput["kind"]>> = {
  CONTROL_SEQUENCE_START: "start",
  CONTROL_SEQUENCE_READY: "ready",
  CONTROL_SEQUENCE_END: "end",
  CONTROL_SEQUENCE_CORRID: "correlation-id",
};

function controlsOf(sequence: TritonSequence, bad: Bad): readonly ControlInput[] {
  const controls = (sequence.control_input ?? []).flatMap(({ name = "", control = [] }) => {
    if (name === "") throw bad("control_input", "has no name");
    return control.map((one): ControlInput => {
      const kind = Object.hasOwn(controlKinds, one.kind ?? "")
        ? controlKinds[one.kind ?? ""]
        : one.kind === undefined
          ? "start"
          : undefined;
      if (!kind) {
        throw bad(
          `control_input ${name} kind`,
          `is ${one.kind}; expected ${Object.keys(controlKinds).join(", ")}`,
        );
      }
      return { input: name, kind, ...controlValues(one, kind, `control_input ${name}`, bad) };
    });
  });
  for (const [index, { kind, input }] of controls.entries()) {
    if (controls.findIndex((one) => one.kind === kind) !== index)
      throw bad(`control_input ${input}`, `is ${kind}, which another one is already`);
    if (controls.findIndex((one) => one.input === input) !== index)
      throw bad(`control_input ${input}`, "has two meanings; an input has one");
  }
  return controls;
}

const correlationTypes: readonly Datatype[] = ["UINT64", "INT64", "UINT32", "INT32", "BYTES"];

function controlValues(
  control: TritonControl,
  kind: ControlInput["kind"],
  path: string,
  bad: Bad,
): Pick<ControlInput, "datatype" | "noYes"> {
  if (kind === "correlation-id") {
    const datatype = datatypeOfTriton(control.data_type, path, bad);
    if (correlationTypes.includes(datatype)) return { datatype, noYes: [0, 1] };
    throw bad(`${path} data_type`, `is ${control.data_type}; an id is one of ${correlationTypes.join(", ")}`);
  }
  const choices = [
    ["INT32", control.int32_false_true],
    ["FP32", control.fp32_false_true],
    ["BOOL", control.bool_false_true?.map(Number)],
  ] as const;
  const given = choices.filter(([, one]) => one !== undefined);
  if (given.length > 1) throw bad(path, "gives its values in two datatypes; one is possible");
  const [datatype, values] = given[0] ?? ["INT32", [0, 1]];
  const [no, yes, ...more] = values ?? [];
  if (no === undefined || yes === undefined || more.length > 0) {
    throw bad(path, `${datatype.toLowerCase()}_false_true needs two values`);
  }
  return { datatype, noYes: [no, yes] };
}
