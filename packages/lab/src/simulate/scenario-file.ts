/**
 * The file of a simulation: one schema for the YAML and for the flags, so that both are refused in the same words, with path,
 * value and allowed range.
 */
import { LongshoreError, type Objective } from "@longshore/core";
import { readObjective } from "@longshore/core/internal";
import * as v from "valibot";
import { parseDocument } from "yaml";

/** A file, a rate such as `5mbit`, or the columns of a CSV whose header does not tell. */
export type TraceSource =
  | string
  | {
      readonly file: string;
      /** Column of the rate, its unit, and the column of the instant; default: one row a second. */
      readonly rate: string;
      readonly unit: keyof typeof rateUnits;
      readonly time?: string | undefined;
      /** Only rows in which these columns have these values. */
      readonly where?: Readonly<Record<string, string>> | undefined;
    };

/** Bits per second of the units that a CSV may be in. */
export const rateUnits = { bit: 1, kbit: 1e3, mbit: 1e6, gbit: 1e9 } as const;

/** An endpoint as written. */
export interface WrittenEndpoint {
  readonly id: string;
  readonly tier?: "edge" | "cloud" | undefined;
  readonly zone?: string | undefined;
  /** Relative to the machine of the profile, or of the plain numbers; default 1. */
  readonly speed?: number | undefined;
  /** Requests that run at once (default 4), that may wait (1,000), and the share that others occupy (0). */
  readonly instances?: number | undefined;
  readonly queue?: number | undefined;
  readonly crowd?: number | undefined;
  /** Milliseconds; default 50 and 0. */
  readonly rtt?: number | undefined;
  readonly jitter?: number | undefined;
  /** The time that the software of both sides adds to an exchange, in milliseconds; default 3 (`bench decide --part reality`). */
  readonly overhead?: number | undefined;
  /** Default: the trace that is replayed. */
  readonly up?: TraceSource | undefined;
  readonly down?: TraceSource | undefined;
  readonly watts?: number | undefined;
  readonly microsPerSecond?: number | undefined;
  readonly microsPerMegabyte?: number | undefined;
}

/** Everything that can be said of a simulation. All is optional but the model. */
export interface ScenarioFile {
  readonly model:
    | string
    | {
        readonly bytes: number;
        readonly replyBytes?: number | undefined;
        readonly localMs: number;
        readonly serverMs: number;
      };
  readonly device?:
    | {
        /** Relative to the machine of the profile; default 1. */
        readonly speed?: number | undefined;
        /** While it runs, above idle; default 2. */
        readonly watts?: number | undefined;
        readonly radio?: "lte" | "3g" | "wifi" | "wired" | undefined;
      }
    | undefined;
  readonly endpoints?: readonly WrittenEndpoint[] | undefined;
  readonly traces?: readonly TraceSource[] | undefined;
  readonly arrivals?: readonly string[] | undefined;
  readonly stretch?: number | undefined;
  readonly requests?: number | undefined;
  readonly notCounted?: number | undefined;
  readonly deadlineMs?: number | undefined;
  readonly objective?: Objective | undefined;
  /** How surely the deadline is to be kept, above 0 to 1. */
  readonly minInTimeRatio?: number | undefined;
  readonly dataClass?: string | undefined;
  readonly zones?: readonly string[] | undefined;
  readonly minAgreementRatio?: number | undefined;
  readonly seed?: number | undefined;
}

/** The largest file that is read, in characters. */
const maxLength = 1_000_000;

/** Most requests of one replay, and most traces, arrivals and endpoints: the limits of a readable report. */
export const simulationLimits = { requests: 100_000, traces: 200, arrivals: 20, endpoints: 32 } as const;

const shown = (value: unknown): string => JSON.stringify(value)?.slice(0, 60) ?? String(value);

