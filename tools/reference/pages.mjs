/**
 * Makes the reference pages of docs/reference from what they are about: the command line from the commands, configuration files
 * from their schemas, reasons and metrics from their tables. `write.mjs` writes them; a test says when they are not current.
 */
import { readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { keysOf } from "./schema-keys.mjs";
import { modelYamlSchema } from "../../packages/engine/dist/configuration/model-yaml.js";
import { identitySchema } from "../../packages/server/dist/identify/configuration.js";
import { createCounters } from "../../packages/server/dist/telemetry/counters.js";
import { systemClock } from "../../packages/nodejs/dist/index.js";
import { pickMetrics } from "../../packages/longshore/dist/pick/metrics.js";
import { openApiDocument } from "../../packages/server/dist/openapi/index.js";
import { scaleMetrics } from "../../packages/longshore/dist/scale/metrics.js";
import { createNumbers } from "../../packages/longshore/dist/scale/numbers.js";
import { createMetrics } from "../../packages/server/dist/telemetry/metrics.js";
import { schemaText } from "../../packages/longshore/dist/command/config.js";
import { servingCommand } from "../../packages/longshore/dist/command/serving-command.js";
import { defineProgram } from "../../packages/longshore/dist/command/run-command.js";
import { reasons } from "../../packages/core/dist/index.js";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "../..");
const made = "<!-- Made by tools/reference/write.mjs. Do not edit. -->";

/** A cell of a table: line breaks and bars would end it. */
const cell = (text) => text.replaceAll("|", "\\|").replaceAll(/\s+/g, " ").trim();

function table(heads, rows) {
  return [heads, heads.map(() => "---"), ...rows]
    .map((row) => `| ${row.map((one) => (one === "---" ? one : cell(one))).join(" | ")} |`)
    .join("\n");
}

function examplesOf(command) {
  let text = "";
  command.configureOutput({ writeOut: (piece) => (text += piece) });
  command.outputHelp();
  return /\nExamples:\n([\s\S]*)/
    .exec(text)?.[1]
    ?.replaceAll(/^ {2}\$ /gm, "")
    .trim();
}

function defaultOf(option) {
  const value = option.defaultValueDescription ?? option.defaultValue;
  if (value === undefined || value === false || (Array.isArray(value) && value.length === 0)) return "";
  return `\`${typeof value === "string" ? value : JSON.stringify(value)}\``;
}

function commandText(command, path) {
  const name = [...path, command.name()].join(" ");
  const lines = [`## ${name}`, "", `${sentence(command.description())}`, ""];
  const usage = command.usage();
  if (command.commands.length === 0) lines.push("```", `${name} ${usage}`, "```", "");
  const given = command.registeredArguments;
  if (given.length > 0) {
    const rows = given.map((one) => [
      `\`${one.required ? `<${one.name()}>` : `[${one.name()}]`}\``,
      one.description,
    ]);
    lines.push(table(["argument", "meaning"], rows), "");
  }
  const options = command.options.filter(({ hidden }) => !hidden);
  if (options.length > 0) {
    const rows = options.map((option) => [
      `\`${option.flags}\``,
      `${option.description}${option.argChoices ? ` (${option.argChoices.map((one) => `\`${one}\``).join(", ")})` : ""}`,
      defaultOf(option),
    ]);
    lines.push(table(["option", "meaning", "default"], rows), "");
  }
  const examples = examplesOf(command);
  if (examples) lines.push("```", examples, "```", "");
  for (const one of command.commands.filter((sub) => sub.name() !== "help")) {
    lines.push(...commandText(one, [...path, command.name()]));
  }
  return lines;
}

function sentence(text) {
  if (text === "") return "";
  const first = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.?!]$/.test(first) ? first : `${first}.`;
}

const nothing = () => undefined;
const silent = {
  out: nothing,
  note: nothing,
  progress: nothing,
  environment: {},
  stop: new AbortController().signal,
};

async function commandLine() {
  const program = await defineProgram({
    io: silent,
    action: () => async () => undefined,
  });
  const commands = program.commands.filter((one) => one.name() !== "help");
  return [
    "# Command line",
    "",
    made,
    "",
    '`longshore COMMAND --help` prints the same. Exit codes: 0 done, 1 failed or "no", 2 wrong usage or input.',
    "",
    table(
      ["command", "purpose"],
      commands.map((one) => [`[\`${one.name()}\`](#longshore-${one.name()})`, sentence(one.description())]),
    ),
    "",
    ...commands.flatMap((one) => commandText(one, ["longshore"])),
  ].join("\n");
}

function keyTable(schema) {
  return table(
    ["key", "value", "meaning"],
    keysOf(schema).map(({ path, type, required, about }) => [
      `\`${path}\``,
      `${type}${required ? " (required)" : ""}`,
      about,
    ]),
  );
}

