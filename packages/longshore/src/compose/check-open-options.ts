import { type CheckOptions, type DeviceParts, LongshoreError } from "@longshore/core";
import type { RetryOptions } from "@longshore/core/internal";
import type { DeviceMonitor } from "@longshore/nodejs";
import { kindNames } from "../connect/kinds/list.ts";
import type { ServerOptions } from "../connect/server-options.ts";
import type { DirectoryOptions } from "../connect/directory.ts";
import type { DevicePackages, OpenOptions } from "./open-options.ts";

/** Returns what is wrong with a value, as a sentence that begins with its path; undefined if nothing is. */
type Check = (value: unknown, path: string) => string | undefined;
type Checks<Of> = Readonly<Record<keyof Of, Check>>;

/** Whether it is an object with named members, and no array. */
export function isMapping(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

const kindOf =
  (kind: "string" | "boolean" | "function", words: string): Check =>
  (value, path) =>
    typeof value === kind ? undefined : `${path} must be ${words}`;

const text = kindOf("string", "a text");
const flag = kindOf("boolean", "true or false");
const task = kindOf("function", "a function");
const amount: Check = (value, path) =>
  typeof value === "number" && value >= 0 ? undefined : `${path} must be a number of 0 or more`;
const ratio: Check = (value, path) =>
  typeof value === "number" && value >= 0 && value <= 1 ? undefined : `${path} must be a number from 0 to 1`;
const mapping: Check = (value, path) => (isMapping(value) ? undefined : `${path} must be an object`);

const oneOf =
  (...words: readonly string[]): Check =>
  (value, path) =>
    typeof value === "string" && words.includes(value)
      ? undefined
      : `${path} must be ${words.slice(0, -1).join(", ")} or ${words.at(-1)}`;

const either =
  (first: Check, second: Check, words: string): Check =>
  (value, path) =>
    first(value, path) !== undefined && second(value, path) !== undefined
      ? `${path} must be ${words}`
      : undefined;

const listOf =
  (one: Check, words: string): Check =>
  (value, path) => {
    if (!Array.isArray(value)) return `${path} must be a list, such as ${words}`;
    for (const [index, item] of value.entries()) {
      const why = one(item, `${path}[${index}]`);
      if (why !== undefined) return why;
    }
    return undefined;
  };

/** An object with these members, of which those in `needed` may not be left out. */
const members =
  (checks: Readonly<Record<string, Check>>, ...needed: readonly string[]): Check =>
  (value, path) => {
    if (!isMapping(value)) return `${path} must be an object with ${Object.keys(checks).join(", ")}`;
    for (const key of needed) if (value[key] === undefined) return `${path} needs ${key}`;
    for (const [key, given] of Object.entries(value)) {
      const check = Object.hasOwn(checks, key) ? checks[key] : undefined;
      if (!check) return `${path} has no '${key}'; it has ${Object.keys(checks).join(", ")}`;
      const why = given === undefined ? undefined : check(given, `${path}.${key}`);
      if (why !== undefined) return why;
    }
    return undefined;
  };

/** An object of the caller's with these methods; it may have others. */
const methods =
  (...names: readonly string[]): Check =>
  (value, path) => {
    const missing = names.find((name) => !isMapping(value) || typeof value[name] !== "function");
    return missing === undefined ? undefined : `${path} must be an object with a method ${missing}`;
  };

const serverChecks: Checks<ServerOptions> = {
  address: text,
  id: text,
  tier: oneOf("device", "edge", "cloud"),
  zone: text,
  // Which of them an operator may state is checked where the server is dialled.
  trust: oneOf("none", "listed", "operated", "vouched", "attested"),
  kind: oneOf(...kindNames),
  settings: mapping,
  serves: listOf(mapping, '[{ segment: { model: "ocr" } }]'),
  credentials: mapping,
  tls: mapping,
  metrics: text,
  grpc: text,
  forwardsTenants: flag,
  link: (value, path) => (value === false ? undefined : mapping(value, path)),
  microsPerSecond: amount,
  microsPerRequest: amount,
  microsPerMegabyte: amount,
  microsPerMegabyteIn: amount,
  microsPerMegabyteOut: amount,
  microsPerJoule: amount,
  activeWatts: amount,
};

const directoryChecks: Checks<DirectoryOptions> = {
  from: text,
  operatorKeys: text,
  keptIn: text,
  maxAgeMs: amount,
  resolver: mapping,
  credentials: mapping,
  tls: mapping,
};

const packageChecks: Checks<DevicePackages> = {
  from: text,
  into: text,
  maxBytes: amount,
  operatorKeys: text,
  wanted: listOf(mapping, '[{ model: "ocr" }]'),
  credentials: mapping,
  tls: mapping,
  source: mapping,
  sourceFirst: flag,
  againMs: amount,
  report: task,
  waitMs: amount,
};

// A monitor of `@longshore/nodejs` may be given as it is: it can also `read`.
const deviceChecks: Checks<DeviceParts & Pick<DeviceMonitor, "read">> = {
  battery: task,
  memoryBytes: task,
  activeWatts: amount,
  idleWatts: amount,
  health: task,
  millijoulesPerMs: task,
  read: task,
  radio: mapping,
  slots: amount,
};

const answerChecks: Checks<CheckOptions> = {
  sampleRatio: ratio,
  burst: amount,
  maxBytes: amount,
  golden: task,
  goldenEveryMs: amount,
  patienceMs: amount,
  readmitAfter: amount,
  firstPauseMs: amount,
  longestPauseMs: amount,
};

const retryChecks: Checks<RetryOptions> = {
  mostRounds: amount,
  firstPauseMs: amount,
  withoutDeadlineMs: amount,
  mostWaiting: amount,
};

const server: Check = (value, path) =>
  typeof value === "string" ? undefined : members(serverChecks, "address")(value, path);

const directory: Check = (value, path) => {
  if (typeof value === "string" || (isMapping(value) && typeof value["snapshot"] === "function"))
    return undefined;
  return members(directoryChecks, "from")(value, path);
};

const optionChecks: Checks<OpenOptions> = {
  repository: text,
  packages: members(packageChecks, "from", "into"),
  servers: listOf(server, '["http://127.0.0.1:8000"]'),
  directory,
  dialling: task,
  runtime: oneOf("onnxruntime", "wasm"),
  providers: listOf(text, '["cuda", "cpu"]'),
  // These two have checks of their own, which name the fault.
  defaults: () => undefined,
  carbon: () => undefined,
  policy: methods("decide"),
  device: members(deviceChecks),
  observer: methods("record"),
  checks: members(answerChecks),
  retry: members(retryChecks),
  beliefs: either(text, (value) => (value === false ? undefined : ""), "a file name, or false for none"),
  configFile: text,
};

/**
 * Refuses options of `openOffloader` that do not exist or are no such thing: a rule that is misspelt would silently not hold, and a caller in
 * plain JavaScript has no compiler to say so. Throws `invalid-configuration`.
 */
export function checkOpenOptions(options: unknown): void {
  const refused = (why: string): LongshoreError =>
    new LongshoreError("invalid-configuration", "resolve", `openOffloader ${why}`);
  if (!isMapping(options)) {
    throw refused('takes an object with options, such as { repository: "./models" }');
  }
  for (const [key, value] of Object.entries(options)) {
    const check: Check | undefined = Object.hasOwn(optionChecks, key)
      ? optionChecks[key as keyof OpenOptions]
      : undefined;
    if (!check) throw refused(`has no option '${key}'; it has ${Object.keys(optionChecks).join(", ")}`);
    const why = value === undefined ? undefined : check(value, key);
    if (why !== undefined) throw refused(`option ${why}`);
  }
}
