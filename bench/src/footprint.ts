import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { type RunningPeer, startOwn } from "@longshore/conformance";
import { type Bench, type BenchContext, type Measured, optionOf, quantile, type Row } from "./harness.ts";
import type {
  AllocatingFile,
  Answer,
  CalledFunction,
  CountRequest,
  SubjectKind,
} from "./footprint/subject-process.ts";
import { mechanismOf } from "./footprint/mechanisms.ts";
import { Connection } from "./load/connection.ts";
import { meanOfRow } from "./load/models.ts";
import { floatsOf1k, meanRequest } from "./mean-request.ts";

/** Requests before the count, while calls are counted, and in each round of bytes. */
const warmUp = 2000;
const counted = 100;
const inRound = 300;
/** Windows without a request: the count itself calls functions, too. */
const emptyWindows = 10;
const rounds = 7;
/** Requests while allocations are sampled. */
const sampled = 2000;
/** A function is part of a request if it runs in at least this share of them; timers and upkeep run more rarely. */
const usualRatio = 0.9;

const keyOf = ({ url, at }: CalledFunction): string => `${url}:${at}`;

/** The calls of each function in one window, which ends here. */
async function callsIn(child: ChildProcess): Promise<ReadonlyMap<string, CalledFunction>> {
  const { functions } = await ask(child, "calls", "calls");
  return new Map(functions.map((one) => [keyOf(one), one]));
}

/**
 * The functions that run in most requests, with their calls in one request on average. Each request is a window of its own, so that
 * work that comes in bursts is not taken for a part of each.
 */
async function usualFunctions(child: ChildProcess, send: () => Promise<void>): Promise<CalledFunction[]> {
  await ask(child, "count-calls", "begun");
  await callsIn(child);
  let empty = await callsIn(child);
  // The count itself makes the calls that are in all windows. Upkeep makes those that are in some.
  for (let index = 1; index < emptyWindows; index++) {
    const next = await callsIn(child);
    const both = [...empty].flatMap(([key, one]) => {
      const other = next.get(key);
      if (!other) return [];
      return [[key, { ...one, calls: Math.min(one.calls, other.calls) }] as const];
    });
    empty = new Map(both);
  }
  const found = new Map<string, { readonly called: CalledFunction; requests: number; calls: number }>();
  for (let index = 0; index < counted; index++) {
    await send();
    for (const [key, called] of await callsIn(child)) {
      const calls = called.calls - (empty.get(key)?.calls ?? 0);
      if (calls <= 0 || called.url.endsWith("/subject-process.js")) continue;
      const one = found.get(key) ?? { called, requests: 0, calls: 0 };
      one.requests += 1;
      one.calls += calls;
      found.set(key, one);
    }
  }
  await ask(child, "stop-calls", "begun");
  const usual = [...found.values()].filter(({ requests }) => requests >= usualRatio * counted);
  return usual.map(({ called, calls }) => ({ ...called, calls: calls / counted }));
}

/** The module of a function: of core with its layer, else of a package; a library by its name; `node` for Node.js. */
function moduleOf({ url }: CalledFunction): string {
  if (url.startsWith("node:")) return "node";
  const library = /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url)?.[1];
  if (library !== undefined && !library.startsWith("@longshore/")) return library;
  const own = /\/packages\/(core)\/dist\/([^/]+\/[^/]+)|\/packages\/([^/]+)\/dist\/([^/]+)/.exec(url);
  return own ? `${own[1] ?? own[3]}/${own[2] ?? own[4]}` : "other";
}

async function answerOf<K extends Answer["kind"]>(
  child: ChildProcess,
  kind: K,
): Promise<Extract<Answer, { kind: K }>> {
  const [answer] = (await once(child, "message")) as [Answer];
  if (answer.kind !== kind) throw new Error(`the process answered ${answer.kind}, not ${kind}`);
  // Its kind was just compared.
  return answer as Extract<Answer, { kind: K }>;
}

async function ask<K extends Answer["kind"]>(
  child: ChildProcess,
  question: CountRequest,
  kind: K,
): Promise<Extract<Answer, { kind: K }>> {
  const answer = answerOf(child, kind);
  child.send(question);
  return await answer;
}

/** The work of one request. */
interface Work {
  readonly usual: readonly CalledFunction[];
  /** Median of the rounds. */
  readonly heapBytes: number;
  /** Bytes that the functions of each file allocated in all sampled requests. */
  readonly files: readonly AllocatingFile[];
}

async function measured(child: ChildProcess, send: (count: number) => Promise<void>): Promise<Work> {
  await send(warmUp);
  const usual = await usualFunctions(child, () => send(1));
  // Code compiled for counting is compiled again before bytes are measured.
  await send(warmUp);
  const bytes: number[] = [];
  for (let round = 0; round < rounds; round++) {
    await ask(child, "count-bytes", "begun");
    await send(inRound);
    bytes.push((await ask(child, "bytes", "bytes")).bytes / inRound);
  }
  await ask(child, "sample-bytes", "begun");
  await send(sampled);
  const { files } = await ask(child, "samples", "samples");
  return { usual, heapBytes: Math.round(quantile(bytes, 0.5)), files };
}

