/**
 * `bench providers`: answers of execution providers beside those of the processor. `worstDifference`: two servers, one with `--providers cpu` and one with `--providers
 * webgpu`, get the same random inputs; the largest difference of an output over the largest value of the answer. `passingOverMs`: what the first load of a model
 * takes longer with `--providers cuda,cpu`, where `cuda` is not there.
 */
import { cp, mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type RunningPeer, softwareGpu, startOwn, Unavailable } from "@longshore/conformance";
import { seededRandom } from "@longshore/core";
import { sampleRepository } from "@longshore/samples";
import { type Bench, type BenchContext, type Measured, median, numberOf, type Row } from "./harness.ts";

/** Sample models that a graphics driver in software runs within seconds. */
const models = ["language-scores", "ocr-orient"];

interface Port {
  readonly name: string;
  readonly datatype: string;
  readonly shape: readonly number[];
}

async function json<T>(url: string, body?: unknown): Promise<T> {
  const reply = await fetch(url, body === undefined ? {} : { method: "POST", body: JSON.stringify(body) });
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

async function answer({ http }: RunningPeer, model: string, inputs: unknown): Promise<readonly number[]> {
  const { outputs } = await json<{ outputs: { data: number[] }[] }>(
    `http://${http}/v2/models/${model}/infer`,
    {
      inputs,
    },
  );
  return outputs.flatMap(({ data }) => data);
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
  options: ["--rounds N", "--samples N"],
  bars: { worstDifference: { atMost: 0.001 } },
  async run(context: BenchContext): Promise<Measured> {
    const rounds = numberOf(context.args, "rounds", 5);
    const samples = numberOf(context.args, "samples", 5);
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
        let worst = 0;
        for (const model of models) {
          const ports = await portsOf(cpu, model);
          for (let sample = 0; sample < samples; sample++) {
            const inputs = inputsFor(ports, context.seed + sample);
            const difference = apart(await answer(cpu, model, inputs), await answer(gpu, model, inputs));
            rows.push({ model, sample, provider: "webgpu", adapter: "software", difference });
            worst = Math.max(worst, difference);
          }
        }
        figures["worstDifference"] = worst;
        context.say(
          `webgpu on a software adapter: largest difference ${worst.toExponential(2)} of the largest value`,
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
