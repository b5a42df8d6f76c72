import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { LongshoreError, type Tensors } from "@longshore/core";
import { difference, sameBody, similarBody } from "@longshore/core/internal";
import { onProcessor } from "@longshore/engine";
import { byteCount, type CommandIo, type ExitCode, milliseconds, table } from "../options/io.ts";
import { answerAgreement } from "./measure.ts";
import type { ProviderFigures, ProviderNews, ProviderOrder } from "./provider-messages.ts";

/** Execution providers that ONNX Runtime may have on a platform besides the processor. */
export const accelerators: Readonly<Record<string, readonly string[]>> = {
  linux: ["cuda", "tensorrt", "webgpu"],
  darwin: ["coreml", "webgpu"],
  win32: ["dml", "cuda", "webgpu"],
};

/** Loading a large model, compiling it for a device and running it some times. */
const mostMs = 600_000;

/** Child processes run built files, also when this file runs from its source. */
function mainFile(): string {
  const here = import.meta.url;
  return fileURLToPath(
    new URL(here.endsWith(".ts") ? "../../dist/profile/provider-main.js" : "./provider-main.js", here),
  );
}

/** Measures a model on a provider in a process of its own. Throws why it does not work. */
function measured(order: ProviderOrder, stop: AbortSignal): Promise<ProviderFigures> {
  const child = fork(mainFile(), [], {
    stdio: ["ignore", "ignore", "pipe", "ipc"],
    serialization: "advanced",
  });
  let printed = "";
  child.stderr?.on("data", (chunk: Buffer) => (printed = (printed + chunk.toString()).slice(-2000)));
  const failed = (message: string): LongshoreError => new LongshoreError("unsupported", "execute", message);
  return new Promise<ProviderFigures>((resolve, reject) => {
    const end = (): void => reject(new LongshoreError("cancelled", "execute", "it was stopped"));
    stop.addEventListener("abort", end, { once: true });
    const timer = setTimeout(() => reject(failed(`it took longer than ${mostMs / 1000} s`)), mostMs);
    const done = (): void => {
      clearTimeout(timer);
      stop.removeEventListener("abort", end);
    };
    child.on("message", (news: ProviderNews) => {
      done();
      if (news.kind === "measured") resolve(news);
      else reject(failed(news.message));
    });
    child.once("error", (thrown) => reject(failed(thrown.message)));
    child.once("exit", (code, signal) => {
      done();
      const last = printed.trim().split("\n").at(-1) ?? "";
      const words = last === "" ? "" : `: ${last.slice(0, 200)}`;
      reject(failed(`its process ended without an answer (${signal ?? code})${words}`));
    });
    if (stop.aborted) end();
    child.send(order, () => undefined);
  }).finally(() => child.kill("SIGKILL"));
}

/** The figures of one provider for a model. */
interface ProviderRow {
  readonly provider: string;
  /** Why it cannot be used; undefined where it can. */
  readonly problem?: string;
  readonly figures?: ProviderFigures;
  /** Least agreement with the right answers: golden ones, else those of the processor. Undefined for the processor without golden ones. */
  readonly agreementRatio?: number;
}

/** Compares answers with the right ones. */
function checked(provider: string, figures: ProviderFigures, processor: readonly Tensors[]): ProviderRow {
  const { answers, golden, inputs } = figures;
  const right = golden.length > 0 ? golden : onProcessor(provider) ? [] : processor;
  if (right.length === 0) return { provider, figures };
  const tolerance = inputs === "random" ? similarBody : sameBody;
  let agreementRatio = 1;
  let problem: string | undefined;
  for (const [at, meant] of right.entries()) {
    const given = answers[at] ?? new Map();
    agreementRatio = Math.min(agreementRatio, answerAgreement(given, meant));
    const why = difference(meant, given, tolerance);
    if (why !== undefined) problem ??= `wrong answers to ${inputs} inputs: ${why}`;
  }
  return { provider, figures, agreementRatio, ...(problem === undefined ? {} : { problem }) };
}

function quantile(values: readonly number[], ratio: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(ratio * sorted.length))] ?? NaN;
}

