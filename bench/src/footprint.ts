import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { type RunningPeer, startOwn } from "@longshore/conformance";
import { type Bench, type BenchContext, type Measured, optionOf, quantile } from "./harness.ts";
import type { Answer, CalledFunction, CountRequest } from "./footprint/gateway-process.ts";
import { mechanismOf } from "./footprint/mechanisms.ts";
import { Connection } from "./load/connection.ts";
import { meanOfRow } from "./load/models.ts";
import { meanRequest } from "./mean-request.ts";

/** Requests before the count, while calls are counted, and in each round of bytes. */
const warmUp = 2000;
const counted = 100;
const inRound = 300;
/** Windows without a request: the count itself calls functions, too. */
const emptyWindows = 10;
const rounds = 7;
/** Requests while allocations are sampled. */
const sampled = 2000;
/** One kB, as in `bench gateway`. */
const floatsOf1k = 230;
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
  // The count itself makes the calls that are in all windows. Upkeep of the gateway makes those that are in some.
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
      if (calls <= 0 || called.url.endsWith("/gateway-process.js")) continue;
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
  if (answer.kind !== kind) throw new Error(`the gateway's process answered ${answer.kind}, not ${kind}`);
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

async function run({ args, say }: BenchContext): Promise<Measured> {
  const root = resolve(optionOf(args, "root") ?? fileURLToPath(new URL("../..", import.meta.url)));
  const command = join(root, "packages", "longshore", "bin", "longshore.js");
  const folder = mkdtempSync(join(tmpdir(), "longshore-bench-footprint-"));
  const servers: RunningPeer[] = [];
  let child: ChildProcess | undefined;
  try {
    const repository = join(folder, "models");
    mkdirSync(join(repository, "mean", "1"), { recursive: true });
    writeFileSync(join(repository, "mean", "1", "model.onnx"), meanOfRow());
    for (let index = 0; index < 2; index++)
      servers.push(await startOwn({ repository, command, args: ["--log-level", "none"] }));
    // Young memory large enough that nothing is collected within a round.
    const execArgv = ["--expose-gc", "--max-semi-space-size=256", "--min-semi-space-size=256"];
    const file = fileURLToPath(new URL("./footprint/gateway-process.js", import.meta.url));
    child = fork(file, [root, ...servers.map(({ http }) => `http://${http}`)], { execArgv });
    const { port } = await answerOf(child, "port");
    const connection = new Connection(port);
    const { head, body } = meanRequest(floatsOf1k);
    const send = async (count: number): Promise<void> => {
      for (let index = 0; index < count; index++) {
        const { status } = await connection.send(head, body);
        if (status !== 200) throw new Error(`the gateway answered with status ${status}`);
      }
    };
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
    connection.close();
    const calls = (of: readonly CalledFunction[]): number =>
      Math.round(of.reduce((sum, one) => sum + one.calls, 0));
    const modules = [...new Set(usual.map(moduleOf))]
      .map((module) => {
        const its = usual.filter((one) => moduleOf(one) === module);
        return { module, functions: its.length, calls: calls(its) };
      })
      .sort((one, other) => other.functions - one.functions);
    for (const { module, functions: count, calls: called } of modules)
      say(`${module.padEnd(28)} ${count} functions, ${called} calls`);
    const shares = [...new Set(usual.map(({ url }) => mechanismOf(url)))].map((mechanism) => ({
      mechanism,
      functions: usual.filter(({ url }) => mechanismOf(url) === mechanism).length,
      bytes:
        files.filter(({ url }) => mechanismOf(url) === mechanism).reduce((sum, file) => sum + file.bytes, 0) /
        sampled,
    }));
    for (const { mechanism, functions: count, bytes: made } of shares.sort(
      (one, other) => other.functions - one.functions,
    ))
      say(`${mechanism.padEnd(48)} ${count} functions, ${(made / 1000).toFixed(1)} kB`);
    const figures = {
      functions: usual.length,
      calls: calls(usual),
      heapBytes: Math.round(quantile(bytes, 0.5)),
    };
    const rows = usual.map((one) => ({
      module: moduleOf(one),
      function: one.name,
      file: one.url,
      at: one.at,
      calls: one.calls,
    }));
    return { figures, rows };
  } finally {
    child?.kill("SIGKILL");
    await Promise.all(servers.map((one) => one.close()));
    rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * The work of a warm gateway for one request of 1 kB: the functions that run, the number of calls, and the bytes of objects allocated.
 * Code of libraries and of Node.js is included. Its rows are the functions.
 */
export const bench: Bench = {
  name: "footprint",
  about: "functions that one request runs through a gateway, and bytes that it makes",
  options: ["--root DIR"],
  bars: {},
  run,
};