function strict<Entries extends v.ObjectEntries>(
  entries: Entries,
): v.StrictObjectSchema<Entries, v.ErrorMessage<v.StrictObjectIssue>> {
  return v.strictObject(entries, (issue) =>
    issue.expected === "never"
      ? `is an unknown key; known here: ${Object.keys(entries).join(", ")}`
      : issue.received === "undefined"
        ? "is missing (the model can be named by --model, too)"
        : `must be a mapping with ${Object.keys(entries).join(", ")}`,
  );
}

function figure(least: number, most: number, whole = false): v.GenericSchema<number> {
  const what = `must be a ${whole ? "whole " : ""}number from ${least} to ${most}`;
  return v.pipe(
    v.number(({ input }) => `${what}, not ${shown(input)}`),
    v.check(
      (value) => value >= least && value <= most && (!whole || Number.isInteger(value)),
      ({ input }) => `${what}, not ${shown(input)}`,
    ),
  );
}

function one<const Words extends readonly string[]>(...words: Words): v.GenericSchema<Words[number]> {
  return v.picklist(words, ({ input }) => `must be one of ${words.join(", ")}, not ${shown(input)}`);
}

const word: v.GenericSchema<string> = v.pipe(
  v.string(({ input }) => `must be a text, not ${shown(input)}`),
  v.minLength(1, "must not be empty"),
  v.maxLength(4096),
);
const name = v.pipe(
  word,
  v.regex(/^[a-z0-9][a-z0-9._-]{0,63}$/, ({ input }) => `must be a name such as edge-1, not ${shown(input)}`),
);
const optional = v.optional;

const source: v.GenericSchema<TraceSource> = v.union(
  [
    word,
    strict({
      file: word,
      rate: word,
      unit: one("bit", "kbit", "mbit", "gbit"),
      time: optional(word),
      where: optional(v.record(word, word)),
    }),
  ],
  ({ input }) =>
    `must be a file, a rate such as 5mbit, or a mapping with file, rate (column), unit (${Object.keys(rateUnits).join(", ")}) and optionally time and where, not ${shown(input)}`,
);

const endpoint: v.GenericSchema<WrittenEndpoint> = strict({
  id: name,
  tier: optional(one("edge", "cloud")),
  zone: optional(word),
  speed: optional(figure(0.001, 1000)),
  instances: optional(figure(1, 1000, true)),
  queue: optional(figure(0, 100_000, true)),
  crowd: optional(figure(0, 0.99)),
  rtt: optional(figure(0, 10_000)),
  jitter: optional(figure(0, 10_000)),
  overhead: optional(figure(0, 10_000)),
  up: optional(source),
  down: optional(source),
  watts: optional(figure(0, 100_000)),
  microsPerSecond: optional(figure(0, 1e9)),
  microsPerMegabyte: optional(figure(0, 1e9)),
});

/** An objective as scenarios know it: their endpoints have no zones whose electricity differs. */
function objectiveHere(text: string): ReturnType<typeof readObjective> {
  const read = readObjective(text);
  const hasCarbon =
    typeof read !== "string" && read.kind === "sum" && read.terms.some(({ of }) => of === "carbon");
  return hasCarbon ? "scenarios state no CO2 of zones, so carbon is no objective here" : read;
}

/** In the words of `Objective`. */
const objective: v.GenericSchema<Objective> = v.custom<Objective>(
  (value) => typeof value === "string" && typeof objectiveHere(value) !== "string",
  ({ input }) => {
    const read = typeof input === "string" ? objectiveHere(input) : "it is no text";
    const why = typeof read === "string" ? read : "";
    return `must name an objective, such as latency, p95 or mean=1,energy=0.2, not ${shown(input)}: ${why}`;
  },
);

