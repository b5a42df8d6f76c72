import { mkdir, open, readFile, stat, writeFile } from "node:fs/promises";
import { cpus, totalmem } from "node:os";
import { dirname, join } from "node:path";
import { type Clock, LongshoreError, readBody, type Transport } from "@longshore/core";
import { housekeepingCall, parseJson, withTime } from "@longshore/core/internal";
import { httpTransport, systemClock } from "@longshore/nodejs";
import { transportShown } from "../connect/server-tls.ts";
import { type AtOptions, serversOf } from "../options/at-options.ts";
import type { CommandIo, ExitCode } from "../options/io.ts";
import { linesWithoutSecrets, withoutSecrets, withoutSecretTexts } from "./redact.ts";
import { type ArchiveFile, tarGz } from "./tar.ts";

/** Options of `longshore incident`. */
export interface IncidentOptions extends AtOptions {
  readonly out: string;
  /** Configuration files of the server. */
  readonly config: readonly string[];
  /** Its log. */
  readonly log: readonly string[];
  readonly json: boolean;
}

const mostMs = 10_000;
const maxBytes = 16 * 2 ** 20;
/** Bytes of the end of a log. */
const logBytes = 2 * 2 ** 20;
/** Models of each server whose decisions are requested. */
const mostModels = 50;

/** The pages that are read from a server. The files of an incident have their names. */
const questions: readonly (readonly [file: string, method: "GET" | "POST", path: string])[] = [
  ["server.json", "GET", "/v2"],
  ["ready.json", "GET", "/v2/health/ready"],
  ["live.json", "GET", "/v2/health/live"],
  ["models.json", "POST", "/v2/repository/index"],
  ["statistics.json", "GET", "/v2/models/stats"],
  ["logging.json", "GET", "/v2/logging"],
  ["tracing.json", "GET", "/v2/trace/setting"],
  ["directory.json", "GET", "/v2/directory"],
  ["rollouts.json", "GET", "/v2/rollouts"],
  ["metrics.txt", "GET", "/metrics"],
];

interface Answer {
  readonly status: number;
  readonly text: string;
}

async function ask(
  transport: Transport,
  clock: Clock,
  method: "GET" | "POST",
  path: string,
  stop: AbortSignal,
): Promise<Answer> {
  const late = (): LongshoreError =>
    new LongshoreError("no-answer", "transport", `no answer within ${mostMs} ms`);
  using own = withTime(housekeepingCall("incident", stop), clock, mostMs, late);
  const body = { kind: "parts", parts: [] } as const;
  const reply = await transport.send({ method, path, headers: {}, body }, own.call);
  const bytes = await readBody(reply.body, { maxBytes });
  return { status: reply.status, text: new TextDecoder().decode(bytes) };
}

/** JSON without secrets, for people; other texts by their lines. */
function clean(text: string): string {
  try {
    return `${JSON.stringify(withoutSecrets(JSON.parse(text)), undefined, 1)}\n`;
  } catch {
    return linesWithoutSecrets(text);
  }
}

function modelsOf(text: string): readonly string[] {
  const list = parseJson(new TextEncoder().encode(text), "the index");
  if (!Array.isArray(list)) return [];
  const names = list.flatMap((one: unknown) =>
    typeof one === "object" && one !== null && "name" in one && typeof one.name === "string"
      ? [one.name]
      : [],
  );
  return [...new Set(names)];
}

/** The end of a log, from a whole line on. */
async function endOf(file: string): Promise<string> {
  const { size } = await stat(file);
  const handle = await open(file);
  try {
    const from = Math.max(0, size - logBytes);
    const buffer = Buffer.alloc(size - from);
    await handle.read(buffer, 0, buffer.byteLength, from);
    const text = buffer.toString("utf8");
    return from === 0 ? text : text.slice(text.indexOf("\n") + 1);
  } finally {
    await handle.close();
  }
}

/**
 * Collects what an engineer needs who was not there: state, models, queues, decisions and metrics of servers, configuration and the end of
 * logs, without secrets. Missing parts are listed with their reasons; nothing else is changed or sent anywhere.
 */
