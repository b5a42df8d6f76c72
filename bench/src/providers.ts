/**
 * `bench providers`: answers of execution providers beside those of the processor. `worstDifference`: two servers, one with `--providers cpu` and one with `--providers
 * webgpu`, get the same random inputs; the largest difference of an output over the largest value of the answer. A model that takes longer than `--within` seconds for one
 * answer (default 60) on the graphics driver, which here is software, is left out and named. `passingOverMs`: what the first load of a model
 * takes longer with `--providers cuda,cpu`, where `cuda` is not there.
 */
import { cp, mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type RunningPeer, softwareGpu, startOwn, Unavailable } from "@longshore/conformance";
import { seededRandom } from "@longshore/core";
import { sampleRepository } from "@longshore/samples";
import { type Bench, type BenchContext, type Measured, median, numberOf, type Row } from "./harness.ts";

/** Sample models that take numbers, from the quickest to the slowest on a graphics driver in software. */
const models = ["language-scores", "recommendation", "anomaly", "ocr-orient"];

interface Port {
  readonly name: string;
  readonly datatype: string;
  readonly shape: readonly number[];
}

async function json<T>(url: string, body?: unknown, withinMs: number = 60_000): Promise<T> {
  const signal = AbortSignal.timeout(withinMs);
  const reply = await fetch(
    url,
    body === undefined ? { signal } : { method: "POST", body: JSON.stringify(body), signal },
  );
  const text = await reply.text();
  if (!reply.ok) throw new Error(`${url}: status ${reply.status}: ${text.slice(0, 300)}`);
  return (text === "" ? {} : JSON.parse(text)) as T;
}

async function portsOf({ http }: RunningPeer, model: string): Promise<readonly Port[]> {
  return (await json<{ inputs: Port[] }>(`http://${http}/v2/models/${model}`)).inputs;
}

/** The same random inputs for each server. */
function inputsFor(
  ports: readonly Port[],
  seed: number,
): readonly (Port & { readonly data: readonly number[] })[] {
  const random = seededRandom(seed);
  return ports.map(({ name, datatype, shape }) => {
    const sizes = shape.map((size, axis) => (size === -1 ? (axis === 0 ? 1 : 32) : size));
    const count = sizes.reduce((product, size) => product * size, 1);
    const whole = !datatype.startsWith("FP");
    const data = Array.from({ length: count }, () => (whole ? Math.floor(random.next() * 2) : random.next()));
    return { name, datatype, shape: sizes, data };
  });
}

/** The outputs that are no indices, each by itself. */
async function answer(
  { http }: RunningPeer,
  model: string,
  inputs: unknown,
  withinMs: number,
): Promise<readonly (readonly number[])[]> {
  const { outputs } = await json<{ outputs: { datatype: string; data: number[] }[] }>(
    `http://${http}/v2/models/${model}/infer`,
    { inputs },
    withinMs,
  );
  return outputs.filter(({ datatype }) => datatype.startsWith("FP")).map(({ data }) => data);
}

/** The largest difference over the largest value. */
function apart(meant: readonly number[], given: readonly number[]): number {
  const largest = meant.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const worst = meant.reduce((most, value, at) => Math.max(most, Math.abs(value - (given[at] ?? NaN))), 0);
  return worst / largest;
}

/** Milliseconds that a new server takes to load a model. */
async function firstLoadMs(repository: string, model: string, providers: string): Promise<number> {
  const server = await startOwn({
    repository,
    args: ["--providers", providers, "--model-control", "explicit", "--allow-management"],
  });
  try {
    const startedMs = performance.now();
    await json(`http://${server.http}/v2/repository/models/${model}/load`, {});
    return performance.now() - startedMs;
  } finally {
    await server.close();
  }
}

/** Execution providers: how far their answers lie from the processor's, and what passing over one that is not there costs. */
export const bench: Bench = {
  name: "providers",
  about: "agreement of execution providers with the processor, and the time that passing over one takes",
  options: ["--rounds N", "--samples N", "--within SECONDS"],
  bars: { worstDifference: { atMost: 0.001 } },
  async run(context: BenchContext): Promise<Measured> {
    const rounds = numberOf(context.args, "rounds", 5);
    const samples = numberOf(context.args, "samples", 5);
    const withinMs = 1000 * numberOf(context.args, "within", 60);
    const folder = await mkdtemp(join(tmpdir(), "longshore-providers-"));
    const open: RunningPeer[] = [];
    const rows: Row[] = [];
    const notRun: string[] = [];
    const figures: Record<string, number> = {};
    try {
      for (const model of models) {
        await mkdir(join(folder, model));
        await cp(join(sampleRepository(), model, "1"), join(folder, model, "1"), { recursive: true });
      }
      const [first = ""] = models;
      const took = { alone: [] as number[], after: [] as number[] };
      for (let round = 0; round < rounds; round++) {
        const alone = await firstLoadMs(folder, first, "cpu");
        const after = await firstLoadMs(folder, first, "cuda,cpu");
        took.alone.push(alone);
        took.after.push(after);
        rows.push({ round, aloneMs: alone, afterPassingOverMs: after });
      }
      const added = took.after.map((value, at) => value - (took.alone[at] ?? NaN));
      figures["passingOverMs"] = median(added);
      context.say(
        `passing over cuda, which is not there: ${median(added).toFixed(0)} ms more (${Math.min(...added).toFixed(0)} to ${Math.max(...added).toFixed(0)}) on a first load of ${median(took.alone).toFixed(0)} ms`,
      );
      try {
        const { env } = await softwareGpu();
        const cpu = await startOwn({ repository: folder });
        open.push(cpu);
        const gpu = await startOwn({ repository: folder, args: ["--providers", "webgpu"], env });
        open.push(gpu);
        const worst = new Map<string, number>();
        for (const model of models) {
          const ports = await portsOf(cpu, model);
          try {
            for (let sample = 0; sample < samples; sample++) {
              const inputs = inputsFor(ports, context.seed + sample);
              const meant = await answer(cpu, model, inputs, withinMs);
              const startedMs = performance.now();
              const given = await answer(gpu, model, inputs, withinMs);
              const tookMs = performance.now() - startedMs;
              const difference = Math.max(...meant.map((values, at) => apart(values, given[at] ?? [])));
              rows.push({ model, sample, provider: "webgpu", adapter: "software", difference, tookMs });
              worst.set(model, Math.max(worst.get(model) ?? 0, difference));
              context.say(
                `  ${model} sample ${sample}: difference ${difference.toExponential(2)}, ${tookMs.toFixed(0)} ms on webgpu`,
              );
            }
          } catch (thrown) {
            const why = thrown instanceof Error ? thrown.message : String(thrown);
            const rest = `${rows.filter((row) => row["model"] === model).length} of ${samples} samples ran`;
            notRun.push(`${model} on webgpu, within ${withinMs / 1000} s an answer: ${rest} (${why})`);
          }
        }
        if (worst.size > 0) figures["worstDifference"] = Math.max(...worst.values());
        context.say(
          `webgpu on a software adapter: largest difference over the largest value: ${[...worst].map(([model, value]) => `${model} ${value.toExponential(2)}`).join(", ")}`,
        );
      } catch (thrown) {
        if (!(thrown instanceof Unavailable)) throw thrown;
        notRun.push(`webgpu: ${thrown.message}`);
      }
      return { figures, rows, notRun };
    } finally {
      for (const one of open) await one.close();
      await rm(folder, { recursive: true, force: true });
    }
  },
};