/** The allowed values of a JSON Schema, in a few words. */
function typeOf(schema) {
  if (schema.anyOf) return schema.anyOf.map(typeOf).join(", or ");
  if (schema.const !== undefined) return `\`${schema.const}\``;
  if (schema.enum) return schema.enum.map((one) => `\`${one}\``).join(", ");
  if (schema.type === "boolean") return "`true` or `false`";
  if (schema.type === "array") return `list of ${schema.items.type === "object" ? "mappings" : "texts"}`;
  if (schema.type === "object") return "mapping";
  if (schema.type === "string") return schema.format === "path" ? "file or folder" : "text";
  const { minimum, maximum, title } = schema;
  const range =
    maximum === undefined
      ? minimum === undefined
        ? ""
        : `, at least ${minimum}`
      : `, ${minimum} to ${maximum}`;
  return `${schema.type === "integer" ? "whole number" : "number"}${title ? ` of ${title}` : ""}${range}`;
}

function jsonRows(schema, prefix) {
  const rows = [];
  const keys = Object.entries(schema.properties ?? {});
  if (schema.additionalProperties) keys.push(["<name>", schema.additionalProperties]);
  for (const [key, inner] of keys) {
    const path = `${prefix}${prefix ? "." : ""}${key}`;
    const usual =
      inner.default === undefined || inner.default === false ? "" : ` Default: \`${inner.default}\`.`;
    const required = schema.required?.includes(key) ? " (required)" : "";
    rows.push([`\`${path}\``, `${typeOf(inner)}${required}`, `${sentence(inner.description ?? "")}${usual}`]);
    const deeper = inner.type === "array" ? inner.items : inner;
    if (deeper.type === "object")
      rows.push(...jsonRows(deeper, `${path}${inner.type === "array" ? "[]" : ""}`));
  }
  return rows;
}

function configuration() {
  return [
    "# Configuration files",
    "",
    made,
    "",
    "`[]` stands for each entry of a list, `<name>` for each key of a mapping. An unknown key is refused with its path.",
    "",
    "## longshore.yaml",
    "",
    "Options of `longshore serve`, `longshore gateway` and `openOffloader` in one file ([guide](../guides/configure.md)).",
    "",
    table(["key", "value", "meaning"], jsonRows(JSON.parse(schemaText(servingCommand("serve", silent))), "")),
    "",
    "## model.yaml",
    "",
    "A model of a repository ([guide](../guides/bring-your-model.md)). A `config.pbtxt` of Triton says the same in its own words.",
    "",
    keyTable(modelYamlSchema),
    "",
    "## identity.yaml",
    "",
    "Senders and their rights at a server ([guide](../guides/identity.md)).",
    "",
    keyTable(identitySchema),
    "",
  ].join("\n");
}

function errors() {
  const source = readFileSync(join(root, "packages/core/src/words/base/reasons.ts"), "utf8");
  const rows = Object.entries(reasons).map(([reason, { httpStatus, code, retryable }]) => {
    const about = new RegExp(`/\\*\\* ([^\\n]*?) \\*/\\n\\s*"?${reason}"?: \\{`).exec(source)?.[1];
    if (!about) throw new Error(`packages/core/src/words/base/reasons.ts has no comment for ${reason}`);
    return [`\`${reason}\``, String(httpStatus), code, retryable ? "yes" : "no", about];
  });
  return [
    "# Error reasons",
    "",
    made,
    "",
    "Every failure has one reason of this closed list: `LongshoreError.reason` in code, `reason` in replies over HTTP, the trailer",
    '`longshore-reason` over gRPC, and the label of `longshore_failures_total`. "Retry" says whether the same request may succeed elsewhere',
    "or later.",
    "",
    table(["reason", "HTTP", "gRPC", "retry", "meaning"], rows),
    "",
  ].join("\n");
}

/** Families of metrics with their labels, from a server after requests of every kind. */
function metricRows() {
  const counters = createCounters();
  counters.observer.record({
    kind: "cache-asked",
    callId: "",
    model: "MODEL",
    version: "1",
    outcome: "miss",
    tookMs: 0,
    atMs: 0,
  });
  const metrics = createMetrics({
    counters,
    load: () => ({ atMs: 0, cpuRatio: 0, inFlight: 0, queueMs: 0 }),
    machine: () => ({
      cpuRatio: 0,
      memoryTotalBytes: 0,
      memoryUsedBytes: 0,
      residentBytes: 0,
      eventLoopDelaySeconds: 0,
    }),
    directory: () => ({ ageMs: 0, entries: [] }),
  });
  metrics.cache = { entries: 0, bytes: 0, maxBytes: 1 };
  for (const family of Object.values(metrics)) {
    if (typeof family?.observe === "function") family.observe([], 0);
    else if (typeof family?.add === "function") family.add([], 0);
  }
  const writing = metrics.text("openmetrics", undefined);
  let step = writing.next();
  while (!step.done) step = writing.next();
  return rowsOf(step.value.map((piece) => new TextDecoder().decode(piece)).join(""));
}