const schema: v.GenericSchema<ScenarioFile> = strict({
  model: v.union(
    [
      word,
      strict({
        bytes: figure(1, 1e9, true),
        replyBytes: optional(figure(1, 1e9, true)),
        localMs: figure(0.001, 1e7),
        serverMs: figure(0.001, 1e7),
      }),
    ],
    ({ input }) =>
      input === undefined
        ? "is missing: name a model that has a profile, or state bytes, localMs and serverMs"
        : `must be a model that has a profile, or a mapping with bytes, localMs, serverMs and optionally replyBytes (numbers above 0), not ${shown(input)}`,
  ),
  device: optional(
    strict({
      speed: optional(figure(0.001, 1000)),
      watts: optional(figure(0, 1000)),
      radio: optional(one("lte", "3g", "wifi", "wired")),
    }),
  ),
  endpoints: optional(
    v.pipe(
      v.array(endpoint),
      v.minLength(1, "must name an endpoint"),
      v.maxLength(simulationLimits.endpoints),
    ),
  ),
  traces: optional(v.pipe(v.array(source), v.maxLength(simulationLimits.traces))),
  arrivals: optional(
    v.pipe(
      v.array(word),
      v.minLength(1, "must say when requests come"),
      v.maxLength(simulationLimits.arrivals),
    ),
  ),
  stretch: optional(figure(0.001, 1000)),
  requests: optional(figure(1, simulationLimits.requests, true)),
  notCounted: optional(figure(0, 1000, true)),
  deadlineMs: optional(figure(1, 1e7)),
  objective: optional(objective),
  minInTimeRatio: optional(figure(0.001, 1)),
  dataClass: optional(one("public", "internal", "personal", "restricted")),
  zones: optional(v.array(word)),
  minAgreementRatio: optional(figure(0, 1)),
  seed: optional(figure(0, 2 ** 31 - 1, true)),
});

function refuse(what: string, message: string): LongshoreError {
  return new LongshoreError("invalid-configuration", "resolve", `${what}: ${message}`);
}

/** Checks what was written. Throws `invalid-configuration` with path, value and what is allowed. */
export function checkScenario(value: unknown, what: string): ScenarioFile {
  const result = v.safeParse(schema, value);
  if (result.success) {
    const ids = (result.output.endpoints ?? []).map(({ id }) => id);
    const twice = ids.find((id, index) => id === "device" || ids.indexOf(id) !== index);
    if (twice !== undefined)
      throw refuse(what, `endpoints: two endpoints are called ${twice} (the device is called device)`);
    const here = result.output.endpoints?.find(({ zone }) => zone === "device");
    if (here)
      throw refuse(
        what,
        `endpoints: ${here.id} cannot be in zone device, which is the device's own: name another`,
      );
    const { objective, minInTimeRatio, deadlineMs } = result.output;
    if (deadlineMs === undefined && (objective === "chance" || minInTimeRatio !== undefined)) {
      const which = objective === "chance" ? "objective chance" : "minInTimeRatio";
      throw refuse(what, `${which} needs a deadline: deadlineMs`);
    }
    return result.output;
  }
  const [issue] = result.issues;
  const path = v.getDotPath(issue);
  throw refuse(what, `${path === null ? "" : `${path} `}${issue.message}`);
}

/** The value of the YAML, without aliases: they make a large value of little text. */
function plain(text: string, what: string): unknown {
  try {
    const options = { version: "1.2", schema: "core", uniqueKeys: true, merge: false } as const;
    const document = parseDocument(text, options);
    const [error] = document.errors;
    if (error) throw error;
    return document.toJS({ maxAliasCount: 0 });
  } catch (thrown) {
    // Also of aliases, and of nesting so deep that the parser runs out of stack.
    const detail = thrown instanceof Error ? thrown.message.split("\n")[0] : "";
    throw refuse(what, `not valid YAML: ${detail ?? ""}`);
  }
}

/** The plain data of a YAML file. Throws `invalid-configuration`. */
export function scenarioYaml(text: string, what: string): Readonly<Record<string, unknown>> {
  if (text.length > maxLength) throw refuse(what, `more than ${maxLength} characters`);
  const value = plain(text, what);
  if (value === null || typeof value !== "object" || Array.isArray(value))
    throw refuse(what, "must be a mapping, such as 'model: ocr'");
  return value as Readonly<Record<string, unknown>>;
}