function jsonOf({ provider, problem, figures, agreementRatio }: ProviderRow): object {
  const works = problem === undefined;
  if (!figures) return { provider, works, problem };
  const { firstAnswerMs, runMs, processorMs, memoryBytes, energy, inputs, slow } = figures;
  const times = { p50Ms: quantile(runMs, 0.5), p95Ms: quantile(runMs, 0.95), runs: runMs.length };
  const more = { inputs, agreementRatio: agreementRatio ?? null, slow: slow ?? null };
  return {
    provider,
    works,
    problem: problem ?? null,
    firstAnswerMs,
    ...times,
    processorMs,
    memoryBytes,
    energy: energy ?? null,
    ...more,
  };
}

function joules(millijoules: number): string {
  if (millijoules >= 1000) return `${(millijoules / 1000).toFixed(2)} J`;
  return `${millijoules.toFixed(millijoules < 10 ? 2 : 1)} mJ`;
}

function cellsOf({ provider, problem, figures, agreementRatio }: ProviderRow): readonly string[] {
  if (!figures) return [provider, "no", ...Array.from({ length: 7 }, () => "-")];
  const { firstAnswerMs, runMs, processorMs, memoryBytes, energy } = figures;
  return [
    provider,
    problem === undefined ? "yes" : "WRONG",
    agreementRatio === undefined ? "-" : agreementRatio.toFixed(4),
    milliseconds(firstAnswerMs),
    milliseconds(quantile(runMs, 0.5)),
    milliseconds(quantile(runMs, 0.95)),
    milliseconds(processorMs),
    byteCount(memoryBytes),
    energy === undefined ? "-" : `${joules(energy.millijoules)} ${energy.label}`,
  ];
}

/** Options of `longshore profile --each-provider`. */
export interface EachProviderOptions {
  readonly providers?: readonly string[];
  readonly samples?: string;
  readonly runs?: number;
  readonly json: boolean;
}

/**
 * Measures a model on each execution provider: whether it works, speed, memory, energy, and whether its answers are right. Exit code 1 where a
 * provider gives wrong answers, or one that was named does not work.
 */
export async function eachProvider(
  argument: string,
  options: EachProviderOptions,
  io: CommandIo,
): Promise<ExitCode> {
  const { providers, samples, runs = 5, json } = options;
  const named = providers ?? accelerators[process.platform] ?? [];
  // The processor's answers are those that others are compared with.
  const all = ["cpu", ...named.filter((one) => one !== "cpu")];
  const rows: ProviderRow[] = [];
  for (const provider of all) {
    io.progress(`measuring on ${provider}`);
    const order = { argument, provider, rounds: runs, ...(samples === undefined ? {} : { samples }) };
    try {
      const figures = await measured(order, io.stop);
      rows.push(checked(provider, figures, rows[0]?.figures?.answers ?? []));
    } catch (thrown) {
      const why = LongshoreError.from(thrown, "execute", `measuring on ${provider}`);
      // Without the processor there is nothing to compare with: the model or its inputs are at fault.
      if (provider === "cpu" || why.reason === "cancelled") throw why;
      rows.push({ provider, problem: why.message });
    }
  }
  if (json) io.out(JSON.stringify({ model: argument, providers: rows.map(jsonOf) }));
  else {
    const head = [
      "provider",
      "works",
      "agreement",
      "first answer",
      "p50",
      "p95",
      "processor",
      "memory",
      "energy/run",
    ];
    io.out(table(head, rows.map(cellsOf)));
    for (const { provider, problem, figures } of rows) {
      if (problem !== undefined) io.note(`${provider}: ${problem}`);
      if (figures?.slow !== undefined) io.note(`${provider}: ${figures.slow}`);
    }
    const { inputs = "random" } = rows[0]?.figures ?? {};
    io.note(
      inputs === "golden"
        ? "agreement with the golden answers (golden.json)"
        : `agreement with the processor's answers to ${inputs} inputs; longshore golden saves right answers`,
    );
  }
  const wrong = rows.some(
    ({ problem, figures }) => problem !== undefined && (figures !== undefined || providers !== undefined),
  );
  return wrong ? 1 : 0;
}