export async function incident(options: IncidentOptions, io: CommandIo): Promise<ExitCode> {
  const clock = systemClock();
  const servers = await serversOf(options);
  if (servers.length === 0 && options.config.length === 0 && options.log.length === 0) {
    throw new LongshoreError("invalid-input", "resolve", "give a server (--at), a configuration or a log");
  }
  const files: ArchiveFile[] = [];
  const missing: { readonly what: string; readonly why: string }[] = [];
  const encoder = new TextEncoder();
  const add = (name: string, text: string): void => void files.push({ name, bytes: encoder.encode(text) });
  const wrong = (what: string, thrown: unknown): void => {
    const { message } = LongshoreError.from(thrown, "resolve", what);
    missing.push({ what, why: withoutSecretTexts(message) });
  };
  const began = new Date(clock.wallMs());
  for (const [at, server] of servers.entries()) {
    const folder = `server-${at + 1}`;
    const transport = httpTransport({ address: server.address, clock, ...transportShown(server) });
    try {
      io.progress(`reading ${server.address}`);
      let models: readonly string[] = [];
      for (const [file, method, path] of questions) {
        const what = `${withoutSecretTexts(server.address)}${path}`;
        try {
          const { status, text } = await ask(transport, clock, method, path, io.stop);
          const isHealth = path.startsWith("/v2/health");
          if (isHealth) add(`${folder}/${file}`, `${JSON.stringify({ status, body: clean(text).trim() })}\n`);
          else if (status === 200) add(`${folder}/${file}`, clean(text));
          else
            missing.push({
              what,
              why: `status ${status}: ${clean(text).replaceAll(/\s+/g, " ").trim().slice(0, 300)}`,
            });
          if (file === "models.json" && status === 200) models = modelsOf(text);
        } catch (thrown) {
          wrong(what, thrown);
          // A server that does not answer at all would take the limit of each question.
          if (file === "server.json") break;
        }
      }
      const decisions: Record<string, unknown> = {};
      for (const model of models.slice(0, mostModels)) {
        const path = `/v2/models/${encodeURIComponent(model)}/explain`;
        try {
          const { status, text } = await ask(transport, clock, "GET", path, io.stop);
          decisions[model] = { status, decision: withoutSecrets(JSON.parse(text)) };
        } catch (thrown) {
          wrong(`${withoutSecretTexts(server.address)}${path}`, thrown);
        }
      }
      if (models.length > 0) add(`${folder}/decisions.json`, `${JSON.stringify(decisions, undefined, 1)}\n`);
    } finally {
      await transport.close();
    }
  }
  for (const [at, file] of options.config.entries()) {
    try {
      add(
        `configuration/${at + 1}-${file.replace(/^.*\//, "").replace(/[^\w.-]/g, "_")}`,
        linesWithoutSecrets(await readFile(file, "utf8")),
      );
    } catch (thrown) {
      wrong(`the configuration ${file}`, thrown);
    }
  }
  for (const [at, file] of options.log.entries()) {
    try {
      const lines = (await endOf(file))
        .split("\n")
        .map((line) => (line.startsWith("{") ? clean(line).replace(/\n */g, "") : linesWithoutSecrets(line)));
      add(`log/${at + 1}-${file.replace(/^.*\//, "").replace(/[^\w.-]/g, "_")}`, lines.join("\n"));
    } catch (thrown) {
      wrong(`the log ${file}`, thrown);
    }
  }
  const about = {
    schemaVersion: 1,
    made: began.toISOString(),
    longshore: "0.1.0",
    node: process.version,
    platform: `${process.platform} ${process.arch}`,
    processors: cpus().length,
    memoryBytes: totalmem(),
    servers: servers.map(({ address }) => withoutSecretTexts(address)),
    missing,
  };
  add("incident.json", `${JSON.stringify(about, undefined, 1)}\n`);
  if (/\.(tar\.gz|tgz)$/.test(options.out)) {
    await mkdir(dirname(options.out), { recursive: true });
    const named = files.map(({ name, bytes }) => ({ name: `incident/${name}`, bytes }));
    await writeFile(options.out, tarGz(named, began.getTime() / 1000), { mode: 0o600 });
  } else {
    for (const { name, bytes } of files) {
      const path = join(options.out, name);
      await mkdir(dirname(path), { recursive: true });
      await writeFile(path, bytes, { mode: 0o600 });
    }
  }
  if (options.json)
    io.out(JSON.stringify({ out: options.out, files: files.map(({ name }) => name), missing }));
  else {
    io.out(`${options.out}: ${files.length} files`);
    for (const { what, why } of missing) io.out(`not there: ${what} (${why})`);
    io.out("read it before you send it: names of models, tenants and servers are in it");
  }
  return servers.length > 0 && !files.some(({ name }) => name.startsWith("server-")) ? 1 : 0;
}