/** Families of metrics of a picker. */
function pickRows() {
  const metrics = pickMetrics({
    clock: systemClock(),
    inFlight: () => 0,
    endpoints: () => ({ known: 0, paused: 0 }),
    directory: () => ({ ageMs: 0, entries: [] }),
    pool: () => ({ pool: "", exists: true, ready: 0, unready: 0, problem: undefined }),
    residentBytes: () => 0,
  });
  metrics.decided(undefined, 0);
  metrics.ended("", "answered");
  return rowsOf(new TextDecoder().decode(metrics.page("application/openmetrics-text").bytes));
}

/** Families of metrics of a scaler. */
function scaleRows() {
  const numbers = createNumbers(systemClock(), {
    objective: "p95=1s",
    models: [],
    startMs: 1,
    idleMs: 0,
    most: 1,
  });
  // Without a request in no time all is idle, and a number is known.
  numbers.look({ samples: new Map(), ready: undefined }, true);
  const page = scaleMetrics(numbers, () => ({ answering: 0, silent: 0 }));
  return rowsOf(new TextDecoder().decode(page("application/openmetrics-text").bytes));
}

/**
 * Rows of a table, from a page in the OpenMetrics form.
 *
 * @param {string} text
 * @returns {(readonly [name: string, type: string, labels: string, help: string])[]}
 */
function rowsOf(text) {
  /** @type {{ name: string, help: string, type: string, labels: string[] }[]} */
  const rows = [];
  for (const line of text.split("\n")) {
    const [, name, help = ""] = /^# HELP (\S+) (.*)$/.exec(line) ?? [];
    const [, type] = /^# TYPE \S+ (\S+)$/.exec(line) ?? [];
    const row = rows.at(-1);
    if (name) rows.push({ name, help, type: "", labels: [] });
    else if (type && row) row.type = type;
    else if (row && !line.startsWith("#")) {
      const labels = [...line.matchAll(/[{,](\w+)="/g)]
        .map(([, label = ""]) => label)
        .filter((label) => label !== "le");
      if (labels.length > row.labels.length) row.labels = labels;
    }
  }
  return rows.map(({ name, help, type, labels }) => [
    `\`${name}${type === "counter" ? "_total" : ""}\``,
    type === "unknown" ? "counter" : type,
    labels.join(", "),
    help,
  ]);
}

function metricsPage() {
  const rows = metricRows();
  const heads = ["metric", "type", "labels", "meaning"];
  return [
    "# Metrics",
    "",
    made,
    "",
    "`GET /metrics` ([guide](../guides/observability.md)).",
    "",
    "## Longshore's own",
    "",
    table(
      heads,
      rows.filter(([name]) => name.startsWith("`longshore_")),
    ),
    "",
    "## Of `longshore pick`",
    "",
    "`GET /metrics` on `--metrics-port` ([guide](../guides/envoy.md#metrics)).",
    "",
    table(heads, pickRows()),
    "",
    "## Of `longshore scale`",
    "",
    "`GET /metrics` on `--metrics-port` ([guide](../guides/autoscaling.md#prometheus)).",
    "",
    table(heads, scaleRows()),
    "",
    "## Triton's",
    "",
    table(
      heads,
      rows.filter(([name]) => !name.startsWith("`longshore_")),
    ),
    "",
  ].join("\n");
}

/** The paths of the protocol, from the OpenAPI document. Paths with and without a version are one row. */
function paths() {
  /** @type {Record<string, Record<string, { summary: string; description: string }>>} */
  // The document is typed as JSON; its operations have these fields.
  const entries = /** @type {any} */ (openApiDocument("longshore", "")).paths;
  const versioned = "/versions/{version}";
  const rows = Object.entries(entries).flatMap(([path, verbs]) => {
    const optional = path.replace("{model}/", `{model}${versioned}/`);
    if (path.includes(`${versioned}/`) && !path.includes("/variants/")) {
      const shorter = path.replace(versioned, "");
      if (shorter in entries) return [];
    }
    const shown =
      optional !== path && optional in entries ? path.replace("{model}", `{model}[${versioned}]`) : path;
    return Object.entries(verbs).map(([verb, { summary, description }]) => [
      `\`${shown}\``,
      verb.toUpperCase(),
      sentence(summary),
      description
        .replace(/^Needs the right /, "")
        .replace(/^Needs no right\./, "none")
        .replace(/^Needs any right\./, "any")
        .replace(/\.$/, ""),
    ]);
  });
  return [
    "# Paths",
    "",
    made,
    "",
    "The paths of the [protocol](../protocol.md). `GET` paths also answer `HEAD`, all paths `OPTIONS`. A server gives the same with all schemas as OpenAPI 3.1 at `/v2/openapi.json`.",
    "",
    table(["path", "verb", "purpose", "right"], rows),
    "",
  ].join("\n");
}

/** All generated pages, by their path in the repository. */
export async function referencePages() {
  return {
    "packages/longshore/longshore.schema.json": `${schemaText(servingCommand("serve", silent))}\n`,
    "docs/reference/command-line.md": await commandLine(),
    "docs/reference/configuration.md": configuration(),
    "docs/reference/paths.md": paths(),
    "docs/reference/errors.md": errors(),
    "docs/reference/metrics.md": metricsPage(),
  };
}