/** Sends requests to a subject: by its port, or by a message to an app. Dispose it once it is no longer needed. */
function sender(child: ChildProcess, port: number): Disposable & { send(count: number): Promise<void> } {
  const connection = port === 0 ? undefined : new Connection(port);
  const { head, body } = meanRequest(floatsOf1k);
  return {
    async send(count) {
      for (let index = 0; index < count; index++) {
        if (!connection) await ask(child, "infer", "begun");
        else {
          const { status } = await connection.send(head, body);
          if (status !== 200) throw new Error(`the answer has status ${status}`);
        }
      }
    },
    [Symbol.dispose]() {
      connection?.close();
    },
  };
}

/** Starts a subject in a process of its own and measures it. */
async function workOf(root: string, kind: SubjectKind, given: readonly string[]): Promise<Work> {
  // Young memory large enough that nothing is collected within a round.
  const execArgv = ["--expose-gc", "--max-semi-space-size=256", "--min-semi-space-size=256"];
  const file = fileURLToPath(new URL("./footprint/subject-process.js", import.meta.url));
  const child = fork(file, [root, kind, ...given], { execArgv });
  try {
    const { port } = await answerOf(child, "port");
    using requests = sender(child, port);
    return await measured(child, requests.send);
  } finally {
    child.kill("SIGKILL");
  }
}

function callsOf(functions: readonly CalledFunction[]): number {
  return Math.round(functions.reduce((sum, one) => sum + one.calls, 0));
}

function bySize<T extends { readonly functions: number }>(rows: T[]): T[] {
  return rows.sort((one, other) => other.functions - one.functions);
}

/** Prints the functions of each module, and functions and bytes of each mechanism. */
function tell(kind: SubjectKind, { usual, files }: Work, say: (text: string) => void): void {
  const modules = [...new Set(usual.map(moduleOf))].map((module) => {
    const its = usual.filter((one) => moduleOf(one) === module);
    return { module, functions: its.length, calls: callsOf(its) };
  });
  for (const { module, functions, calls } of bySize(modules))
    say(`${kind}: ${module.padEnd(28)} ${functions} functions, ${calls} calls`);
  const shares = [...new Set(usual.map(({ url }) => mechanismOf(url)))].map((mechanism) => {
    const its = files.filter(({ url }) => mechanismOf(url) === mechanism);
    const bytes = its.reduce((sum, file) => sum + file.bytes, 0) / sampled;
    const functions = usual.filter(({ url }) => mechanismOf(url) === mechanism).length;
    return { mechanism, functions, bytes };
  });
  for (const { mechanism, functions, bytes } of bySize(shares))
    say(`${kind}: ${mechanism.padEnd(48)} ${functions} functions, ${(bytes / 1000).toFixed(1)} kB`);
}

const kinds: readonly SubjectKind[] = ["gateway", "server", "device"];

async function run({ args, say }: BenchContext): Promise<Measured> {
  const root = resolve(optionOf(args, "root") ?? fileURLToPath(new URL("../..", import.meta.url)));
  const only = optionOf(args, "of");
  const command = join(root, "packages", "longshore", "bin", "longshore.js");
  const folder = mkdtempSync(join(tmpdir(), "longshore-bench-footprint-"));
  const servers: RunningPeer[] = [];
  try {
    const repository = join(folder, "models");
    mkdirSync(join(repository, "mean", "1"), { recursive: true });
    writeFileSync(join(repository, "mean", "1", "model.onnx"), meanOfRow());
    const figures: Record<string, number> = {};
    const rows: Row[] = [];
    for (const kind of kinds.filter((one) => only === undefined || one === only)) {
      if (kind === "gateway")
        for (let index = 0; index < 2; index++)
          servers.push(await startOwn({ repository, command, args: ["--log-level", "none"] }));
      const given = kind === "gateway" ? servers.map(({ http }) => `http://${http}`) : [repository];
      const work = await workOf(root, kind, given);
      tell(kind, work, say);
      figures[`${kind}Functions`] = work.usual.length;
      figures[`${kind}Calls`] = callsOf(work.usual);
      figures[`${kind}HeapKb`] = work.heapBytes / 1000;
      for (const one of work.usual) {
        const { name, url: file, at, calls } = one;
        rows.push({ subject: kind, module: moduleOf(one), function: name, file, at, calls });
      }
    }
    return { figures, rows };
  } finally {
    await Promise.all(servers.map((one) => one.close()));
    rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * The work of a warm gateway, server or app for one request of 1 kB: the functions that run, the number of calls, and the bytes of objects
 * allocated. Code of libraries and of Node.js in the main thread is included; of an app also the messages of the bench. Its rows are the
 * functions.
 */
export const bench: Bench = {
  name: "footprint",
  about: "functions that one request runs in a gateway, a server and an app, and bytes that it allocates",
  options: ["--of gateway|server|device", "--root DIR"],
  bars: {},
  run,
};
