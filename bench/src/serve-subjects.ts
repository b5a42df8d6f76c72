import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import {
  type RunningPeer,
  type ServedModel,
  type ServerSetup,
  type Spread,
  startKserve,
  startLitserve,
  startLongshore,
  startMlserver,
  startTriton,
} from "@longshore/conformance";
import { benchRequest, type BenchRequest, type Wire } from "./serve-bodies.ts";
import type { Generator, Load } from "./serve-load.ts";

/** The subject of one window. */
export interface Subject {
  /** Server and wire: `longshore/http`. */
  readonly name: string;
  readonly settings: string;
  measure(concurrency: number, seconds: number): Promise<Load>;
}

/** Everything that answers for one model on some cores. */
export interface Subjects extends AsyncDisposable {
  readonly subjects: readonly Subject[];
  /** Servers that could not be started, and why. */
  readonly missing: readonly string[];
}

/** A server of the comparison: how it starts, and the wires that it accepts in its own best form. */
interface Contender {
  readonly name: string;
  readonly wires: readonly Wire[];
  start(setup: ServerSetup): Promise<RunningPeer>;
}

function contenders(tritonBackend: string | undefined): readonly Contender[] {
  return [
    { name: "longshore", wires: ["http", "grpc"], start: startLongshore },
    { name: "triton-python", wires: ["http", "grpc"], start: (setup) => startTriton(setup) },
    ...(tritonBackend === undefined
      ? []
      : [
          {
            name: "triton-ort",
            wires: ["http", "grpc"] as const,
            start: (setup: ServerSetup) => startTriton(setup, { onnxBackends: tritonBackend }),
          },
        ]),
    { name: "mlserver", wires: ["json", "grpc"], start: startMlserver },
    { name: "kserve", wires: ["http", "grpc"], start: startKserve },
    { name: "litserve", wires: ["form"], start: startLitserve },
  ];
}

/** How subjects are made. */
export interface SubjectsPlan {
  readonly model: ServedModel;
  readonly cores: readonly number[];
  /** Cores of the generator. */
  readonly generatorCores: readonly number[];
  /** Names of servers or of server and wire; undefined for all. */
  readonly only: readonly string[] | undefined;
  /** Wires that the generator speaks; undefined for all. */
  readonly wires?: readonly Wire[];
  readonly tritonBackend: string | undefined;
  /** Appended to the names of servers, if they are started for several files of a model. */
  readonly suffix?: string;
  say(line: string): void;
}

function rawLoop(model: ServedModel, cores: readonly number[]): Subject & AsyncDisposable {
  const child: ChildProcess = spawn(
    "taskset",
    [
      "-c",
      cores.join(","),
      process.execPath,
      fileURLToPath(new URL("serve-raw.js", import.meta.url)),
      model.file,
      `${cores.length}`,
      model.input.name,
      JSON.stringify(model.input.shape),
    ],
    { stdio: ["pipe", "pipe", "inherit"] },
  );
  if (!child.stdout || !child.stdin) throw new Error("the loop has no pipes");
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const { stdin } = child;
  const next = async (): Promise<string> => {
    const line = await lines.next();
    if (line.done) throw new Error("the loop over ONNX Runtime ended");
    return line.value;
  };
  const ready = next();
  return {
    name: "raw",
    settings: `1 session x ${cores.length} thread(s), no server`,
    async measure(_, seconds) {
      await ready;
      stdin.write(`${seconds}\n`);
      const perSecond = Number(await next());
      const oneMs = 1000 / perSecond;
      return {
        perSecond,
        p50Ms: oneMs,
        p99Ms: oneMs,
        requests: Math.round(perSecond * seconds),
        failed: 0,
        cpuMicros: (1e6 / perSecond) * cores.length,
      };
    },
    async [Symbol.asyncDispose]() {
      stdin.end();
      await new Promise((resolve) => child.once("exit", resolve));
    },
  };
}

/** A server with its wires, in the spread that serves best: tried for a short while where there is a choice. */
async function startBest(
  contender: Contender,
  plan: SubjectsPlan,
  generator: Generator,
  folders: string[],
): Promise<RunningPeer> {
  const start = async (spread: Spread): Promise<RunningPeer> => {
    const folder = mkdtempSync(join(tmpdir(), `longshore-serve-${contender.name}-`));
    folders.push(folder);
    return contender.start({ models: [plan.model], cores: plan.cores, spread, folder });
  };
  const count = plan.cores.length;
  const spreads: readonly Spread[] =
    count === 1 || contender.name === "longshore"
      ? [{ copies: count, threads: 1 }]
      : [
          { copies: count, threads: 1 },
          { copies: 1, threads: count },
        ];
  let best: { readonly spread: Spread; readonly perSecond: number } | undefined;
  if (spreads.length > 1) {
    for (const spread of spreads) {
      const peer = await start(spread);
      try {
        const [wire = "http"] = contender.wires;
        const { perSecond } = await generator.load(peer, {
          model: plan.model,
          wire,
          request: benchRequest(plan.model, wire),
          concurrency: 8,
          seconds: 2,
          cores: plan.generatorCores,
        });
        if (!best || perSecond > best.perSecond) best = { spread, perSecond };
      } finally {
        await peer.close();
      }
    }
  }
  return start(best?.spread ?? spreads[0] ?? { copies: 1, threads: 1 });
}

/** Starts everything. A server that cannot be started is named, and the rest goes on without it. */
export async function startSubjects(plan: SubjectsPlan, generator: Generator): Promise<Subjects> {
  const folders: string[] = [];
  const peers: RunningPeer[] = [];
  const missing: string[] = [];
  const subjects: Subject[] = [];
  const asked = (name: string, wire?: string): boolean =>
    !plan.only || plan.only.includes(name) || (wire !== undefined && plan.only.includes(`${name}/${wire}`));
  const raw = asked("raw") ? rawLoop(plan.model, plan.cores) : undefined;
  if (raw) subjects.push(raw);
  for (const contender of contenders(plan.tritonBackend)) {
    const name = `${contender.name}${plan.suffix ?? ""}`;
    const wires = contender.wires.filter((wire) => asked(name, wire) && plan.wires?.includes(wire) !== false);
    if (wires.length === 0) continue;
    let peer: RunningPeer;
    try {
      peer = await startBest(contender, plan, generator, folders);
    } catch (thrown) {
      missing.push(`${name}: ${thrown instanceof Error ? thrown.message : String(thrown)}`);
      continue;
    }
    peers.push(peer);
    for (const wire of wires) {
      const request: BenchRequest = benchRequest(plan.model, wire);
      const measure = (concurrency: number, seconds: number): Promise<Load> =>
        generator.load(peer, {
          model: plan.model,
          wire,
          request,
          concurrency,
          seconds,
          cores: plan.generatorCores,
        });
      try {
        const trial = await measure(1, 2);
        if (trial.requests === 0 || trial.failed > 0) {
          missing.push(
            `${name}/${wire}: ${trial.failed} of ${trial.requests + trial.failed} trial requests failed`,
          );
          continue;
        }
      } catch (thrown) {
        missing.push(`${name}/${wire}: ${thrown instanceof Error ? thrown.message : String(thrown)}`);
        continue;
      }
      subjects.push({ name: `${name}/${wire}`, settings: peer.settings, measure });
    }
  }
  return {
    subjects,
    missing,
    async [Symbol.asyncDispose]() {
      await raw?.[Symbol.asyncDispose]();
      for (const peer of peers) await peer.close();
      for (const folder of folders) rmSync(folder, { recursive: true, force: true });
    },
  };
}
